"""decord and OpenCV, for the kinds of files that they read exactly, verified against PyAV.

Both decode every file from its first frame, because their seeking returns wrong frames for many kinds of files. PyAV
counts the frames and decodes the wanted ones too; a frame that differs raises `Refused`.
"""

import io
import itertools
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from actjax.video.containers import opencv_options
from actjax.video.conversion import display_matrix, upright
from actjax.video.passes import in_order
from actjax.video.pyav import PyAV
from actjax.video.readers import Reader, Refused, TooLarge, Unreadable, check_size, gather
from actjax.video.streams import MP4, Stream

MKV = "matroska,webm"


class Kind(NamedTuple):
    """The properties that decide whether a library reads a file exactly: FFmpeg's names of container and codec, and
    whether it has B-frames (decoding order differs from display order)."""

    container: str
    codec: str
    b_frames: bool

    def __str__(self) -> str:
        return f"{self.codec} {'with' if self.b_frames else 'without'} B-frames in {self.container.partition(',')[0]}"


def kinds(table: dict[str, str]) -> frozenset[Kind]:
    """Container -> codecs as kinds. "h264": with and without B-frames; "h264-": only without; "h264+": only with."""
    names = [(container, name) for container, codecs in table.items() for name in codecs.split()]
    both = {"-": (False,), "+": (True,)}
    return frozenset(Kind(c, name.rstrip("+-"), b) for c, name in names for b in both.get(name[-1], (False, True)))


# The kinds that tests/video/test_kinds.py generates and verifies; all others are refused.
DECORD = kinds({
    MP4: "h264 hevc mpeg4 mpeg2video+ vp9- h263- mjpeg-",
    MKV: "h264 hevc mpeg4 mpeg2video+ vp8- vp9- mjpeg-",
    "avi": "h264 mpeg4 mpeg2video+ vp8- wmv2- mjpeg-",
    "flv": "h264 flv1-",
})  # fmt: skip
OPENCV = kinds({
    MP4: "h264 hevc mpeg4 mpeg2video+ vp9- h263- mjpeg-",
    MKV: "h264 hevc mpeg4 mpeg2video+ vp8- vp9- mjpeg-",
    "avi": "h264 mpeg4 mpeg2video+ vp8- wmv2- mjpeg-",
    "flv": "h264 flv1-",
    "asf": "h264 mpeg4 wmv2- mpeg2video+",
    "mpeg": "h264 mpeg2video+",
    "mpegts": "h264 hevc mpeg4 mpeg2video+",
    "h264": "h264",
    "hevc": "hevc",
    "m4v": "mpeg4",
    "gif": "gif-",
})  # fmt: skip
TOLERANCE = 2  # grey levels by which frames may differ from PyAV's
CHUNK = 2**26  # bytes of frames compared at a time
AHEAD = 64  # frames that a library may decode after the last one that is wanted
# Pixel formats that all libraries convert to the same RGB. Other formats and odd sizes are interpolated differently.
PIXELS = ("yuv420p", "yuvj420p", "yuv444p", "yuvj444p", "gbrp", "bgra")


