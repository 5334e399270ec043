"""Records. A record of a video opens it, so later code need not know its kind."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from actjax.video.decoding import Video, decoder, open_video

Label = int | np.ndarray  # a class, or float32 [num_classes]: many-hot or a distribution


def decoder_of(record, backend: str | Sequence[str]) -> str | None:
    """The library that reads a record and its version; None for a record of one's own that does not tell."""
    return record.decoder(backend) if hasattr(record, "decoder") else None


class VideoRecord(NamedTuple):
    """One labelled video file."""

    path: str
    label: Label = -1

    def open(self, *, backend: str | Sequence[str] = "pyav") -> Video:
        """Opens the video."""
        return open_video(self.path, backend=backend)

    def decoder(self, backend: str | Sequence[str]) -> str:
        """The library that `open` uses, and its version."""
        return decoder(backend)


class BytesRecord(NamedTuple):
    """A video file in memory."""

    data: bytes
    path: str = "<bytes>"
    label: Label = -1

    def open(self, *, backend: str | Sequence[str] = "pyav") -> Video:
        """Opens the video."""
        return open_video(self.data, backend=backend)


class FramesRecord(NamedTuple):
    """A video as an array of its frames, uint8 [n, h, w, c]. It is its own `Video`."""

    pixels: np.ndarray
    path: str = "<frames>"
    label: Label = -1

    def check(self) -> "FramesRecord":
        """Returns itself. Raises ValueError for another type or shape."""
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 4 or not self.pixels.size:
            hint = "; np.stack(frames) makes one array of a list of frames" if self.pixels.ndim == 3 else ""
            raise ValueError(f"frames are {self.pixels.dtype} {self.pixels.shape}; expected uint8 [n, h, w, c]{hint}")
        return self

    def open(self, *, backend: str | Sequence[str] = "pyav") -> "FramesRecord":
        """Returns itself; there is nothing to decode."""
        return self

    @property
    def num_frames(self) -> int:
        return len(self.pixels)

    def frames(self, indices: np.ndarray) -> np.ndarray:
        """The frames of these indices, uint8 [len(indices), h, w, c]."""
        return self.pixels[indices]


class RawframesRecord(NamedTuple):
    """One labelled folder of images; frame k is file number start_index + offset + k."""

    path: str
    num_frames: int
    label: Label = -1
    offset: int = 0
    filename_tmpl: str = "img_{:05}.jpg"
    start_index: int = 1
    modality: str = "RGB"

    def open(self, *, backend: str = "rawframes") -> Video:
        """Opens the folder; `backend` is ignored, as images have only one reader."""
        names = ("num_frames", "offset", "filename_tmpl", "start_index", "modality")
        return open_video(self.path, backend="rawframes", **{name: getattr(self, name) for name in names})

    def decoder(self, backend: str | Sequence[str]) -> str:
        """The library that reads the images and its version, whatever `backend`."""
        return decoder("rawframes")


class ActivityNetRecord(NamedTuple):
    """One untrimmed video of ActivityNet; `annotations` are {"segment": [start, end] in seconds, "label": name}."""

    path: str  # data_prefix/video, the location of the feature file
    video: str
    duration_second: float
    duration_frame: int
    feature_frame: int
    annotations: list[dict]
    fps: float | None = None
    rfps: float | None = None
