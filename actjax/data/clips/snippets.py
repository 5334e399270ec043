"""Snippets: clips at regular intervals that cover a whole video.

Shapes: n snippets, v crops, t frames, h w pixels, c channels.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from actjax.data.clips.spec import ClipSpec, stacked
from actjax.video.errors import VideoError
from actjax.video.rendering import render
from actjax.video.sampling import untrimmed_sample_frames


class Length(NamedTuple):
    """Length of a video in frames and in snippets; fps is 0 for image files."""

    num_frames: int
    fps: float
    num_snippets: int


class Snippets(NamedTuple):
    """How a video becomes clips around every `interval`-th frame.

    clips: the clip spec; its crops, backend, modality and stack are used, its sampling is not.
    num_frames: t, spread over `window` frames.
    chunk: number of clips decoded at a time.
    window: frames that a clip spans; None: as many as `interval`.
    """

    clips: ClipSpec
    interval: int
    num_frames: int
    chunk: int
    window: int | None = None

    def indices(self, num_frames: int) -> np.ndarray:
        """Frames of every snippet of a video -> int64 [n, t * stack]. ValueError: the video is too short for one."""
        step, stack = max(1, (self.window or self.interval) // self.num_frames), self.clips.stack
        span = self.num_frames * step
        places = untrimmed_sample_frames(num_frames, clip_len=span, frame_interval=self.interval)
        places = places[:, step // 2 :: step]  # the middle of every step
        adjacent = places[:, :, None] + np.arange(stack) - stack // 2
        return np.clip(adjacent, 0, num_frames - 1).reshape(len(places), -1)

    def read(self, record) -> Iterator:
        """Yields the `Length` of a video, then its clips, uint8 [n, v, t, h, w, c], at most `chunk` at a time.

        Raises:
          VideoError: the video cannot be decoded, or is too short.
        """
        video = record.open(backend=self.clips.backend)
        try:
            indices = self.indices(video.num_frames)
        except ValueError as error:
            told = f"{video.num_frames} frames, too few for a clip every {self.interval} frames (extract.interval)"
            raise VideoError(record.path, told) from error
        yield from clips_along(video, indices, self.clips.view, self.clips, chunk=self.chunk)


def clips_along(video, indices: np.ndarray, view: Callable, pixels, *, chunk: int) -> Iterator:
    """Yields the `Length` of a video, then its clips, uint8 [n, v, t, h, w, c], at most `chunk` at a time."""
    yield Length(video.num_frames, float(getattr(video, "fps", 0) or 0), len(indices))
    for first in range(0, len(indices), chunk):
        yield clips_of(video, indices[first : first + chunk], view, pixels, rng=None)


def clips_of(video, indices: np.ndarray, view: Callable, pixels, *, rng) -> np.ndarray:
    """Clips of a video, uint8 [n, v, t, h, w, c].

    Args:
      indices: frames of every clip [n, t * stack].
      view: (height, width, rng=) -> list of v `View`s.
      pixels: an object with `fused`, `modality` and `stack`, as in `spec.ClipSpec`.
      rng: passed to `view`.
    """
    unique, place = np.unique(indices, return_inverse=True)  # neighbours share frames, decoders like order
    frames = video.frames(unique)
    boxes = view(*frames.shape[1:3], rng=rng)
    shown = render(frames, boxes, fused=pixels.fused, modality=pixels.modality)
    shown = shown.reshape(len(boxes), len(frames), *shown.shape[1:])[:, place.reshape(indices.shape)]
    clips = stacked(shown.reshape(-1, *shown.shape[2:]), pixels.stack)
    return clips.reshape(len(boxes), len(indices), *clips.shape[1:]).swapaxes(0, 1)


def embedded(parts: Iterator, embed: Callable, chunk: int, *, watch: Callable | None = None) -> tuple[Any, np.ndarray]:
    """The `Length` of a video and the rows [n, ...] that `embed` computes from its clips; `parts`: from `read`.

    Args:
      embed: clips uint8 [chunk, v, t, h, w, c] -> rows [chunk, ...]; always the same shape, so it compiles once.
      watch: (chunks, their number, what they are) -> the same chunks, such as `workdir.progress`.

    Raises:
      VideoError: from `parts`.
    """
    length = next(parts)
    if watch:
        parts = watch(parts, -(-length.num_snippets // chunk), "clips")
    return length, np.concatenate([np.asarray(embed(filled(clips, chunk)))[: len(clips)] for clips in parts])


def filled(rows: np.ndarray, size: int) -> np.ndarray:
    """`rows`, padded with zeros to `size`."""
    missing = size - len(rows)
    return np.concatenate([rows, np.zeros((missing, *rows.shape[1:]), rows.dtype)]) if missing else rows
