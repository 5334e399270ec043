"""decord and OpenCV, for the kinds of files that they read exactly. PyAV, which knows every file, stands beside them.

Both decode a file from its first frame on: where they seek, they take other frames for the right ones in many kinds of
files. PyAV says how many frames there are, decodes the wanted ones as well, and a picture that differs is refused.
"""

import io
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from actjax.video.conversion import display_matrix, upright
from actjax.video.pyav import PyAV
from actjax.video.readers import Reader, Refused, Unreadable, gather
from actjax.video.streams import MP4

MKV = "matroska,webm"


class Kind(NamedTuple):
    """What decides whether a library reads a file exactly: FFmpeg's names, and whether frames are decoded in another
    order than they are shown."""

    container: str
    codec: str
    b_frames: bool

    def __str__(self) -> str:
        return f"{self.codec} {'with' if self.b_frames else 'without'} B-frames in {self.container.partition(',')[0]}"


def kinds(table: dict[str, str]) -> frozenset[Kind]:
    """Of a container's codecs: "h264" is one with and without B-frames, "h264-" and "h264+" only one of both."""
    names = [(container, name) for container, codecs in table.items() for name in codecs.split()]
    both = {"-": (False,), "+": (True,)}
    return frozenset(Kind(c, name.rstrip("+-"), b) for c, name in names for b in both.get(name[-1], (False, True)))


# Every kind that tests/video/test_kinds.py makes and measures; what is not here is refused.
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
# Pixels that become the same RGB in all libraries; with others, and with odd sizes, these two interpolate otherwise.
TOLERANCE = 2  # grey levels by which pictures may differ from PyAV's
CHUNK = 64  # frames that are held against each other at a time
PIXELS = ("yuv420p", "yuvj420p", "yuv444p", "yuvj444p", "gbrp", "bgra")


class _Beside(Reader):
    """A library beside PyAV."""

    name: str
    kinds: frozenset[Kind]

    def __init__(self, source: str | io.BytesIO):
        self._source = source
        self._exact = PyAV(source)
        self._player, self._next = None, 0  # what decodes the file, and the number of its next frame

    def open(self):
        self._exact.open()
        self.num_frames, self.fps = self._exact.num_frames, self._exact.fps
        stream = self._exact.stream
        kind = Kind(stream.container, stream.format, bool(stream.codec.has_b_frames))
        if kind not in self.kinds:
            raise self._refused(str(kind))
        if stream.num_streams > 1:
            raise self._refused("files of several video streams")
        if self.num_frames:
            self._exact.decode(np.array([0]), lambda frames: [self._examine(frame) for _, frame in frames])

    def _refused(self, what: str) -> Refused:
        return Refused(f"{self.name} may give other frames of {what}; use backend='pyav'")

    def _examine(self, frame) -> None:
        """Refused: the library does not show frames such as this one, the first, as FFmpeg does."""
        odd = frame.format.name[-4:] == "420p" and (frame.width % 2 or frame.height % 2)
        if frame.format.name not in PIXELS or odd:
            raise self._refused(f"pixel format {frame.format.name} at {frame.width}x{frame.height}")
        self._turns = upright(display_matrix(frame))
        if not self._can_turn(self._turns):
            raise self._refused("videos that are turned or mirrored like this one")

    def read(self, indices: np.ndarray) -> np.ndarray:
        exact = self._exact.read(indices)
        return gather(len(indices), enumerate(self._equal(exact, indices.tolist())))

    def _equal(self, exact: np.ndarray, indices: list[int]) -> Iterator[np.ndarray]:
        """The library's pictures. Refused: it fails where PyAV did not, or a picture is another one."""
        import cv2

        try:
            for k, mine, picture in zip(indices, exact, self._pictures(indices), strict=True):
                same = picture.shape == mine.shape
                if not same or cv2.absdiff(np.ascontiguousarray(picture), mine).max() > TOLERANCE:
                    raise self._refused(f"this file, as at frame {k}")
                yield picture
        except (*self.own_errors(), Unreadable) as error:
            raise self._refused(f"this file ({type(error).__name__} where PyAV has none)") from error

    def _pictures(self, indices: list[int]) -> Iterator[np.ndarray]:
        """Those of sorted indices. A pass through the file goes on where the last one ended, if it can."""
        if self._player is None or indices[0] < self._next:
            self._player, self._next = self._start(), 0
        player, self._player = self._player, None  # if it fails, the next one begins anew
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
        for first in range(0, self.num_frames, CHUNK):
            self.read(np.arange(first, min(first + CHUNK, self.num_frames)))
        return remark

    # What a library brings.

    @staticmethod
    def own_errors() -> tuple[type[Exception], ...]:
        """What it raises."""
        raise NotImplementedError

    @classmethod
    def errors(cls):
        return *cls.own_errors(), *PyAV.errors()

    words = staticmethod(PyAV.words)

    def _can_turn(self, turns: list[tuple[str, str | None]]) -> bool:
        """Whether pictures come upright that have to be turned so."""
        raise NotImplementedError

    def _start(self):
        """What decodes the file, before its first frame."""
        raise NotImplementedError

    def _step(self, player, *, wanted: bool) -> np.ndarray | None:
        """Decodes the next frame; its picture, if it is wanted."""
        raise NotImplementedError


