"""Decoded frames + views -> pixels. All cropping, resampling and mirroring of pixels happens here."""

import math

import numpy as np

from actjax.video.views import Step, View

INTERPOLATIONS = ("bilinear", "nearest", "bicubic", "area", "lanczos")
MODALITIES = ("RGB", "Flow")


def render(
    frames: np.ndarray,
    views,
    *,
    interpolation: str = "bilinear",
    fused: bool = True,
    modality: str = "RGB",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Renders every view of every frame -> uint8 [views * n, h, w, c], view by view.

    >>> from actjax.video.views import three_crop
    >>> frames = np.zeros((8, 48, 64, 3), np.uint8)
    >>> render(frames, three_crop(48, 64, crop_size=48)).shape
    (24, 48, 48, 3)

    Args:
      frames: uint8 [n, h, w, c], or [n, h, w] without channels; optical flow [n, h, w, 2]: x, y.
      views: a `View` or a list of views of one size.
      interpolation: one of `INTERPOLATIONS`.
      fused: one crop and one resample, with the source box rounded to whole pixels, at least one (`lazy=True` and Fuse
        of MMAction2 0.6). False: each step of the view in turn, as MMAction2 does without `lazy`. The two differ by
        about one grey level on average.
      modality: one of `MODALITIES`. In mirrored flow x becomes 255 - x.
      out: the array to write to, of the result's shape and type; None for a new one.

    Raises:
      ValueError: no views, views of several sizes, an unknown interpolation or modality, flow without two channels, a
        view that flips flow vertically (MMAction2 has no rule for it).

    Source: the API entries Resize, Flip, Fuse. Fixed: fused flow inverts x too.
    """
    views = [views] if isinstance(views, View) else list(views)
    _check(frames, views, interpolation, modality)
    height, width = (int(side) for side in views[0].size)
    shape = (len(views), len(frames), height, width, *frames.shape[3:])
    out = np.empty(shape, frames.dtype) if out is None else out.reshape(shape)
    for view, pictures in zip(views, out, strict=True):
        whole = Step(_rounded(view.box), view.size, view.flip, view.flip_vertical)
        steps = (whole,) if fused or not view.steps else view.steps
        taken = frames
        for step in steps[:-1]:
            taken = _take(taken, step, interpolation, modality)
        _take(taken, steps[-1], interpolation, modality, out=pictures)
    return out.reshape(-1, *out.shape[2:])


def _check(frames, views, interpolation, modality) -> None:
    if not views or len({tuple(view.size) for view in views}) != 1:
        raise ValueError(f"render: expected views of one size, got sizes {[tuple(view.size) for view in views]}")
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"render: interpolation={interpolation!r}; choose from {INTERPOLATIONS}")
    if modality not in MODALITIES:
        raise ValueError(f"render: modality={modality!r}; choose from {MODALITIES}")
    if modality == "Flow":
        if frames.ndim != 4 or frames.shape[3] != 2:
            raise ValueError(f"render: flow of shape {frames.shape}; expected [n, h, w, 2]: x, y")
        if any(each.flip_vertical for view in views for each in (view, *view.steps)):
            raise ValueError('render: flow cannot be flipped vertically; use direction="horizontal"')


def _rounded(box) -> tuple[int, ...]:
    """The whole pixels nearest to the edges of a box, at least one in each direction."""
    x0, x1 = _side(box[0], box[2])
    y0, y1 = _side(box[1], box[3])
    return x0, y0, x1, y1


def _side(low, high) -> tuple[int, int]:
    begin, end = round(float(low)), round(float(high))
    return (begin, end) if begin < end else (math.floor(low), math.floor(low) + 1)


def _take(frames: np.ndarray, step: Step, interpolation: str, modality: str, *, out=None) -> np.ndarray:
    """Applies one step to all frames [n, h, w, ...] -> `out`, or a new array."""
    x0, y0, x1, y1 = (int(edge) for edge in step.box)
    height, width = (int(side) for side in step.size)
    frames = frames[:, y0:y1, x0:x1]
    if out is None:
        out = np.empty((len(frames), height, width, *frames.shape[3:]), frames.dtype)
    if (y1 - y0, x1 - x0) == (height, width):
        out[:] = frames
    else:
        _resize(frames, out, interpolation)
    if step.flip:
        _mirror(out, modality)
    if step.flip_vertical:
        out[:] = out[:, ::-1]
    return out


def _resize(frames: np.ndarray, out: np.ndarray, interpolation: str) -> None:
    import cv2

    codes = (cv2.INTER_LINEAR, cv2.INTER_NEAREST, cv2.INTER_CUBIC, cv2.INTER_AREA, cv2.INTER_LANCZOS4)
    code = codes[INTERPOLATIONS.index(interpolation)]
    size = out.shape[2], out.shape[1]
    for frame, picture in zip(frames, out, strict=True):
        cv2.resize(frame, size, dst=picture, interpolation=code)


def _mirror(pictures: np.ndarray, modality: str) -> None:
    """Flips images [n, h, w, ...] left-right in place, in one OpenCV call over all their rows."""
    import cv2

    rows = pictures.reshape(-1, *pictures.shape[2:])
    cv2.flip(rows, 1, dst=rows)
    if modality == "Flow":
        np.subtract(255, pictures[..., 0], out=pictures[..., 0])
