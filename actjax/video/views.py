"""Geometry without pixels: which box of a frame becomes a picture of which size.

Every function maps a `View` of a frame to a `View` (or a list of them); `(height, width)` stands for the untouched
frame. Boxes are x0, y0, x1, y1 in pixels, right and bottom exclusive; sizes are height, width. Random ones are pure
functions of draws `u` in [0, 1) and run alike on NumPy and, with static sizes, under `jax.jit` / `vmap`.
"""

import math
from typing import NamedTuple

import numpy as np

from actjax.video.draws import below, check_draws


class Step(NamedTuple):
    """One operation: cut `box` (pixels of the picture before), resize to `size`, mirror if `flip`."""

    box: tuple
    size: tuple
    flip: bool = False


class View(NamedTuple):
    """A picture taken from a frame: the source `box`, the output `size` (height, width), mirrored left-right or not.

    `steps` remembers the operations it was composed of, for rendering them one by one.
    """

    box: tuple
    size: tuple
    flip: bool = False
    steps: tuple[Step, ...] = ()


def whole(height: int, width: int) -> View:
    """The frame as it is."""
    return View((0, 0, width, height), (height, width))


def resize(view, width=None, *, scale, keep_ratio: bool = True) -> View:
    """The same picture at another size.

    Args:
      view, width: a `View`, or the height and width of the frame.
      scale: a float factor; or two numbers: with `keep_ratio` a long and a short side to fit into (either order, -1
        for no limit: `(-1, 256)` brings the short side to 256), without it the output height, width.
      keep_ratio: keep the aspect ratio.

    Raises:
      TypeError: `scale` is neither a float nor two numbers. ValueError: a side or factor that is not positive.

    Source: the API entry Resize; sides round half up in float64, as there. Sizes must be static with `keep_ratio`.
    """
    view = _view(view, width)
    height, width = view.size
    if isinstance(scale, float):
        if not scale > 0:
            raise ValueError(f"resize: scale={scale}; must be positive")
        size = _scaled(height, width, scale)
    elif isinstance(scale, (tuple, list)) and len(scale) == 2:
        if not keep_ratio:
            if min(scale) < 1:
                raise ValueError(f"resize: scale={tuple(scale)} with keep_ratio=False; both sides must be at least 1")
            size = tuple(int(side) for side in scale)
        else:
            short, long = sorted(math.inf if side == -1 else side for side in scale)
            if not 0 < short < math.inf:
                raise ValueError(f"resize: scale={tuple(scale)}; sides must be positive, at most one of them -1")
            size = _scaled(height, width, min(long / max(height, width), short / min(height, width)))
    else:
        raise TypeError(f"resize: scale={scale!r}; expected a float factor or two sides")
    return view._replace(size=size, steps=view.steps + (Step((0, 0, width, height), size),))


