"""Videos -> frames. `open_video` gives every backend and every kind of source the same interface."""

import importlib.metadata
import importlib.util
import inspect
import io
import os
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from actjax.errors import warn_once
from actjax.paths import check_scheme, is_url, not_a_file
from actjax.video.errors import BackendError, VideoError
from actjax.video.fetching import fetch, is_missing
from actjax.video.readers import frame_limit

__all__ = ["BACKENDS", "BackendError", "Video", "VideoError", "check_backend", "decoder", "open_video"]


class Video(Protocol):
    """The interface of every reader.

    num_frames: the exact number of frames that can be read. fps: the average rate, 0 if there is none.
    size: height and width.
    """

    num_frames: int
    fps: float
    size: tuple[int, int]

    def frames(self, indices: np.ndarray) -> np.ndarray:
        """uint8 [n, h, w, 3] in RGB (flow: [n, h, w, 2]), one per index, in the order given; repeats are fine."""

    def times(self, indices: np.ndarray) -> np.ndarray:
        """float64 [n]: the second at which each frame is shown, by the file's own clock."""

    def check(self) -> str | None:
        """Raises whatever `frames` would raise for any frame. Returns a remark if the file is odd but readable."""


def open_video(source: str | os.PathLike | bytes, *, backend: str | Sequence[str] = "pyav", **options) -> Video:
    """Opens a video.

    Frame k is the k-th frame that FFmpeg shows when it decodes the video stream in order. Edit lists are applied.
    Frames are rotated and mirrored by the file's display matrix and converted to RGB with its own colour matrix and
    range. The stream is the default one, else the one with most pixels, else the first; never a cover picture.

    >>> import numpy as np
    >>> from actjax.data.samples.shapes import write_video
    >>> from actjax.video.decoding import open_video
    >>> write_video("clip.mp4", np.zeros((5, 32, 48, 3), np.uint8), fps=10)
    >>> video = open_video("clip.mp4")
    >>> video.num_frames, video.size, video.frames([4, 0, 0]).shape, video.times([0, 4])
    (5, (32, 48), (3, 32, 48, 3), array([0. , 0.4]))

    Args:
      source: a file (for "rawframes" a folder), a URL (`https://...`, `gs://...`; all schemes are in `actjax.paths`),
        or the bytes of a file.
      backend: one of `BACKENDS`, or several: the first one that can read the file does, and a warning is logged once
        per fallback. "pyav" reads every file with frames of its own that FFmpeg reads. "decord" and "opencv" give the
        same frames for some kinds of files and refuse all others; the guide has the table. "rawframes": a folder of
        image files.
      options: "pyav": `threads` of the codec. "rawframes": `num_frames` (None counts the files), `offset`,
        `filename_tmpl`, `start_index`, `modality` "RGB" or "Flow" (images "x" and "y" of the template).

    Raises:
      VideoError: the source is missing, damaged, or holds no video, such as a playlist; its frames are above the limit
        `ACTJAX_MAX_FRAME_MPIXELS`; later, from `frames`: a frame is damaged or cannot be decoded. BackendError, a
        VideoError: this backend does not read the file exactly; names one that does.
      Unreachable: the network or a file server is gone, which says nothing about the video.
      IndexError: from `frames`: an index outside [0, num_frames).
      ValueError: an unknown backend or option, or a limit that is no number. ImportError: a package is missing.

    Source: the API entries DecordInit, PyAVInit, OpenCVInit, RawFrameDecode and their decoders.
    """
    names = backend_names(backend)
    if not names or set(names) - set(BACKENDS):
        raise ValueError(f"open_video: backend={backend!r}; choose from {sorted(BACKENDS)}")
    if len(names) > 1:
        return _FirstThatCan(source, names, options)
    frame_limit()  # a wrong one is no video's fault
    (backend,) = names
    reader = _reader(backend)
    known = list(inspect.signature(reader).parameters)[1:]
    if unknown := sorted(set(options) - set(known)):
        raise ValueError(f"open_video: backend {backend!r} does not take {unknown}; it takes {known}")
    return _Checked(reader(content(source, folder=backend == "rawframes"), **options), _name(source))


BACKENDS = ("decord", "opencv", "pyav", "rawframes")
_PACKAGES = {  # backend -> packages that provide it
    "decord": ("decord2", "decord"),
    "opencv": ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
    "pyav": ("av",),
}
_PACKAGES["rawframes"] = _PACKAGES["opencv"]
_MODULES = {"decord": "decord", "opencv": "cv2", "pyav": "av", "rawframes": "cv2"}


