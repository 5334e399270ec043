"""The stages a config may name, and the one way from a record to a clip.

`record -> indices -> frames -> clip`: `sample` picks frames, `view` picks boxes. A stage is a pure function of
`actjax.video` with its draws taken from `rng`, a generator made for one record, one epoch and this stage; without
`rng` it is the deterministic test-time form. Shapes: v views, t frames per clip, h w pixels, c channels.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from actjax.video import sampling, views
from actjax.video.rendering import render

AVERAGE_CLIPS = ("prob", "score", "none")
MODALITIES = ("RGB", "Flow")


class Protocol(NamedTuple):
    """How a record becomes clips, and how the scores of its clips become one answer.

    sample: (num_frames, rng=) -> frame indices [samplings, n].
    view: (height, width, rng=) -> list of `View`s of one size.
    backend: who reads video files, one of `video.decoding.BACKENDS`, or several, of which the first that can does.
    fused: one cut and one resample, or every step for itself.
    average_clips: what evaluation averages over views.
    modality: "RGB", or "Flow": frames have an x and a y channel, and mirroring turns x round.
    stack: adjacent sampled frames that become channels of one: 5 for flow gives 10 channels x0, y0, x1, y1, ...
    flip_labels: pairs of classes that a mirrored video swaps ("to the left", "to the right").
    test: whether it is used without draws; dense sampling then takes more clips.
    """

    sample: Callable
    view: Callable
    backend: str | tuple[str, ...] = "pyav"
    fused: bool = True
    average_clips: str = "prob"
    modality: str = "RGB"
    stack: int = 1
    flip_labels: tuple[tuple[int, int], ...] = ()
    test: bool = False

    @property
    def clip_shape(self) -> tuple[int, int, int, int, int]:
        """(v, t, h, w, c) of every clip it makes, whatever the video.

        Raises:
          ValueError: the frames of a clip do not divide into stacks.
        """
        rng = None if self.test else np.random.default_rng(0)
        boxes = self.view(480, 640, rng=rng)
        samplings, n = self.sample(1000, rng=rng).shape
        if n % self.stack:
            raise ValueError(f"stack={self.stack} does not divide the {n} frames that the sampling takes")
        channels = 3 if self.modality == "RGB" else 2
        return (len(boxes) * samplings, n // self.stack, *boxes[0].size, self.stack * channels)

    def read(self, record, *, rngs: Callable, out: np.ndarray | None = None) -> "Clip":
        """`read_clip`."""
        return read_clip(record, self, rngs=rngs, out=out)

    def blank(self, record):
        """A label in place of one that cannot be had."""
        return np.zeros_like(record.label)


class Clip(NamedTuple):
    """What became of a record: pixels uint8 [v, t, h, w, c], the label, and how it was taken.

    Where it has several labels they have names: a dict of arrays, all of which become part of the batch.
    """

    video: np.ndarray | None
    label: int | np.ndarray | dict
    indices: np.ndarray
    views: list[views.View]


def read_clip(
    record, protocol: Protocol, *, rngs: Callable[[str], np.random.Generator | None], out: np.ndarray | None = None
) -> Clip:
    """The clip of a record of `data.annotations`; `rngs(stage)` gives the generator of a stage, or None.

    `out`: where the pixels go, uint8 of `protocol.clip_shape`, or None for a new array.

    Raises:
      VideoError: the video cannot be decoded.
    """
    video = record.open(backend=protocol.backend)
    indices = protocol.sample(video.num_frames, rng=rngs("sample"))
    frames = video.frames(indices.ravel())
    boxes = protocol.view(*frames.shape[1:3], rng=rngs("view"))
    whole = out if protocol.stack == 1 else None
    pixels = render(frames, boxes, fused=protocol.fused, modality=protocol.modality, out=whole)
    pixels = stacked(pixels.reshape(-1, indices.shape[1], *pixels.shape[1:]), protocol.stack)
    if out is not None and whole is None:
        out[...] = pixels
    return Clip(pixels if out is None else out, _label(record.label, boxes, protocol.flip_labels), indices, boxes)


def stacked(clips: np.ndarray, stack: int) -> np.ndarray:
    """Every `stack` frames in a row become one with all their channels: [v, t, h, w, c] -> [v, t/s, h, w, s * c]."""
    if stack == 1:
        return clips
    v, t, h, w, c = clips.shape
    return np.moveaxis(clips.reshape(v, t // stack, stack, h, w, c), 2, 4).reshape(v, t // stack, h, w, stack * c)


def _label(label, boxes: list[views.View], pairs: tuple[tuple[int, int], ...]):
    """The label of a video seen through `boxes`: mirrored, the classes of every pair change places."""
    if not pairs or not boxes[0].flip:
        return label
    swap = dict(pairs) | {b: a for a, b in pairs}
    if np.ndim(label) == 0:
        return swap.get(label, label)
    return label[[swap.get(k, k) for k in range(len(label))]]


def _draws(rng: np.random.Generator | None, *shape: int):
    return None if rng is None else rng.random(shape, dtype=np.float32)


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
    indices = sampling.sample_frames(
        num_frames,
        clip_len=clip_len,
        frame_interval=frame_interval,
        num_clips=num_clips,
        twice_sample=twice_sample,
        out_of_bound_opt=out_of_bound_opt,
        u=_draws(rng, num_clips),
        jitter=_draws(rng, num_clips * (1 + twice_sample), clip_len) if temporal_jitter else None,
    )
    return indices.reshape(-1, num_clips * clip_len)


def dense_sample_frames(
    num_frames: int,
    *,
    rng: np.random.Generator | None = None,
    num_clips: int,
    clip_len: int = 1,
    frame_interval: int = 1,
    sample_range: int = 64,
    num_sample_positions: int = 10,
    temporal_jitter: bool = False,
    out_of_bound_opt: str = "loop",
) -> np.ndarray:
    """`video.sampling.dense_sample_frames` -> int64 [1, or num_sample_positions without rng, num_clips * clip_len]."""
    positions = 1 if rng else num_sample_positions
    indices = sampling.dense_sample_frames(
        num_frames,
        clip_len=clip_len,
        frame_interval=frame_interval,
        num_clips=num_clips,
        sample_range=sample_range,
        num_sample_positions=num_sample_positions,
        out_of_bound_opt=out_of_bound_opt,
        u=_draws(rng, 1),
        jitter=_draws(rng, positions * num_clips, clip_len) if temporal_jitter else None,
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
    random_crop: bool = False,
    num_fixed_crops: int = 13,
) -> list[views.View]:
    """Training view of TSN and TSM: short side, multi-scale crop, network input, flip -> one view."""
    view = views.resize(height, width, scale=(-1, short_side))
    view = views.multi_scale_crop(
        view,
        input_size=size,
        scales=scales,
        max_wh_scale_gap=max_wh_scale_gap,
        random_crop=random_crop,
        num_fixed_crops=num_fixed_crops,
        u=_draws(rng, 3),
    )
    return _to_input(view, size, flip_ratio, rng)


def random_resized(
    height: int,
    width: int,
    *,
    rng: np.random.Generator,
    short_side: int,
    size: int,
    flip_ratio: float,
    area_range: tuple[float, float] = (0.08, 1.0),
    aspect_ratio_range: tuple[float, float] = (3 / 4, 4 / 3),
) -> list[views.View]:
    """Training view of I3D, SlowFast and many others: a box of drawn area and aspect ratio, flip -> one view."""
    view = views.resize(height, width, scale=(-1, short_side))
    ranges = dict(area_range=area_range, aspect_ratio_range=aspect_ratio_range)
    view = views.random_resized_crop(view, **ranges, u=_draws(rng, 22))
    return _to_input(view, size, flip_ratio, rng)


def random(
    height: int, width: int, *, rng: np.random.Generator, short_side: int, size: int, flip_ratio: float
) -> list[views.View]:
    """Training view: short side, a square at a drawn place, flip -> one view."""
    view = views.random_crop(views.resize(height, width, scale=(-1, short_side)), size=size, u=_draws(rng, 2))
    return _flipped(view, flip_ratio, rng)


def multi_group(
    height: int, width: int, *, rng: np.random.Generator, short_side: int, size: int, groups: int
) -> list[views.View]:
    """Training views: `groups` squares at drawn places, each for itself -> `groups` views."""
    view = views.resize(height, width, scale=(-1, short_side))
    return views.multi_group_crop(view, crop_size=size, groups=groups, u=_draws(rng, groups, 2))


def _to_input(view: views.View, size: int, flip_ratio: float, rng: np.random.Generator) -> list[views.View]:
    return _flipped(views.resize(view, scale=(size, size), keep_ratio=False), flip_ratio, rng)


def _flipped(view: views.View, flip_ratio: float, rng: np.random.Generator) -> list[views.View]:
    return [views.flip(view, flip_ratio=flip_ratio, u=rng.random(dtype=np.float32))]


def center(
    height: int, width: int, *, rng: np.random.Generator | None = None, short_side: int, size: int
) -> list[views.View]:
    """Test view: short side, then the middle -> one view."""
    return [views.center_crop(views.resize(height, width, scale=(-1, short_side)), crop_size=size)]


def three_crop(height: int, width: int, *, rng: np.random.Generator | None = None, short_side: int) -> list[views.View]:
    """Test views: short side, then three squares along the long side -> three views."""
    view = views.resize(height, width, scale=(-1, short_side))
    return views.three_crop(view, crop_size=short_side)


def ten_crop(
    height: int, width: int, *, rng: np.random.Generator | None = None, short_side: int, size: int
) -> list[views.View]:
    """Test views: short side, then the corners and the centre, each also mirrored -> ten views."""
    return views.ten_crop(views.resize(height, width, scale=(-1, short_side)), crop_size=size)


SAMPLERS = {"sample_frames": sample_frames, "dense_sample_frames": dense_sample_frames}
EVAL_VIEWS = {"center": center, "three_crop": three_crop, "ten_crop": ten_crop}
TRAIN_VIEWS = {
    "multi_scale": multi_scale,
    "random_resized": random_resized,
    "random": random,
    "multi_group": multi_group,
    "center": center,
}
