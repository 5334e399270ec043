"""Clips in a window that slides along a video, at times in seconds, so that videos of any frame rate are alike."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from actjax.data.clips.snippets import clips_of
from actjax.data.clips.spec import ClipSpec
from actjax.video.clock import Clock, clock_of
from actjax.video.errors import VideoError


class Along(NamedTuple):
    """A video's clock, and the frames at which the steps of the window begin [n], and the end of the last [n + 1]."""

    clock: Clock
    places: np.ndarray

    @property
    def num_snippets(self) -> int:
        """The number of clips."""
        return len(self.places) - 1


class SlidingWindow(NamedTuple):
    """A clip for every step along a video, from the window around the middle of the step.

    clips: the clip spec; its crops, backend, modality and stack are used, its sampling is not.
    window, stride: seconds of a clip, and from one to the next.
    num_frames: frames of a clip, spread over the window.
    chunk: number of clips decoded at a time.
    """

    clips: ClipSpec
    window: float
    stride: float
    num_frames: int
    chunk: int

    def indices(self, clock: Clock) -> tuple[np.ndarray, np.ndarray]:
        """The frames of every clip of a video, int64 [n, t * stack], and its steps as in `Along`.

        A video shorter than a step has one clip. Frames beyond either end become the first or last one.
        """
        steps = max(int(np.ceil(clock.duration / self.stride - 1e-6)), 1)
        edges = np.minimum(np.arange(steps + 1) * self.stride, clock.duration)
        middles = (np.arange(steps) + 0.5) * self.stride
        middles[-1] = edges[-2:].mean()
        inside = (np.arange(self.num_frames) + 0.5) / self.num_frames - 0.5
        places = np.floor(clock.frames(middles[:, None] + self.window * inside) + 1e-6).astype(np.int64)
        adjacent = places[:, :, None] + np.arange(self.clips.stack) - self.clips.stack // 2
        return np.clip(adjacent, 0, clock.num_frames - 1).reshape(steps, -1), clock.frames(edges)

    def read(self, record) -> Iterator:
        """Yields the `Along` of a video, then its clips, uint8 [n, v, t, h, w, c], at most `chunk` at a time.

        Raises:
          VideoError: the video cannot be decoded, or nothing tells its frame rate.
        """
        video = record.open(backend=self.clips.backend)
        try:
            clock = clock_of(video)
        except ValueError as error:
            raise VideoError(record.path, str(error)) from error
        indices, places = self.indices(clock)
        yield Along(clock, places)
        for first in range(0, len(indices), self.chunk):
            yield clips_of(video, indices[first : first + self.chunk], self.clips.view, self.clips, rng=None)
