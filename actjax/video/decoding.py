"""Video files -> frames. One contract, `open_video`, whatever library reads the file."""

import contextlib
import os
import re
from typing import Protocol

import numpy as np


class VideoError(Exception):
    """A file that cannot be decoded; `path` and `reason` say which and why."""

    def __init__(self, path: str | os.PathLike, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = str(path), reason

    def __reduce__(self):
        return type(self), (self.path, self.reason)


class Video(Protocol):
    """What every reader offers."""

    num_frames: int
    fps: float
    size: tuple[int, int]  # height, width

    def frames(self, indices: np.ndarray) -> np.ndarray:
        """RGB uint8 [n, h, w, 3], one frame per index, in the order given; repeats are fine."""


def open_video(path: str | os.PathLike, *, backend: str = "decord") -> Video:
    """Opens a video file.

    Args:
      path: the file.
      backend: one of `BACKENDS`.

    Raises:
      VideoError: the file is missing, damaged, or holds no frames; later, from `frames`, a frame cannot be decoded.
      IndexError: from `frames`, an index outside [0, num_frames).
      ValueError: an unknown backend.
    """
    if backend not in BACKENDS:
        raise ValueError(f"open_video: backend={backend!r}; choose from {sorted(BACKENDS)}")
    if not os.path.exists(path):
        raise VideoError(path, "no such file")
    return BACKENDS[backend](path)


class _Decord:
    def __init__(self, path):
        import decord

        # decord raises its own error, which is no RuntimeError, and RuntimeError itself.
        self._path, self._errors = path, (decord.DECORDError, RuntimeError)
        with _blame(path, self._errors):
            # One thread: the loader runs many readers at once, each on a core of its own.
            self._reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
            self.num_frames, self.fps = len(self._reader), float(self._reader.get_avg_fps())
        if self.num_frames < 1:
            raise VideoError(path, "no frames")

    @property
    def size(self):
        return self.frames(np.array([0])).shape[1:3]

    def frames(self, indices):
        indices = np.asarray(indices).ravel()
        if indices.size and (indices.min() < 0 or indices.max() >= self.num_frames):
            raise IndexError(f"{self._path}: frames {indices} of a video that has {self.num_frames}")
        with _blame(self._path, self._errors):
            return self._reader.get_batch(indices.tolist()).asnumpy()


@contextlib.contextmanager
def _blame(path, errors):
    """The decoding library's own `errors` -> VideoError."""
    try:
        yield
    except errors as error:
        # decord puts "[time] file.cc:line: " before its words, once per layer it passed.
        text = re.sub(r"\[\d\d:\d\d:\d\d\] \S+: ", "", str(error)).strip()
        raise VideoError(path, text.splitlines()[-1] if text else type(error).__name__) from error


BACKENDS = {"decord": _Decord}
