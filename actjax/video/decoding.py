"""Videos -> frames. One contract, `open_video`, whatever holds them and whatever library reads them."""

import inspect
import io
import os
from typing import Protocol

import numpy as np

from actjax.video.errors import VideoError

__all__ = ["BACKENDS", "Video", "VideoError", "open_video"]


class Video(Protocol):
    """What every reader offers."""

    num_frames: int
    fps: float
    size: tuple[int, int]  # height, width

    def frames(self, indices: np.ndarray) -> np.ndarray:
        """uint8 [n, h, w, 3] in RGB (flow: [n, h, w, 2]), one per index, in the order given; repeats are fine."""


def open_video(source: str | os.PathLike | bytes, *, backend: str = "decord", **options) -> Video:
    """Opens a video. Backends give the same frames for the same indices, upright if the file says it is turned.

    Args:
      source: a file (for "rawframes" a folder), an fsspec URL (`gs://...`, `s3://...`, `memory://...`), or the bytes
        of a file.
      backend: one of `BACKENDS`. "decord". "pyav", exact for every file. "opencv". "rawframes". Where they differ:
        decord 0.6 seeks wrongly in streams whose groups of pictures refer to each other (H.264 with open groups or
        intra refresh, HEVC, MPEG-TS); OpenCV believes the header that says how many frames there are, an estimate in
        Matroska and MPEG-TS files of variable rate, and fails at the first one that is not there.
      options: "pyav": `threads`, of the codec. "rawframes": `num_frames` (None counts the files), `offset`,
        `filename_tmpl`, `start_index`, `modality` "RGB" or "Flow" (pictures "x" and "y" of the template).

    Raises:
      VideoError: the source is missing, damaged, or holds no frames; later, from `frames`, a frame cannot be decoded.
      IndexError: from `frames`, an index outside [0, num_frames).
      ValueError: an unknown backend or option. ImportError: a package is missing; says which.

    Source: the API entries DecordInit, PyAVInit, OpenCVInit, RawFrameDecode and their decoders.
    """
    if backend not in BACKENDS:
        raise ValueError(f"open_video: backend={backend!r}; choose from {sorted(BACKENDS)}")
    reader = _reader(backend)
    known = list(inspect.signature(reader).parameters)[1:]
    if unknown := sorted(set(options) - set(known)):
        raise ValueError(f"open_video: backend {backend!r} does not take {unknown}; it takes {known}")
    return _Checked(reader(_content(source, folder=backend == "rawframes"), **options), _name(source))


BACKENDS = ("decord", "opencv", "pyav", "rawframes")


def _reader(backend: str):
    from actjax.video import pictures, readers

    return {
        "decord": readers.Decord,
        "pyav": readers.PyAV,
        "opencv": readers.OpenCV,
        "rawframes": pictures.Rawframes,
    }[backend]


class _Checked:
    """A reader with its errors named after the source and its indices checked; decodes every frame once."""

    def __init__(self, reader, name: str):
        self._reader, self._name = reader, name
        with reader.blame(name):
            reader.open()
        self.num_frames, self.fps = reader.num_frames, reader.fps
        if self.num_frames < 1:
            raise VideoError(name, "no frames")

    @property
    def size(self) -> tuple[int, int]:
        return self.frames(np.array([0])).shape[1:3]

    def frames(self, indices) -> np.ndarray:
        indices = np.asarray(indices).ravel()
        if indices.size and (indices.min() < 0 or indices.max() >= self.num_frames):
            raise IndexError(f"{self._name}: frames {indices} of a video that has {self.num_frames}")
        needed, places = np.unique(indices, return_inverse=True)
        with self._reader.blame(self._name):
            frames = self._reader.read(needed)
        return frames if np.array_equal(needed, indices) else frames[places]


def _name(source) -> str:
    return f"<{len(source)} bytes>" if isinstance(source, bytes) else os.fspath(source)


def _content(source, *, folder: bool) -> str | io.BytesIO:
    """A path, or the content of what is no local file."""
    if isinstance(source, bytes):
        return io.BytesIO(source)
    path = os.fspath(source)
    if "://" in path and not folder:
        try:
            import fsspec
        except ImportError as error:
            raise ImportError(f"{path}: URLs need fsspec; pip install 'actjax[remote]'") from error
        try:
            with fsspec.open(path, "rb") as file:
                return io.BytesIO(file.read())
        except (OSError, ValueError) as error:
            raise VideoError(path, f"cannot be read: {error}") from error
    if not os.path.exists(path) and "://" not in path:
        raise VideoError(path, "no such file")
    return path