class Decord(_Beside):
    """decord, or its successor decord2, with one thread: the loader runs many readers at once."""

    name, kinds = "decord", DECORD

    @staticmethod
    def own_errors():
        try:
            import decord
        except ImportError as error:
            raise ImportError("backend 'decord' needs decord; pip install decord2, or choose 'pyav'") from error
        return decord.DECORDError, RuntimeError

    def open(self):
        self.own_errors()  # says what is missing before the file is looked at
        super().open()
        promised = self._exact.stream.stream.frames
        if promised > 2 * self.num_frames:  # for which it takes memory
            raise self._refused(f"files whose header promises {promised} frames and that hold {self.num_frames}")
        try:
            self._player = self._start()
        except self.own_errors() as error:
            raise self._refused("this file, which it does not open") from error
        if len(self._player) < self.num_frames:
            raise self._refused(f"files of which it sees {len(self._player)} of {self.num_frames} frames")

    def _can_turn(self, turns):
        quarter = ([("transpose", "clock")], [("transpose", "cclock")])
        return turns in ([], [("hflip", None), ("vflip", None)], *quarter)  # it turns, but does not mirror

    def _start(self):
        import decord

        source = self._source if isinstance(self._source, str) else io.BytesIO(self._source.getbuffer())
        return decord.VideoReader(source, ctx=decord.cpu(0), num_threads=1)

    def _step(self, player, *, wanted):
        picture = player.next()
        if not wanted:
            return None
        height, width = picture.shape[:2]
        rows = picture.asnumpy().reshape(height, -1)  # decord2 takes the padding of narrow rows for a channel
        return rows[:, : 3 * width].reshape(height, width, 3)


class OpenCV(_Beside):
    """OpenCV with FFmpeg."""

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
        if not isinstance(self._source, str):  # OpenCV reads files only
            self._file = tempfile.NamedTemporaryFile(suffix=".video")  # noqa: SIM115 - lives as long as the reader
            self._file.write(self._source.getbuffer())
            self._file.flush()
            self._source = self._file.name

    def _examine(self, frame):
        super()._examine(frame)
        if frame.interlaced_frame:  # it hands out memory that it did not write to
            raise self._refused("interlaced videos")

    def _can_turn(self, turns):
        return set(turns) <= set(self.TURNS)

    def _start(self):
        import cv2

        capture = cv2.VideoCapture(self._source, cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise Unreadable("OpenCV cannot open it")
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)  # it turns, but does not mirror
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
