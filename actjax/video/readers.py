"""The libraries that read video files. Each class opens a path or a buffer and reads frames in rising order."""

import contextlib
import io
import itertools
import re
import tempfile
from collections.abc import Collection, Iterable, Iterator

import numpy as np

from actjax.video.errors import VideoError


class Reader:
    """`open` sets `num_frames` and `fps`; `read` takes sorted indices without repeats -> uint8 [n, h, w, 3]."""

    num_frames: int
    fps: float

    @staticmethod
    def errors() -> tuple[type[Exception], ...]:
        """What the library raises for broken files."""
        return ()

    @contextlib.contextmanager
    def blame(self, name: str):
        """The library's own errors -> VideoError."""
        try:
            yield
        except (*self.errors(), MemoryError, UnicodeError) as error:
            # decord puts "[time] file.cc:line: " before its words, once per layer it passed.
            text = re.sub(r"\[\d\d:\d\d:\d\d\] \S+: ", "", str(error)).strip()
            raise VideoError(name, text.splitlines()[-1] if text else type(error).__name__) from error


class Unreadable(Exception):
    """A reader's own finding about a file; becomes a VideoError."""


def gather(num: int, pictures: Iterable[tuple[int, np.ndarray]]) -> np.ndarray:
    """Places and pictures [h, w, c] -> [num, h, w, c], copied as they come, while they are warm."""
    count, out = 0, None
    for place, picture in pictures:
        if out is None:
            out = np.empty((num, *picture.shape), np.uint8)
        if picture.shape != out.shape[1:]:
            raise Unreadable(f"frames of several sizes: {out.shape[1:3]} and {picture.shape[:2]}")
        out[place] = picture
        count += 1
        if count == num:
            return out
    raise Unreadable(f"only {count} of {num} frames can be decoded")


class Decord(Reader):
    """decord, one thread: the loader runs many readers at once, each on a core of its own."""

    def __init__(self, source: str | io.BytesIO):
        self._source = source

    @staticmethod
    def errors():
        import decord

        return decord.DECORDError, RuntimeError

    def open(self):
        import decord

        self._reader = decord.VideoReader(self._source, ctx=decord.cpu(0), num_threads=1)
        self.num_frames, self.fps = len(self._reader), float(self._reader.get_avg_fps())

    def read(self, indices: np.ndarray) -> np.ndarray:
        return self._reader.get_batch(indices.tolist()).asnumpy()


