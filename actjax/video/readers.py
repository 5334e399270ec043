"""The libraries that read video files. Each class opens a path or a buffer and reads frames in rising order."""

import contextlib
import io
import re
import tempfile

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
    """FFmpeg through PyAV. Frames are counted by their packets; those that nothing refers to are not decoded.

    A file whose packets do not tell the order of its frames (no time stamps, or equal ones) is decoded whole.
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
            stamps = [packet.pts for packet in container.demux(stream) if packet.size]
        known = None not in stamps and len(set(stamps)) == len(stamps)
        self._stamps = stamps if known else None
        if known:
            self._order = np.argsort(stamps, kind="stable")
            self.num_frames = len(stamps)
        else:
            with self._stream() as (container, stream):
                self.num_frames = sum(1 for _ in container.decode(stream))

    def read(self, indices: np.ndarray) -> np.ndarray:
        if self._stamps is not None:
            with self._stream() as (container, stream):
                frames = self._by_stamp(container, stream, indices)
            if frames is not None:
                return np.stack(frames)
            self._stamps = None  # packets bear other stamps than their frames, as in some AVI files
        with self._stream() as (container, stream):
            return np.stack(self._by_number(container, stream, indices))

    def _by_number(self, container, stream, indices) -> list[np.ndarray]:
        wanted, frames = set(indices.tolist()), []
        for k, frame in enumerate(container.decode(stream)):
            if k in wanted:
                frames.append(_upright(frame))
            if len(frames) == len(wanted):
                return frames
        raise Unreadable(f"only {len(frames)} of {len(wanted)} frames can be decoded")

    def _by_stamp(self, container, stream, indices) -> list[np.ndarray] | None:
        wanted = [self._stamps[k] for k in self._order[indices]]
        found = {}
        for packet in container.demux(stream):
            # Frames that no other frame refers to are decoded only if they are asked for.
            needed = not packet.size or packet.pts in wanted
            stream.codec_context.skip_frame = "DEFAULT" if needed else "NONREF"
            for frame in packet.decode():
                if frame.pts in wanted and not frame.is_corrupt:
                    found[frame.pts] = _upright(frame)
            if len(found) == len(wanted):
                return [found[stamp] for stamp in wanted]
        return None

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
        capture, frames = self._capture(), []
        wanted = set(indices.tolist())
        for k in range(int(indices[-1]) + 1 if len(indices) else 0):
            if not capture.grab():
                raise Unreadable(f"frame {k} of {self.num_frames} cannot be decoded")
            if k in wanted:
                ok, frame = capture.retrieve()
                if not ok:
                    raise Unreadable(f"frame {k} of {self.num_frames} cannot be decoded")
                frames.append(frame[..., ::-1])
        return np.stack(frames)

    def _capture(self):
        import cv2

        capture = cv2.VideoCapture(self._source, cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise Unreadable("OpenCV cannot open it")
        return capture
