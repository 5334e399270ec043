"""Every frame of a video file with its time, one after the other, up to where the file breaks."""

import collections
import fractions
import logging
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from actjax.video.conversion import Converter
from actjax.video.errors import VideoError
from actjax.video.passes import in_order
from actjax.video.readers import Unreadable
from actjax.video.streams import Stream

log = logging.getLogger(__name__)


class Frame(NamedTuple):
    """A frame: its time and how long it is shown (0: not known) in units of the stream's time base; RGB [h, w, 3]."""

    stamp: int
    duration: int
    picture: np.ndarray


class SourceFrames:
    """The video stream of a file, for one pass from its first frame to its last.

    Args:
      source: as `decoding.content` gives it. name: of the file, for messages.

    Raises:
      VideoError: the file holds no video, or is none.
    """

    def __init__(self, source, name: str):
        self.name, self.ended_early = name, False
        try:
            self._stream = Stream(source)
        except (*_faults(), OSError, ValueError, UnicodeError) as error:
            raise VideoError(name, _words(error)) from error
        stream = self._stream.stream
        self.time_base: fractions.Fraction = stream.time_base
        self.rate = fractions.Fraction(stream.average_rate or stream.guessed_rate or 25)
        self.aspect = stream.sample_aspect_ratio  # of a pixel; None: square
        self.seconds = _promised(stream)
        self.num_frames = stream.frames or round(self.seconds * self.rate)  # as promised; 0: not known
        self._period = max(round(1 / (self.rate * self.time_base)), 1)

    def close(self) -> None:
        """Closes the file."""
        self._stream.close()

    def __iter__(self) -> Iterator[Frame]:
        """Each frame as FFmpeg shows it. A frame without a time, or not later than the one before, follows that one by
        a frame of the average rate. If the file breaks, one warning says where.

        Raises:
          VideoError: no frame can be decoded.
        """
        convert, turns = Converter(), collections.deque()
        last = fault = None
        count = 0
        frames = in_order(self._stream, turns=turns)
        while fault is None:
            try:
                frame = next(frames, None)
                if frame is None:
                    break
                picture = convert(frame)
            except (*_faults(), MemoryError) as error:
                fault = _words(error)
                break
            stamp = self._stamp(frame, turns, count)
            if last is None:
                stamp = self._stream.stream.start_time or 0 if stamp is None else stamp
            elif stamp is None or stamp <= last:
                stamp = last + self._period
            last, count = stamp, count + 1
            yield Frame(stamp, int(frame.duration or 0), picture)
        self._tell_end(last, count, fault)

    def _stamp(self, frame, turns: collections.deque, count: int) -> int | None:
        """The time of a frame by the file. AVI has decoding times, which are those of the frames in order."""
        turn = turns.popleft() if turns else None
        if self._stream.container != "avi" or not self._stream.codec.has_b_frames:
            return frame.pts
        if count == 0:
            self._first_turn = turn
        if turn is None or self._first_turn is None:
            return None
        return turn - self._first_turn + (self._stream.stream.start_time or 0)

    def _tell_end(self, last: int | None, count: int, fault: str | None) -> None:
        if last is None:
            raise VideoError(self.name, fault or "no frame can be decoded")
        start = self._stream.stream.start_time or 0
        end = float((last - start) * self.time_base)
        short = self.seconds - end > max(1.0, 3 * self._period * float(self.time_base))
        if fault or short:
            self.ended_early = True
            why = fault or f"it promises {self.seconds:.1f} s"
            log.warning("%s ends after %d frames, at %.1f s: %s; what follows is left out", self.name, count, end, why)


def _promised(stream) -> float:
    """The length in seconds that a file says its video stream has; 0: it says none."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    if found := re.fullmatch(r"(\d+):(\d\d):(\d\d(\.\d+)?)", stream.metadata.get("DURATION", "")):  # Matroska's
        return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])
    return 0.0


def _faults() -> tuple[type[Exception], ...]:
    import av

    return Unreadable, av.FFmpegError


def _words(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error) or type(error).__name__
