"""The base class of all video readers behind `open_video`, and helpers they share."""

import contextlib
from collections.abc import Iterable

import numpy as np

from actjax.limits import limit
from actjax.video.errors import BackendError, VideoError


class Reader:
    """One video. Call `open` first; `read` and `times` take sorted indices without repeats.

    num_frames: exact. fps: the average rate, 0 if there is none.
    """

    num_frames: int
    fps: float

    @staticmethod
    def errors() -> tuple[type[Exception], ...]:
        """The exceptions that the library raises for broken files."""
        return ()

    @staticmethod
    def words(error: Exception) -> str:
        """The text of an error, without the file's name."""
        return str(error)

    def open(self) -> None:
        """Sets `num_frames` and `fps`."""
        raise NotImplementedError

    def read(self, indices: np.ndarray) -> np.ndarray:
        """uint8 [n, h, w, c]."""
        raise NotImplementedError

    def times(self, indices: np.ndarray) -> np.ndarray:
        """float64 [n]: seconds."""
        raise NotImplementedError

    def check(self) -> str | None:
        """Raises whatever `read` would raise for any frame. Returns a remark if the file is odd but readable."""
        raise NotImplementedError

    @contextlib.contextmanager
    def blame(self, name: str):
        """Converts the library's own exceptions to VideoError for the file `name`."""
        try:
            yield
        except Refused as error:
            raise BackendError(name, str(error)) from error
        except (*self.errors(), Unreadable, MemoryError, UnicodeError) as error:
            text = self.words(error).strip()
            raise VideoError(name, text.splitlines()[-1] if text else type(error).__name__) from error


class Unreadable(Exception):
    """A fault that a reader finds in a file itself; becomes a VideoError."""


class TooLarge(Unreadable):
    """A frame above the limit `ACTJAX_MAX_FRAME_MPIXELS`, found before there is memory for it."""


class Refused(Exception):
    """The file may be sound, but this library does not read its kind exactly; becomes a BackendError."""


FRAME_LIMIT = "ACTJAX_MAX_FRAME_MPIXELS"
_UNLIMITED = 2**62  # pixels, for an infinite limit


def frame_limit() -> int:
    """The most pixels that a frame may have. ValueError: as `limits.limit`."""
    return int(min(limit(FRAME_LIMIT) * 1e6, _UNLIMITED))


def check_size(width: int, height: int) -> None:
    """Raises TooLarge for a frame of more pixels than the limit."""
    if width * height > frame_limit():
        raise TooLarge(
            f"frames of {width}x{height} ({width * height / 1e6:.4g} megapixels) exceed "
            f"{FRAME_LIMIT}={limit(FRAME_LIMIT):g}; raise this environment variable"
        )


def gather(num: int, pictures: Iterable[tuple[int, np.ndarray]]) -> np.ndarray:
    """Pairs (position, image [h, w, c]) -> uint8 [num, h, w, c]; copies each at once, while it is in the cache."""
    count, out = 0, None
    for place, picture in pictures:
        if out is None:
            out = np.empty((num, *picture.shape), np.uint8)
        if picture.shape != out.shape[1:]:
            raise Unreadable(f"frames of several sizes: {out.shape[1:3]} and {picture.shape[:2]}")
        out[place] = picture
        count += 1
    if count < num:
        raise Unreadable(f"only {count} of {num} frames can be decoded")
    return out