class PyAV(Reader):
    """FFmpeg through PyAV, decoding what it must: the groups of pictures that hold wanted frames, and in them what is
    wanted or referred to.

    Frames are counted by their packets. A file whose packets do not tell the order of its frames (no time stamps, or
    equal ones) is decoded whole.
    """

    def __init__(self, source: str | io.BytesIO, threads: int = 1):
        self._source, self._threads = source, threads

    @staticmethod
    def errors():
        try:
            import av
        except ImportError as error:
            raise ImportError("backend 'pyav' needs PyAV; pip install 'actjax[pyav]'") from error
        return av.FFmpegError, Unreadable, ValueError, OSError

    def open(self):
        with self._stream() as (container, stream):
            self.fps = float(stream.average_rate or 0)
            packets = [(packet.pts, packet.is_keyframe, packet.is_discard) for packet in _packets(container, stream)]
        stamps = [stamp for stamp, _, _ in packets]
        self._packets = packets if None not in stamps and len(set(stamps)) == len(stamps) else None
        if self._packets:
            self._stamps = sorted(stamp for stamp, _, discard in packets if not discard)
            self.num_frames = len(self._stamps)
        else:
            with self._stream() as (container, stream):
                self.num_frames = sum(1 for _ in container.decode(stream))

    def read(self, indices: np.ndarray) -> np.ndarray:
        if self._packets:
            try:
                with self._stream() as (container, stream):
                    return gather(len(indices), self._by_stamp(container, stream, indices))
            except Unreadable:
                self._packets = None  # packets bear other stamps than their frames, as in some AVI files
        with self._stream() as (container, stream):
            return gather(len(indices), self._by_number(container, stream, indices))

    def _by_number(self, container, stream, indices) -> Iterator[tuple[int, np.ndarray]]:
        places = {k: place for place, k in enumerate(indices.tolist())}
        for k, frame in enumerate(container.decode(stream)):
            if k in places:
                yield places[k], _upright(frame)

    def _by_stamp(self, container, stream, indices) -> Iterator[tuple[int, np.ndarray]]:
        places = {self._stamps[k]: place for place, k in enumerate(indices.tolist())}
        for frame in _decoded(container, stream, self._needed(places), places):
            if frame.pts in places and not frame.is_corrupt:
                yield places[frame.pts], _upright(frame)

    def _needed(self, wanted: Collection[int]) -> list[bool]:
        """Whether a packet is of a group that holds a wanted frame, or that the next such group refers back to."""
        needed = [False] * len(self._packets)
        starts = [k for k, (_, key, _) in enumerate(self._packets) if key or k == 0]
        referred = False
        for first, end in reversed([*itertools.pairwise([*starts, len(needed)])]):
            stamps = [stamp for stamp, _, _ in self._packets[first:end]]
            here = referred or any(stamp in wanted for stamp in stamps)
            needed[first:end] = [here] * (end - first)
            referred = here and min(stamps) < stamps[0]  # frames shown before the key frame
        return needed

    @contextlib.contextmanager
    def _stream(self):
        import av

        if not isinstance(self._source, str):
            self._source.seek(0)
        with av.open(self._source) as container:
            stream = next(iter(container.streams.video), None)
            if stream is None or stream.codec_context is None:
                raise Unreadable("no video stream that can be decoded")
            stream.codec_context.thread_count = self._threads
            yield container, stream


def _packets(container, stream) -> Iterator:
    return (packet for packet in container.demux(stream) if packet.size)


def _decoded(container, stream, needed: list[bool], wanted: Collection[int]) -> Iterator:
    """The frames of the needed packets; those that are neither wanted nor referred to may be missing."""
    codec = stream.codec_context
    for packet, here, next_too in zip(_packets(container, stream), needed, [*needed[1:], False], strict=False):
        if not here:
            continue
        codec.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
        yield from codec.decode(packet)
        if not next_too:
            yield from codec.decode(None)  # what it still holds
            codec.flush_buffers()


def _upright(frame) -> np.ndarray:
    return np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)


class OpenCV(Reader):
    """OpenCV with FFmpeg, decoding forward from the first frame: its seeking is not exact for every file."""

    def __init__(self, source: str | io.BytesIO):
        self._source = source

    @staticmethod
    def errors():
        import cv2

        return cv2.error, Unreadable

    def open(self):
        import cv2

        if not isinstance(self._source, str):  # OpenCV reads files only
            self._file = tempfile.NamedTemporaryFile(suffix=".video")  # noqa: SIM115 - lives as long as the reader
            self._file.write(self._source.getbuffer())
            self._file.flush()
            self._source = self._file.name
        capture = self._capture()
        self.num_frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.fps = float(capture.get(cv2.CAP_PROP_FPS))
        if self.num_frames < 1:  # some containers do not say
            self.num_frames = 0
            while capture.grab():
                self.num_frames += 1

    def read(self, indices: np.ndarray) -> np.ndarray:
        return gather(len(indices), self._wanted({k: place for place, k in enumerate(indices.tolist())}))

    def _wanted(self, places: dict[int, int]) -> Iterator[tuple[int, np.ndarray]]:
        capture = self._capture()
        for k in range(self.num_frames):
            ok = capture.grab()
            if ok and k in places:
                ok, frame = capture.retrieve()
            if not ok:
                raise Unreadable(f"frame {k} of {self.num_frames} cannot be decoded")
            if k in places:
                yield places[k], frame[..., ::-1]

    def _capture(self):
        import cv2

        capture = cv2.VideoCapture(self._source, cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise Unreadable("OpenCV cannot open it")
        return capture