def center_crop(view, width=None, *, crop_size) -> View:
    """The middle of the picture.

    Args:
      view, width: a `View`, or the height and width of the frame.
      crop_size: side of a square, or height, width.

    Raises:
      ValueError: the crop does not fit (the reference returns nonsense there). Source: the API entry CenterCrop.
    """
    view = _view(view, width)
    crop_height, crop_width = _fitting("center_crop", view, crop_size)
    return _crop(view, (view.size[1] - crop_width) // 2, (view.size[0] - crop_height) // 2, crop_height, crop_width)


def multi_scale_crop(
    view,
    width=None,
    *,
    input_size,
    u,
    scales=(1.0,),
    max_wh_scale_gap: int = 1,
    random_crop: bool = False,
    num_fixed_crops: int = 5,
) -> View:
    """A crop of a drawn size at a drawn place; a `resize` to the network's input follows it.

    Args:
      view, width: a `View`, or the height and width of the frame.
      input_size: the network's input, side of a square or height, width; a crop side within 3 pixels of it snaps to it.
      u: draws [3]: the pair of scales, the place (its column, for `random_crop`), the row (`random_crop` only).
      scales: fractions of the short side. All pairs whose positions in this list differ by at most
        `max_wh_scale_gap` are candidates, each equally likely.
      random_crop: any place; else one of `num_fixed_crops` (5 or 13) fixed ones.

    Raises:
      ValueError: scales outside (0, 1], an unknown number of fixed crops, draws that are not [3].

    Source: the API entry MultiScaleCrop (TSN, arXiv:1608.00859, section 3.2). Fixed: snapping never leaves the image.
    """
    view = _view(view, width)
    height, width = view.size
    check_draws("multi_scale_crop", (3,), u=u)
    if not scales or not all(0 < scale <= 1 for scale in scales):
        raise ValueError(f"multi_scale_crop: scales={scales}; each must be in (0, 1]")
    if num_fixed_crops not in (5, 13):
        raise ValueError(f"multi_scale_crop: num_fixed_crops={num_fixed_crops}; choose from (5, 13)")
    xp = u.__array_namespace__()
    sizes = _crop_sizes(height, width, _pair("input_size", input_size), scales, max_wh_scale_gap)
    crop_height, crop_width = xp.asarray(sizes)[below(len(sizes), u[0])]
    free_x, free_y = width - crop_width, height - crop_height
    if random_crop:
        return _crop(view, below(free_x + 1, u[1]), below(free_y + 1, u[2]), crop_height, crop_width)
    column, row = xp.asarray(_FIXED_PLACES[:num_fixed_crops])[below(num_fixed_crops, u[1])]
    return _crop(view, column * (free_x // 4), row * (free_y // 4), crop_height, crop_width)


# Columns and rows in quarters of the free room: the corners and the centre, then eight places between them.
_FIXED_PLACES = (
    (0, 0), (4, 0), (0, 4), (4, 4), (2, 2),
    (0, 2), (4, 2), (2, 4), (2, 0), (1, 1), (3, 1), (1, 3), (3, 3),
)  # fmt: skip


def _crop_sizes(height, width, input_size, scales, max_gap) -> np.ndarray:
    """Candidate crops of `multi_scale_crop` -> int64 [n, 2], height and width."""
    sides = [int(min(height, width) * scale) for scale in scales]

    def snap(side, wanted, room):
        return wanted if abs(side - wanted) < 3 and wanted <= room else side

    return np.array(
        [
            (snap(tall, input_size[0], height), snap(wide, input_size[1], width))
            for i, tall in enumerate(sides)
            for j, wide in enumerate(sides)
            if abs(i - j) <= max_gap
        ]
    )


def flip(view, width=None, *, u, flip_ratio: float = 0.5) -> View:
    """Mirrors the picture left-right if the draw `u` (a scalar) is below `flip_ratio`. Source: the API entry Flip."""
    view = _view(view, width)
    if not 0 <= flip_ratio <= 1:
        raise ValueError(f"flip: flip_ratio={flip_ratio}; must be in [0, 1]")
    fires = u < flip_ratio
    step = Step((0, 0, view.size[1], view.size[0]), view.size, fires)
    return view._replace(flip=view.flip ^ fires, steps=view.steps + (step,))


def _view(view, width) -> View:
    if isinstance(view, View) == (width is not None):
        raise TypeError("expected a View, or a height and a width")
    return view if width is None else whole(view, width)


def _crop(view: View, x, y, height, width) -> View:
    """Cuts `height` x `width` at `x`, `y` of the picture out of `view`."""
    x0, y0, x1, y1 = view.box
    scale_x, scale_y = (x1 - x0) / view.size[1], (y1 - y0) / view.size[0]
    # In a mirrored picture x counts from the right edge of the box.
    left = x + view.flip * (view.size[1] - width - 2 * x)
    left, top = x0 + left * scale_x, y0 + y * scale_y
    box = (left, top, left + width * scale_x, top + height * scale_y)
    step = Step((x, y, x + width, y + height), (height, width))
    return View(box, (height, width), view.flip, view.steps + (step,))


def _fitting(function: str, view: View, crop_size) -> tuple[int, int]:
    height, width = _pair("crop_size", crop_size)
    if height > view.size[0] or width > view.size[1]:
        raise ValueError(
            f"{function}: crop {height}x{width} does not fit into {view.size[0]}x{view.size[1]}; resize first"
        )
    return height, width


def _pair(name: str, size) -> tuple[int, int]:
    pair = (size, size) if isinstance(size, (int, np.integer)) else size
    if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not all(isinstance(n, (int, np.integer)) for n in pair):
        raise TypeError(f"{name}={size!r}; expected a whole number, or height and width")
    if min(pair) < 1:
        raise ValueError(f"{name}={size!r}; must be at least 1")
    return int(pair[0]), int(pair[1])


def _scaled(height: int, width: int, factor: float) -> tuple[int, int]:
    return int(height * float(factor) + 0.5), int(width * float(factor) + 0.5)
