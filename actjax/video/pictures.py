"""Folders of pictures, RGB or optical flow, as videos."""

import os

import numpy as np

from actjax.video.readers import Reader, Unreadable


class Rawframes(Reader):
    """Frame k is the file of number start_index + offset + k; flow has two, "x" and "y" in the template."""

    fps = 0.0  # pictures have no rate

    def __init__(
        self,
        source: str,
        num_frames: int | None = None,
        offset: int = 0,
        filename_tmpl: str = "img_{:05}.jpg",
        start_index: int = 1,
        modality: str = "RGB",
    ):
        if modality not in ("RGB", "Flow"):
            raise ValueError(f"open_video: modality={modality!r}; choose from ('RGB', 'Flow')")
        self._folder, self._first, self._template = source, start_index + offset, filename_tmpl
        self._flow, self._given = modality == "Flow", num_frames

    @staticmethod
    def errors():
        import cv2

        return cv2.error, Unreadable, OSError

    def open(self):
        self.num_frames = self._count() if self._given is None else self._given

    def read(self, indices: np.ndarray) -> np.ndarray:
        import cv2

        kind, axes = (cv2.IMREAD_GRAYSCALE, "xy") if self._flow else (cv2.IMREAD_COLOR_RGB, "")
        frames = None
        for place, k in enumerate(indices):
            for channel, axis in enumerate(axes or ("",)):
                picture = self._picture(k, kind, axis)
                if frames is None:
                    frames = np.empty((len(indices), *picture.shape[:2], 2 if axes else 3), np.uint8)
                if picture.shape[:2] != frames.shape[1:3]:
                    raise Unreadable(f"pictures of several sizes: {frames.shape[1:3]} and {picture.shape[:2]}")
                frames[(place, ..., channel) if axes else place] = picture  # at once: memory that is warm costs less
        return frames

    def _picture(self, k: int, kind: int, axis: str) -> np.ndarray:
        import cv2

        path = self._path(k, axis)
        with self._open(path) as file:
            picture = cv2.imdecode(np.frombuffer(file.read(), np.uint8), kind)
        if picture is None:
            raise Unreadable(f"{path} is no picture")
        return picture

    def _open(self, path: str):
        if "://" in path:
            import fsspec

            return fsspec.open(path, "rb")
        return open(path, "rb")

    def _path(self, k: int, axis: str) -> str:
        numbers = (axis, self._first + int(k)) if axis else (self._first + int(k),)
        return os.path.join(self._folder, self._template.format(*numbers))

    def _count(self) -> int:
        """How many files there are in a row."""
        k = 0
        while os.path.exists(self._path(k, "x" if self._flow else "")):
            k += 1
        return k
