"""Pixels: the one place where decoded frames are cut, resampled and mirrored."""

import numpy as np

from actjax.video.views import Step, View

INTERPOLATIONS = ("bilinear", "nearest", "bicubic", "area", "lanczos")


def render(frames: np.ndarray, views, *, interpolation: str = "bilinear", fused: bool = True) -> np.ndarray:
    """The pictures that `views` take from every frame -> uint8 [views * n, h, w, c], view by view.

    Args:
      frames: uint8 [n, h, w, c] (or [n, h, w] for flow components).
      views: a `View` or a list of views of one size.
      interpolation: one of `INTERPOLATIONS`.
      fused: one cut and one resample, with the source box rounded to whole pixels (the reference's `lazy=True` and
        Fuse). False: every remembered step for itself, as the reference does without `lazy`. The two differ by
        about one grey level on average.

    Raises:
      ValueError: no views, views of several sizes, or an unknown interpolation.
    """
    views = [views] if isinstance(views, View) else list(views)
    if not views or len({tuple(view.size) for view in views}) != 1:
        raise ValueError(f"render: expected views of one size, got sizes {[tuple(view.size) for view in views]}")
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"render: interpolation={interpolation!r}; choose from {INTERPOLATIONS}")
    height, width = (int(side) for side in views[0].size)
    out = np.empty((len(views) * len(frames), height, width, *frames.shape[3:]), frames.dtype)
    for i, view in enumerate(views):
        steps = (Step(_rounded(view.box), view.size, view.flip),) if fused else view.steps
        for j, frame in enumerate(frames):
            for step in steps:
                frame = _take(frame, step, interpolation)
            out[i * len(frames) + j] = frame
    return out


def _rounded(box) -> tuple[int, ...]:
    return tuple(int(np.rint(edge)) for edge in box)


def _take(frame: np.ndarray, step: Step, interpolation: str) -> np.ndarray:
    x0, y0, x1, y1 = (int(edge) for edge in step.box)
    height, width = (int(side) for side in step.size)
    picture = frame[y0:y1, x0:x1]
    if picture.shape[:2] != (height, width):
        picture = _resize(picture, height, width, interpolation)
    return picture[:, ::-1] if step.flip else picture


def _resize(picture: np.ndarray, height: int, width: int, interpolation: str) -> np.ndarray:
    import cv2

    codes = (cv2.INTER_LINEAR, cv2.INTER_NEAREST, cv2.INTER_CUBIC, cv2.INTER_AREA, cv2.INTER_LANCZOS4)
    code = codes[INTERPOLATIONS.index(interpolation)]
    return cv2.resize(picture, (width, height), interpolation=code)
