"""Clip specs: `record -> indices -> frames -> clip`.

`sample` picks frames, `view` picks crops; see `data.clips.transforms`. Shapes: v crops, t frames of a clip, h w pixels,
c channels.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from actjax.errors import check_number
from actjax.video import views
from actjax.video.rendering import render

AVERAGE_CLIPS = ("prob", "score", "none")


MODALITIES = ("RGB", "Flow")


class ClipSpec(NamedTuple):
    """How a record becomes clips, and how the clips' scores become one prediction.

    sample: (num_frames, rng=) -> frame indices [samplings, n].
    view: (height, width, rng=) -> list of `View`s of one size.
    backend: one of `video.decoding.BACKENDS`, or several: the first one that can read a file does.
    fused: one crop and one resample, or each step in turn.
    average_clips: averaged over crops in evaluation: "prob", probabilities; "score", logits; "none", nothing.
    modality: "RGB", or "Flow": frames have an x and a y channel, and mirroring inverts x.
    stack: adjacent sampled frames stacked as channels: 5 for flow gives 10 channels x0, y0, x1, y1, ...
    flip_labels: pairs of classes that a mirrored video swaps ("to the left", "to the right").
    test: whether there are no draws (test time); dense sampling then takes more clips.
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
        """(v, t, h, w, c) of every clip, whatever the video.

        Raises:
          ValueError: `stack` does not divide the number of frames, or is below 1.
        """
        check_number("stack", self.stack, "[1, inf)", whole=True)
        rng = None if self.test else np.random.default_rng(0)
        boxes = self.view(480, 640, rng=rng)
        samplings, n = self.sample(1000, rng=rng).shape
        if n % self.stack:
            raise ValueError(f"stack={self.stack} does not divide the {n} sampled frames")
        channels = 3 if self.modality == "RGB" else 2
        return (len(boxes) * samplings, n // self.stack, *boxes[0].size, self.stack * channels)

    def read(self, record, *, rngs: Callable, out: np.ndarray | None = None) -> "Clip":
        """`read_clip`."""
        return read_clip(record, self, rngs=rngs, out=out)

    def blank(self, record):
        """A label of zeros, for a record that cannot be read."""
        return np.zeros_like(record.label)


class Clip(NamedTuple):
    """A record's clip: pixels uint8 [v, t, h, w, c], its label, and the frame indices and views it was made with.

    Several labels are a dict of arrays by name, all of which go into the batch.
    """

    video: np.ndarray | None
    label: int | np.ndarray | dict
    indices: np.ndarray
    views: list[views.View]


def read_clip(
    record, clips: ClipSpec, *, rngs: Callable[[str], np.random.Generator | None], out: np.ndarray | None = None
) -> Clip:
    """The clip of a record of `data.datasets.records`; `rngs(name)` gives the generator of a transform, or None.

    `out`: the array to write pixels to, uint8 of `clips.clip_shape`; None for a new one.

    Raises:
      VideoError: the video cannot be decoded.
    """
    video = record.open(backend=clips.backend)
    indices = clips.sample(video.num_frames, rng=rngs("sample"))
    frames = video.frames(indices.ravel())
    boxes = clips.view(*frames.shape[1:3], rng=rngs("view"))
    whole = out if clips.stack == 1 else None
    pixels = render(frames, boxes, fused=clips.fused, modality=clips.modality, out=whole)
    pixels = stacked(pixels.reshape(-1, indices.shape[1], *pixels.shape[1:]), clips.stack)
    if out is not None and whole is None:
        out[...] = pixels
    return Clip(pixels if out is None else out, _label(record.label, boxes, clips.flip_labels), indices, boxes)


def stacked(clips: np.ndarray, stack: int) -> np.ndarray:
    """Stacks every `stack` consecutive frames along the channels: [v, t, h, w, c] -> [v, t / s, h, w, s * c]."""
    if stack == 1:
        return clips
    v, t, h, w, c = clips.shape
    return np.moveaxis(clips.reshape(v, t // stack, stack, h, w, c), 2, 4).reshape(v, t // stack, h, w, stack * c)


def _label(label, boxes: list[views.View], pairs: tuple[tuple[int, int], ...]):
    """The label of a video seen through `boxes`; if they are mirrored, the classes of each pair are swapped."""
    if not pairs or not boxes[0].flip:
        return label
    swap = dict(pairs) | {b: a for a, b in pairs}
    if np.ndim(label) == 0:
        return swap.get(label, label)
    return np.asarray(label)[[swap.get(k, k) for k in range(len(label))]]
