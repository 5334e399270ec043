"""FFmpeg through PyAV: reads every kind of file, with the frames that FFmpeg shows."""

import io
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from actjax.video.conversion import Converter
from actjax.video.groups import Groups, find_groups
from actjax.video.passes import Survey, decoded, in_order, survey
from actjax.video.readers import Reader, Unreadable, gather
from actjax.video.streams import Stream, Unordered

KEPT = 64 * 2**20  # bytes of decoded frames to keep when a file must be decoded to count its frames


class Pass(NamedTuple):
    """An unfinished pass through a file: the index of its next frame, the remaining frames, and the `num_uses` of the
    stream when it began. Any other use of the stream ends the pass."""

    number: int
    frames: Iterator
    use: int


class PyAV(Reader):
    """If the packets give the order of frames, decodes from the last key frame on, skips frames that are neither wanted
    nor referenced, and verifies that timestamps increase. Decodes all other files in order.
    """

    def __init__(self, source: str | io.BytesIO, threads: int = 1):
        self._source, self._threads = source, threads
        if not isinstance(threads, int) or not 0 <= threads <= 64:
            raise ValueError(f"open_video: threads={threads!r}; must be 0 to 64, 0 for one per core")
        self._convert = Converter()
        self._fault = ""  # a fault of the file found by an earlier read
        self._groups: Groups | None = None
        self._survey: Survey | None = None
        self._pass: Pass | None = None

    @staticmethod
    def errors():
        import av

        return av.FFmpegError, ValueError, OSError

    @staticmethod
    def words(error):
        return getattr(error, "strerror", None) or str(error)

    def open(self):
        self.stream = Stream(self._source, self._threads)
        self.fps = float(self.stream.stream.average_rate or 0)
        try:
            self._groups = find_groups(self.stream)
            self.num_frames = self._groups.num_frames
        except Unordered:
            self._decode_in_order()

    def _decode_in_order(self, promised: int | None = None) -> None:
        """Counts the frames and decodes in order from now on. Unreadable: there are not `promised` frames."""
        self.stream.count_packets()
        found = survey(self.stream, keep=KEPT)
        if promised not in (None, found.num_frames):
            self._fault = f"it promises {promised} frames; {found.num_frames} can be decoded"
            raise Unreadable(self._fault)
        self._groups, self._survey, self.num_frames = None, found, found.num_frames

    def read(self, indices: np.ndarray) -> np.ndarray:
        pictures = lambda frames: ((place, self._convert(frame)) for place, frame in frames)
        return self.decode(indices, lambda frames: gather(len(indices), pictures(frames)))

    def decode(self, indices: np.ndarray, use: Callable[[Iterable], object]):
        """Calls `use` with pairs (position in `indices`, PyAV frame) for sorted indices; again if the first try fails.

        Raises:
          Unreadable: a frame is damaged, or the file holds fewer frames than it promised.
        """
        return self._either(lambda: use(self._by_stamp(indices)), lambda: use(self._by_number(indices)))

    def _either(self, by_stamp: Callable, by_number: Callable):
        """Calls `by_stamp`, or `by_number` for files that must be decoded in order."""
        if self._fault:
            raise Unreadable(self._fault)
        if self._groups is not None:
            try:
                return by_stamp()
            except Unordered:
                self._decode_in_order(self.num_frames)
        return by_number()

    def _by_stamp(self, indices: np.ndarray) -> Iterator[tuple]:
        if self._goes_on(indices):
            yield from self._by_number(indices)
            return
        stamps = self._groups.stamps(indices)
        places = {stamp: place for place, stamp in enumerate(stamps.tolist())}
        for run in self._groups.runs(indices, stamps):
            for frame in decoded(self.stream, run, places):
                if frame.pts in places:
                    yield places.pop(frame.pts), frame
        if places:
            raise Unordered

    def _by_number(self, indices: np.ndarray) -> Iterator[tuple]:
        for place, k in enumerate(indices.tolist()):
            frame = self._survey.kept[k] if self._survey and self._survey.kept else self._walk_to(k)
            if frame.is_corrupt:
                raise Unreadable(f"frame {k} is damaged")
            yield place, frame

    def _goes_on(self, indices: np.ndarray) -> bool:
        """Whether these are exactly the next frames of the unfinished pass."""
        number = self._unfinished().number
        return len(indices) > 0 and indices[0] == number and indices[-1] - number == len(indices) - 1

    def _walk_to(self, k: int):
        """Frame k. Continues the unfinished pass if it can."""
        unfinished = self._unfinished()
        number, frames = (0, in_order(self.stream)) if k < unfinished.number else unfinished[:2]
        self._pass = None  # after a failure the next pass starts over
        frame = next(itertools.islice(frames, k - number, None), None)
        if frame is None:
            raise Unreadable(f"it promises {self.num_frames} frames; frame {k} is not there")
        self._pass = Pass(k + 1, frames, self.stream.num_uses)
        return frame

    def _unfinished(self) -> Pass:
        """The pass that can continue, or a new one."""
        if self._pass and self._pass.use == self.stream.num_uses:
            return self._pass
        return Pass(0, in_order(self.stream), self.stream.num_uses)

    def times(self, indices: np.ndarray) -> np.ndarray:
        return self._either(
            lambda: self._seconds(self._groups.stamps(indices)), lambda: self._times_in_order()[indices]
        )

    def _times_in_order(self) -> np.ndarray:
        start, stamps, turns = self.stream.stream.start_time or 0, self._survey.stamps, self._survey.turns
        reordered = self.stream.codec.has_b_frames
        if self.stream.container == "avi" and reordered and None not in turns and len(turns) >= self.num_frames:
            # AVI stores decoding times, not presentation times; the intervals are the same.
            return self._seconds(np.array(turns[: self.num_frames], np.int64) - turns[0] + start)
        if None not in stamps and all(a < b for a, b in itertools.pairwise(stamps)):
            return self._seconds(np.array(stamps, np.int64))
        if not self.fps:
            raise Unreadable("its timestamps do not increase, and it has no frame rate")
        return self._seconds(start) + np.arange(self.num_frames) / self.fps

    def _seconds(self, stamps):
        unit = self.stream.stream.time_base
        return stamps * unit.numerator / unit.denominator

    def check(self) -> str | None:
        self.stream.count_packets()
        found = self._survey or survey(self.stream)
        if found.num_frames != self.num_frames:
            raise Unreadable(f"it promises {self.num_frames} frames; {found.num_frames} can be decoded")
        if found.damaged:
            raise Unreadable(f"frame {found.damaged[0]} is damaged, {len(found.damaged)} in all")
        if len(found.sizes) > 1:
            raise Unreadable(f"frames of several sizes: {sorted(found.sizes)}")
        self.read(np.array([0]))
        promised = self.stream.stream.frames
        if promised > self.num_frames:
            return f"its header promises {promised} frames; {self.num_frames} can be decoded"
        return None