class _Beside(Reader):
    """A library whose frames are verified against PyAV's."""

    name: str
    kinds: frozenset[Kind]

    def __init__(self, source: str | io.BytesIO):
        self._source = source
        self._exact = PyAV(source)
        self._player, self._next = None, 0  # the library's decoder, and the index of the next frame it gives
        self._looked, self._seen = None, 0  # a pass of PyAV before the library's, and its number of frames

    def open(self):
        self._exact.open()
        self.num_frames, self.fps = self._exact.num_frames, self._exact.fps
        stream = self._exact.stream
        kind = Kind(stream.container, stream.format, bool(stream.codec.has_b_frames))
        if kind not in self.kinds:
            raise self._refused(str(kind))
        if stream.num_streams > 1:
            raise self._refused("files with several video streams")
        for width, height in stream.sizes.values():
            check_size(width, height)
            if not width:
                raise self._refused("files with a cover picture whose size is not known")
        if self.num_frames:
            self._exact.decode(np.array([0]), lambda frames: [self._examine(frame) for _, frame in frames])

    def _refused(self, what: str) -> Refused:
        return Refused(f"{self.name} may give wrong frames for {what}; use backend='pyav'")

    def _examine(self, frame) -> None:
        """Raises Refused if the library shows frames like the given first one differently from FFmpeg."""
        odd = frame.format.name[-4:] == "420p" and (frame.width % 2 or frame.height % 2)
        if frame.format.name not in PIXELS or odd:
            raise self._refused(f"pixel format {frame.format.name} at {frame.width}x{frame.height}")
        self._turns = upright(display_matrix(frame))
        if not self._can_turn(self._turns):
            raise self._refused("videos rotated or mirrored like this one")

    def read(self, indices: np.ndarray) -> np.ndarray:
        exact = self._exact.read(indices)
        self._look_ahead(int(indices[-1]))
        return gather(len(indices), enumerate(self._equal(exact, indices.tolist())))

    def _look_ahead(self, last: int) -> None:
        """Lets PyAV, which has a limit, decode what the library is about to decode. TooLarge: a frame is above it."""
        if self._looked is None:
            self._looked = in_order(Stream(self._source))
        try:
            self._seen += sum(1 for _ in itertools.islice(self._looked, max(last + AHEAD - self._seen, 0)))
        except Unreadable as error:
            self._looked, self._seen = None, 0
            if isinstance(error, TooLarge):
                raise
            raise self._refused("this file, which is damaged") from error

    def _equal(self, exact: np.ndarray, indices: list[int]) -> Iterator[np.ndarray]:
        """The library's frames. Refused: it fails where PyAV did not, or a frame differs."""
        import cv2

        try:
            for k, mine, picture in zip(indices, exact, self._pictures(indices), strict=True):
                same = picture.shape == mine.shape
                if not same or cv2.absdiff(np.ascontiguousarray(picture), mine).max() > TOLERANCE:
                    raise self._refused(f"this file (frame {k} differs from PyAV's)")
                yield picture
        except (*self.own_errors(), Unreadable) as error:
            raise self._refused(f"this file ({type(error).__name__}, while PyAV reads it)") from error

    def _pictures(self, indices: list[int]) -> Iterator[np.ndarray]:
        """The frames of sorted indices. Continues where the last call stopped, if it can."""
        if self._player is None or indices[0] < self._next:
            self._player, self._next = self._start(), 0
        player, self._player = self._player, None  # after a failure the next call starts over
        wanted = set(indices)
        for k in range(self._next, indices[-1] + 1):
            picture = self._step(player, wanted=k in wanted)
            if k in wanted:
                yield picture
        self._player, self._next = player, indices[-1] + 1

    def times(self, indices: np.ndarray) -> np.ndarray:
        return self._exact.times(indices)

    def check(self) -> str | None:
        remark = self._exact.check()
        num = max(1, CHUNK // max(1, 3 * self._exact.stream.codec.width * self._exact.stream.codec.height))
        for first in range(0, self.num_frames, num):
            self.read(np.arange(first, min(first + num, self.num_frames)))
        return remark

    # Each library overrides the rest.

    @staticmethod
    def own_errors() -> tuple[type[Exception], ...]:
        """The exceptions that the library raises."""
        raise NotImplementedError

    @classmethod
    def errors(cls):
        return *cls.own_errors(), *PyAV.errors()

    words = staticmethod(PyAV.words)

    def _can_turn(self, turns: list[tuple[str, str | None]]) -> bool:
        """Whether the library's frames come out upright in files that need these filters."""
        raise NotImplementedError

    def _start(self):
        """A new decoder of the file, before its first frame."""
        raise NotImplementedError

    def _step(self, player, *, wanted: bool) -> np.ndarray | None:
        """Decodes the next frame -> RGB if it is wanted, else None."""
        raise NotImplementedError


class Decord(_Beside):
    """decord or its successor decord2, in one thread: the loader runs many readers at once."""

    name, kinds = "decord", DECORD

    @staticmethod
    def own_errors():
        try:
            import decord
        except ImportError as error:
            raise ImportError("backend 'decord' needs decord; pip install decord2, or choose 'pyav'") from error
        return decord.DECORDError, RuntimeError

    def open(self):
        self.own_errors()  # a missing package is reported before the file is opened
        super().open()
        promised = self._exact.stream.stream.frames
        if promised > 2 * self.num_frames or 0 < promised < self.num_frames:  # it takes memory as promised, or crashes
            raise self._refused(f"files with {self.num_frames} frames whose header promises {promised}")
        try:
            self._player = self._start()
        except self.own_errors() as error:
            raise self._refused("this file, which it cannot open") from error
        if len(self._player) < self.num_frames:
            raise self._refused(f"this file: it finds {len(self._player)} of {self.num_frames} frames")

    def _can_turn(self, turns):
        quarter = ([("transpose", "clock")], [("transpose", "cclock")])
        return turns in ([], [("hflip", None), ("vflip", None)], *quarter)  # decord rotates but does not mirror

    def _start(self):
        import decord

        source = self._source if isinstance(self._source, str) else io.BytesIO(self._source.getbuffer())
        return decord.VideoReader(source, ctx=decord.cpu(0), num_threads=1)

    def _step(self, player, *, wanted):
        picture = player.next()
        if not wanted:
            return None
        height, width = picture.shape[:2]
        rows = picture.asnumpy().reshape(height, -1)  # decord2 takes the padding of narrow rows for channels
        return rows[:, : 3 * width].reshape(height, width, 3)


class OpenCV(_Beside):
    """OpenCV's FFmpeg backend."""

    name, kinds = "opencv", OPENCV
    TURNS = {
        ("hflip", None): lambda picture: picture[:, ::-1],
        ("vflip", None): lambda picture: picture[::-1],
        ("transpose", "clock"): lambda picture: np.rot90(picture, -1),
        ("transpose", "cclock"): lambda picture: np.rot90(picture),
        ("transpose", "cclock_flip"): lambda picture: picture.swapaxes(0, 1),
        ("transpose", "clock_flip"): lambda picture: picture[::-1, ::-1].swapaxes(0, 1),
    }

    @staticmethod
    def own_errors():
        import cv2

        return (cv2.error,)

    def open(self):
        super().open()
        if not isinstance(self._source, str):  # OpenCV reads only files
            self._file = tempfile.NamedTemporaryFile(suffix=".video")  # noqa: SIM115 - lives as long as the reader
            self._file.write(self._source.getbuffer())
            self._file.flush()
            self._source = self._file.name

    def _examine(self, frame):
        super()._examine(frame)
        if frame.interlaced_frame:  # OpenCV returns uninitialised memory
            raise self._refused("interlaced videos")

    def _can_turn(self, turns):
        return set(turns) <= set(self.TURNS)

    def _start(self):
        import cv2

        with opencv_options(self._source):
            capture = cv2.VideoCapture(self._source, cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise Unreadable("OpenCV cannot open it")
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)  # OpenCV would rotate but not mirror
        return capture

    def _step(self, player, *, wanted):
        ok, picture = player.grab(), None
        if ok and wanted:
            ok, picture = player.retrieve()
        if not ok:
            raise Unreadable("a frame cannot be decoded")
        if picture is None:
            return None
        picture = picture[..., ::-1]
        for turn in self._turns:
            picture = self.TURNS[turn](picture)
        return picture
