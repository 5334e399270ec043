"""The stages a config may name, and the one way from a file to a clip.

`record -> indices -> frames -> clip`: `sample` picks frames, `view` picks boxes. A stage is a pure function of
`actjax.video` with its draws taken from `rng`, a generator made for one record, one epoch and this stage; without
`rng` it is the deterministic test-time form. Shapes: v views, t frames per clip, h w pixels, c channels.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from actjax.video import sampling, views
from actjax.video.decoding import open_video
from actjax.video.rendering import render

AVERAGE_CLIPS = ("prob", "score")


class Protocol(NamedTuple):
    """How a video becomes clips, and how the scores of its clips become one answer."""

    sample: Callable
    view: Callable
    backend: str = "decord"
    fused: bool = True
    average_clips: str = "prob"

    @property
    def clip_shape(self) -> tuple[int, int, int, int, int]:
        """(v, t, h, w, c) of every clip it makes, whatever the video."""
        rng = np.random.default_rng(0)
        boxes = self.view(480, 640, rng=rng)
        samplings, t = self.sample(1000, rng=rng).shape
        return (len(boxes) * samplings, t, *boxes[0].size, 3)


def sample_frames(
    num_frames: int,
    *,
    rng: np.random.Generator | None = None,
    num_clips: int,
    clip_len: int = 1,
    frame_interval: int = 1,
    temporal_jitter: bool = False,
    twice_sample: bool = False,
    out_of_bound_opt: str = "loop",
) -> np.ndarray:
    """`video.sampling.sample_frames`, the clips of one sampling joined -> int64 [1 or 2, num_clips * clip_len]."""
    jitter_shape = (num_clips * (1 + twice_sample), clip_len)
    indices = sampling.sample_frames(
        num_frames,
        clip_len=clip_len,
        frame_interval=frame_interval,
        num_clips=num_clips,
        twice_sample=twice_sample,
        out_of_bound_opt=out_of_bound_opt,
        u=rng.random(num_clips, dtype=np.float32) if rng else None,
        jitter=rng.random(jitter_shape, dtype=np.float32) if rng and temporal_jitter else None,
    )
    return indices.reshape(-1, num_clips * clip_len)


def multi_scale(
    height: int,
    width: int,
    *,
    rng: np.random.Generator,
    short_side: int,
    size: int,
    scales: tuple[float, ...],
    flip_ratio: float,
    max_wh_scale_gap: int = 1,
    num_fixed_crops: int = 13,
) -> list[views.View]:
    """Training view of TSN and TSM: short side, multi-scale crop, network input, flip -> one view."""
    view = views.resize(height, width, scale=(-1, short_side))
    view = views.multi_scale_crop(
        view,
        input_size=size,
        scales=scales,
        max_wh_scale_gap=max_wh_scale_gap,
        num_fixed_crops=num_fixed_crops,
        u=rng.random(3, dtype=np.float32),
    )
    view = views.resize(view, scale=(size, size), keep_ratio=False)
    return [views.flip(view, flip_ratio=flip_ratio, u=rng.random(dtype=np.float32))]


def center(
    height: int, width: int, *, rng: np.random.Generator | None = None, short_side: int, size: int
) -> list[views.View]:
    """Test view: short side, then the middle -> one view."""
    return [views.center_crop(views.resize(height, width, scale=(-1, short_side)), crop_size=size)]


SAMPLERS = {"sample_frames": sample_frames}
TRAIN_VIEWS = {"multi_scale": multi_scale, "center": center}
EVAL_VIEWS = {"center": center}


def read_clip(path: str, protocol: Protocol, *, rngs: Callable[[str], np.random.Generator | None]) -> np.ndarray:
    """One video file -> uint8 [v, t, h, w, c]; `rngs(stage)` gives the generator of a stage, or None.

    Raises:
      VideoError: the file cannot be decoded.
    """
    video = open_video(path, backend=protocol.backend)
    indices = protocol.sample(video.num_frames, rng=rngs("sample"))
    frames = video.frames(indices.ravel())
    boxes = protocol.view(*frames.shape[1:3], rng=rngs("view"))
    clips = render(frames, boxes, fused=protocol.fused)
    return clips.reshape(-1, indices.shape[1], *clips.shape[1:])
