"""Folders of image files, RGB or optical flow, read as videos."""

import os

import numpy as np

from actjax.limits import too_large
from actjax.paths import is_url, not_a_file
from actjax.video.fetching import fetch
from actjax.video.picture_sizes import picture_size
from actjax.video.readers import Reader, TooLarge, Unreadable, check_size, gather

_LIMIT = "ACTJAX_MAX_PICTURE_MB"


class Rawframes(Reader):
    """Frame k is file number start_index + offset + k; for flow two files, with "x" and "y" in the template."""

    fps = 0.0  # image files have no frame rate

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
        return gather(len(indices), ((place, self._frame(int(k))) for place, k in enumerate(indices)))

    def times(self, indices: np.ndarray) -> np.ndarray:
        raise Unreadable("image files have no timestamps")

    def check(self) -> str | None:
        sizes = {self._frame(k).shape[:2] for k in range(self.num_frames)}
        if len(sizes) > 1:
            raise Unreadable(f"frames of several sizes: {sorted(sizes)}")
        return None

    def _frame(self, k: int) -> np.ndarray:
        import cv2

        if not self._flow:
            return self._picture(self._path(k), cv2.IMREAD_COLOR_RGB)
        x, y = (self._picture(self._path(k, axis), cv2.IMREAD_GRAYSCALE) for axis in "xy")
        if x.shape != y.shape:
            raise Unreadable(f"flow x and y differ in size: {x.shape} and {y.shape}")
        return np.stack([x, y], axis=-1)

    def _picture(self, path: str, kind: int) -> np.ndarray:
        import cv2

        content = self._content(path)
        size = picture_size(content)
        if size is None:
            raise Unreadable(
                f"{path} is not an image of a kind that is read: JPEG, PNG, BMP, TIFF, WebP, PBM, PGM, PPM"
            )
        try:
            check_size(*size)
        except TooLarge as error:
            raise TooLarge(f"{path}: {error}") from error
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), kind)
        if picture is None:
            raise Unreadable(f"{path} is not an image")
        return picture

    def _content(self, path: str) -> bytes:
        if is_url(path):
            try:
                return fetch(path, limit=_LIMIT)
            except OSError as error:
                raise Unreadable(f"{path}: {error}") from error
        if kind := not_a_file(path):
            raise Unreadable(f"{path} {kind}, not an image")
        with open(path, "rb") as file:
            if above := too_large(os.fstat(file.fileno()).st_size / 1e6, _LIMIT):
                raise Unreadable(f"{path}: size in MB: {above}")
            return file.read()

    def _path(self, k: int, axis: str = "") -> str:
        numbers = (axis, self._first + k) if axis else (self._first + k,)
        return os.path.join(self._folder, self._template.format(*numbers))

    def _count(self) -> int:
        """The number of consecutive files from the first one on."""
        k = 0
        while os.path.exists(self._path(k, "x" if self._flow else "")):
            k += 1
        return k
