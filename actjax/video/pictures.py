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

        if self._flow:
            planes = [[self._picture(k, cv2.IMREAD_GRAYSCALE, axis) for axis in "xy"] for k in indices]
            pictures = [np.stack(pair, axis=-1) for pair in planes if _equal(pair)]
        else:
            pictures = [self._picture(k, cv2.IMREAD_COLOR_RGB) for k in indices]
        _equal(pictures)
        return np.stack(pictures)

    def _picture(self, k: int, kind: int, *axis: str) -> np.ndarray:
        import cv2

        path = self._path(k, *axis)
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

    def _path(self, k: int, *axis: str) -> str:
        return os.path.join(self._folder, self._template.format(*axis, self._first + int(k)))

    def _count(self) -> int:
        """How many files there are in a row."""
        k = 0
        while os.path.exists(self._path(k, *"x" * self._flow)):
            k += 1
        return k


def _equal(pictures: list[np.ndarray]) -> bool:
    if len({picture.shape for picture in pictures}) > 1:
        raise Unreadable(f"pictures of several sizes: {sorted({picture.shape[:2] for picture in pictures})}")
    return True
