"""When the frames of a video are shown: between places in frames, as networks count, and seconds."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from actjax.video.errors import VideoError
from actjax.video.readers import Unreadable


class Clock(NamedTuple):
    """The clock of a video. Second 0 is that of the first frame.

    fps: the average frame rate. times: float64 [num_frames + 1], the second at which each frame begins, and the end;
    None: every frame k begins at k / fps.
    """

    num_frames: int
    fps: float
    times: np.ndarray | None = None

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the end of the last."""
        return self.num_frames / self.fps if self.times is None else float(self.times[-1])

    def seconds(self, frames):
        """Places in frames, which may lie between two, -> seconds. Places beyond the end stay as far beyond it.

        >>> clock = Clock(4, 1.0, np.array([0.0, 0.1, 0.2, 3.0, 4.0]))
        >>> clock.seconds(np.array([0, 2.5, 4])).round(6).tolist(), Clock(4, 2.0).seconds(np.array([3])).tolist()
        ([0.0, 1.6, 4.0], [1.5])
        """
        frames = np.asarray(frames, np.float64)
        if self.times is None:
            return frames / self.fps
        beyond = np.maximum(frames - self.num_frames, 0) / self.fps
        return np.interp(frames, np.arange(self.num_frames + 1), self.times) + beyond

    def frames(self, seconds):
        """Seconds -> places in frames; the inverse of `seconds`.

        >>> Clock(4, 1.0, np.array([0.0, 0.1, 0.2, 3.0, 4.0])).frames(np.array([0.1, 1.6])).round(6).tolist()
        [1.0, 2.5]
        """
        seconds = np.asarray(seconds, np.float64)
        if self.times is None:
            return seconds * self.fps
        beyond = np.maximum(seconds - self.times[-1], 0) * self.fps
        return np.interp(seconds, self.times, np.arange(self.num_frames + 1)) + beyond


def clock_of(video) -> Clock:
    """The clock of an opened video: constant if no frame is as much as half a frame off its place.

    Raises:
      ValueError: nothing tells the frame rate, as for folders of pictures.
    """
    fps = float(getattr(video, "fps", 0) or 0)
    try:
        begin = np.asarray(video.times(np.arange(video.num_frames)), np.float64)
    except (Unreadable, VideoError, AttributeError):  # timestamps that do not increase
        if not fps:
            raise ValueError("nothing tells its frame rate") from None
        return Clock(video.num_frames, fps)
    begin = begin - begin[0]
    if fps and np.abs(begin * fps - np.arange(len(begin))).max() < 0.5:
        return Clock(video.num_frames, fps)
    steps = np.diff(begin)
    if (steps <= 0).any():
        if not fps:
            raise ValueError("its timestamps do not increase, and it has no frame rate")
        return Clock(video.num_frames, fps)
    last = float(np.median(steps)) if len(steps) else 1 / (fps or 1.0)
    times = np.append(begin, begin[-1] + last)
    return Clock(video.num_frames, video.num_frames / times[-1], times)


class Clocks(NamedTuple):
    """Reads the clocks of records, in place of `Snippets` in a reader process."""

    backend: str | tuple[str, ...] = "pyav"

    def read(self, record) -> Iterator[Clock]:
        """Yields the clock of a video. VideoError: it cannot be read, or nothing tells its frame rate."""
        try:
            yield clock_of(record.open(backend=self.backend))
        except ValueError as error:
            raise VideoError(record.path, str(error)) from error