def backend_names(backend: str | Sequence[str]) -> list[str]:
    """One backend or several -> their names."""
    return [backend] if isinstance(backend, str) else list(backend)


def decoder(backend: str | Sequence[str]) -> str:
    """The library of a backend and its version: "av 18.1.0"; for several backends "decord 0.6.0, av 18.1.0"."""
    return ", ".join(" ".join(found) for name in backend_names(backend) if (found := _installed(name)))


def check_backend(backend: str | Sequence[str]) -> None:
    """Raises ImportError if no package for the backend (of several, the last one) is installed."""
    name = backend_names(backend)[-1]
    if _installed(name) is None:
        raise ImportError(f"backend {name!r} needs a package: pip install {_PACKAGES[name][0]}")


def _installed(backend: str) -> tuple[str, str] | None:
    """The installed package of a backend and its version."""
    if importlib.util.find_spec(_MODULES[backend]) is None:
        return None
    for package in _PACKAGES[backend]:
        try:
            return package, importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            pass
    return None


def _reader(backend: str):
    from actjax.video import decord_opencv, pictures, pyav

    return {
        "decord": decord_opencv.Decord,
        "pyav": pyav.PyAV,
        "opencv": decord_opencv.OpenCV,
        "rawframes": pictures.Rawframes,
    }[backend]


class _FirstThatCan:
    """A video read by the first of several backends; if that one refuses, at any time, the next one takes over."""

    def __init__(self, source, backends: list[str], options: dict):
        self._source, self._backends, self._options, self._video = source, backends, options, None
        self.num_frames, self.fps = self._do(lambda video: (video.num_frames, video.fps))

    @property
    def size(self) -> tuple[int, int]:
        return self._do(lambda video: video.size)

    def frames(self, indices) -> np.ndarray:
        return self._do(lambda video: video.frames(indices))

    def times(self, indices) -> np.ndarray:
        return self._do(lambda video: video.times(indices))

    def check(self) -> str | None:
        return self._do(lambda video: video.check())

    def _do(self, use):
        while True:
            try:
                self._video = self._video or open_video(self._source, backend=self._backends[0], **self._options)
                return use(self._video)
            except (ImportError, BackendError) as error:
                if len(self._backends) == 1:
                    raise
                name, self._video = self._backends.pop(0), None
                why = "is not installed" if isinstance(error, ImportError) else "cannot read some videos exactly"
                warn_once(f"{name} {why}; falling back to {self._backends[0]}")


class _Checked:
    """Wraps a reader: checks indices, names the source in errors, decodes repeated frames once."""

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
        return self._each(self._reader.read, indices)

    def times(self, indices) -> np.ndarray:
        return self._each(self._reader.times, indices)

    def check(self) -> str | None:
        with self._reader.blame(self._name):
            return self._reader.check()

    def _each(self, read, indices) -> np.ndarray:
        """Calls `read` with the sorted unique indices and returns its rows in the order of `indices`."""
        indices = np.asarray(indices).ravel()
        if not indices.size:
            return self._each(read, [0])[:0]
        if indices.dtype.kind not in "iu":
            raise IndexError(f"{self._name}: frame indices must be whole numbers, not {indices.dtype}")
        indices = indices.astype(np.int64)
        if indices.min() < 0 or indices.max() >= self.num_frames:
            raise IndexError(f"{self._name}: frames {indices} of a video with {self.num_frames} frames")
        needed, places = np.unique(indices, return_inverse=True)
        with self._reader.blame(self._name):
            found = read(needed)
        return found if np.array_equal(needed, indices) else found[places]


def _name(source) -> str:
    return f"<{len(source)} bytes>" if isinstance(source, bytes) else os.fspath(source)


def content(source, *, folder: bool) -> str | io.BytesIO:
    """A local path, or the content of bytes and URLs; a folder's URL stays a URL."""
    if isinstance(source, bytes):
        return io.BytesIO(source)
    path = os.fspath(source)
    if is_url(path):
        return _remote(path, folder=folder)
    if is_missing(path):
        raise VideoError(path, "no such file")
    kind = not_a_file(path)
    if folder and kind != "is a folder":
        raise VideoError(path, f"{kind or 'is a file'}; backend 'rawframes' reads a folder of pictures")
    if kind and not folder:
        raise VideoError(path, f"{kind}, not a video")
    return os.path.abspath(path)  # libraries take "a:b.mp4" for an address, "-" for the standard input


def _remote(url: str, *, folder: bool) -> str | io.BytesIO:
    try:
        check_scheme(url)
        return url if folder else io.BytesIO(fetch(url))
    except (OSError, ValueError) as error:
        raise VideoError(url, f"cannot be read: {error}") from error
