"""Geometry without pixels: which box of a frame becomes a picture of which size.

Every function maps a `View` of a frame to a `View` (or a list of them); `(height, width)` stands for the untouched
frame. Boxes are x0, y0, x1, y1 in pixels, right and bottom exclusive; sizes are height, width. Random functions are
pure functions of draws `u` in [0, 1); they run the same on NumPy and, with static sizes, under `jax.jit` / `vmap`.
"""

import math
from typing import NamedTuple

import numpy as np

from actjax.video.draws import below, check_draws

DIRECTIONS = ("horizontal", "vertical")


class Step(NamedTuple):
    """One operation: crop `box` (in pixels of the previous picture), resize to `size`, then mirror as in a `View`."""

    box: tuple
    size: tuple
    flip: bool = False
    flip_vertical: bool = False


class View(NamedTuple):
    """A picture taken from a frame: the source `box`, the output `size` (height, width), and how it is mirrored.

    `flip` mirrors left-right, `flip_vertical` upside down. `steps` lists the operations that composed the view, so that
    they can be rendered one by one.
    """

    box: tuple
    size: tuple
    flip: bool = False
    steps: tuple[Step, ...] = ()
    flip_vertical: bool = False


def whole(height: int, width: int) -> View:
    """The frame as it is.

    >>> whole(240, 320).box, whole(240, 320).size
    ((0, 0, 320, 240), (240, 320))
    """
    return View((0, 0, width, height), (height, width))


def resize(view, width=None, *, scale, keep_ratio: bool = True) -> View:
    """The same picture at another size.

    >>> resize(240, 320, scale=(-1, 120)).size
    (120, 160)

    Args:
      view, width: a `View`, or the height and width of the frame.
      scale: a float factor; or two numbers: with `keep_ratio` a long and a short side to fit into (either order, -1
        for no limit: `(-1, 256)` makes the short side 256), without it the output height, width.
      keep_ratio: keep the aspect ratio.

    Raises:
      TypeError: `scale` is neither a float (with `keep_ratio`) nor a tuple of two numbers. ValueError: a side or
        factor that is not positive.

    Source: the API entry Resize; like it, rounds sides half up in float64. With `keep_ratio`, sizes must be static.
    """
    view = _view(view, width)
    height, width = view.size
    if isinstance(scale, float) and keep_ratio:
        if not scale > 0:
            raise ValueError(f"resize: scale={scale}; must be positive")
        size = _scaled(height, width, scale)
    elif isinstance(scale, tuple) and len(scale) == 2:
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
        raise TypeError(f"resize: scale={scale!r}; expected a float factor (with keep_ratio) or a tuple of two sides")
    return view._replace(size=size, steps=view.steps + (Step((0, 0, width, height), size),))


def center_crop(view, width=None, *, crop_size) -> View:
    """The middle of the picture.

    >>> center_crop(240, 320, crop_size=224).box
    (48.0, 8.0, 272.0, 232.0)

    Args:
      view, width: a `View`, or the height and width of the frame.
      crop_size: side of a square, or height, width.

    Raises:
      ValueError: the crop does not fit (MMAction2 0.6 returns nonsense). Source: the API entry CenterCrop.
    """
    view = _view(view, width)
    height, width = _fitting("center_crop", view, crop_size)
    return _crop(view, (view.size[1] - width) // 2, (view.size[0] - height) // 2, height, width)


def three_crop(view, width=None, *, crop_size) -> list[View]:
    """Three crops along one side: both ends, then the middle (left, right, middle, or top, bottom, middle).

    >>> [view.box for view in three_crop(240, 320, crop_size=240)]
    [(0.0, 0.0, 240.0, 240.0), (80.0, 0.0, 320.0, 240.0), (40.0, 0.0, 280.0, 240.0)]

    Args:
      view, width: a `View`, or the height and width of the frame.
      crop_size: side of a square, or height, width; one of them must equal the picture's.

    Raises:
      ValueError: the crop does not fit, or no side equals the picture's. Source: the API entry ThreeCrop.
    """
    view = _view(view, width)
    height, width = _fitting("three_crop", view, crop_size)
    if height == view.size[0]:
        step = (view.size[1] - width) // 2
        return [_crop(view, x, 0, height, width) for x in (0, 2 * step, step)]
    if width == view.size[1]:
        step = (view.size[0] - height) // 2
        return [_crop(view, 0, y, height, width) for y in (0, 2 * step, step)]
    raise ValueError(
        f"three_crop: crop {height}x{width} of {view.size[0]}x{view.size[1]}; one side must be the same; resize first"
    )


def ten_crop(view, width=None, *, crop_size) -> list[View]:
    """The four corners and the centre, each followed by its left-right mirror image.

    >>> [view.flip for view in ten_crop(240, 320, crop_size=224)][:4]
    [False, True, False, True]

    Args:
      view, width: a `View`, or the height and width of the frame.
      crop_size: side of a square, or height, width.

    Raises:
      ValueError: the crop does not fit (MMAction2 returns nonsense). Source: the API entry TenCrop. Offsets are
        multiples of a quarter of the free room, rounded down: the far corners end up to 3 pixels short of the border.
    """
    view = _view(view, width)
    height, width = _fitting("ten_crop", view, crop_size)
    step_x, step_y = (view.size[1] - width) // 4, (view.size[0] - height) // 4
    crops = [_crop(view, column * step_x, row * step_y, height, width) for column, row in _FIXED_PLACES[:5]]
    return [each for crop in crops for each in (crop, _mirror(crop, flip=True))]


def random_crop(view, width=None, *, size: int, u) -> View:
    """A square at a random place.

    >>> view = random_crop(240, 320, size=224, u=np.array([0.5, 0.0]))
    >>> [int(edge) for edge in view.box]
    [48, 0, 272, 224]

    Args:
      view, width: a `View`, or the height and width of the frame.
      size: side of the square.
      u: draws [2]: column, row.

    Raises:
      TypeError: `size` is not a whole number. ValueError: the square does not fit, or draws that are not [2].

    Source: the API entry RandomCrop. Kept from MMAction2: if there is room, the square never touches the right or the
    lower border (its left column is one of 0 .. width - size - 1); `multi_group_crop` draws every place.
    """
    view = _view(view, width)
    if not isinstance(size, (int, np.integer)):
        raise TypeError(f"random_crop: size={size!r}; expected a whole number, the side of a square")
    _fitting("random_crop", view, size)
    check_draws("random_crop", (2,), u=u)
    height, width = view.size
    return _crop(view, below(max(width - size, 1), u[0]), below(max(height - size, 1), u[1]), size, size)


def multi_group_crop(view, width=None, *, crop_size, groups: int, u) -> list[View]:
    """Crops of one size at `groups` random places, every place equally likely.

    >>> views = multi_group_crop(240, 320, crop_size=224, groups=2, u=np.array([[0.0, 0.0], [0.5, 0.5]]))
    >>> [[int(edge) for edge in view.box] for view in views]
    [[0, 0, 224, 224], [48, 8, 272, 232]]

    Args:
      view, width: a `View`, or the height and width of the frame.
      crop_size: side of a square, or height, width.
      groups: number of crops.
      u: draws [groups, 2]: column, row.

    Raises:
      TypeError: `groups` or `crop_size` is not of whole numbers. ValueError: `groups` below 1, the crop does not fit,
        or draws of the wrong shape. Source: the API entry MultiGroupCrop.
    """
    view = _view(view, width)
    if not isinstance(groups, (int, np.integer)):
        raise TypeError(f"multi_group_crop: groups={groups!r}; expected a whole number")
    if groups < 1:
        raise ValueError(f"multi_group_crop: groups={groups}; must be at least 1")
    height, width = _fitting("multi_group_crop", view, crop_size)
    check_draws("multi_group_crop", (groups, 2), u=u)
    xs, ys = below(view.size[1] - width + 1, u[:, 0]), below(view.size[0] - height + 1, u[:, 1])
    return [_crop(view, xs[k], ys[k], height, width) for k in range(groups)]


def random_resized_crop(view, width=None, *, u, area_range=(0.08, 1.0), aspect_ratio_range=(3 / 4, 4 / 3)) -> View:
    """A crop of random area and aspect ratio at a random place; `resize` it to the network's input afterwards.

    >>> view = random_resized_crop(240, 320, u=np.full(22, 0.5))
    >>> [int(edge) for edge in view.box]
    [58, 18, 262, 222]

    Args:
      view, width: a `View`, or the height and width of the frame.
      u: draws [22]: ten areas, ten aspect ratios (log-uniform), column, row. The first of the ten pairs that fits is
        used; if none does, the centred square of the short side.
      area_range: minimum and maximum area, as fractions of the picture's.
      aspect_ratio_range: minimum and maximum width / height.

    Raises:
      ValueError: ranges that are not `0 < a <= b` (`b <= 1` for areas), draws that are not [22].

    Source: the API entry RandomResizedCrop (GoogLeNet, arXiv:1409.4842, section 6). With float32 draws NumPy and jax
    round differently, and a side may differ by one pixel.
    """
    view = _view(view, width)
    check_draws("random_resized_crop", (22,), u=u)
    for name, pair, most in (("area_range", area_range, 1), ("aspect_ratio_range", aspect_ratio_range, math.inf)):
        if len(pair) != 2 or not 0 < pair[0] <= pair[1] <= most:
            raise ValueError(f"random_resized_crop: {name}={pair}; expected two numbers, 0 < a <= b <= {most}")
    xp = u.__array_namespace__()
    low, high = (math.log(ratio) for ratio in aspect_ratio_range)
    areas = (area_range[0] + u[:10] * (area_range[1] - area_range[0])) * (view.size[0] * view.size[1])
    return fitting_crop(view, areas=areas, aspect_ratios=xp.exp(low + u[10:20] * (high - low)), u=u[20:])


def fitting_crop(view, width=None, *, areas, aspect_ratios, u) -> View:
    """The first pair of area and aspect ratio that fits, or else the centred square of the short side.

    Args:
      view, width: a `View`, or the height and width of the frame.
      areas: [k], in pixels of the picture.
      aspect_ratios: [k], width / height.
      u: draws [2]: column, row.

    Raises:
      ValueError: draws that are not [2]. Source: the arithmetic of the API entry RandomResizedCrop.
    """
    view = _view(view, width)
    height, width = view.size
    check_draws("fitting_crop", (2,), u=u)
    xp = areas.__array_namespace__()
    widths, heights = xp.round(xp.sqrt(areas * aspect_ratios)), xp.round(xp.sqrt(areas / aspect_ratios))
    fits = (widths <= width) & (heights <= height) & (xp.minimum(widths, heights) >= 1)
    first, found, side = xp.argmax(fits), xp.any(fits), min(height, width)
    crop_width, crop_height = (xp.where(found, sides[first], side) for sides in (widths, heights))
    x = xp.where(found, below(width - crop_width + 1, u[0]), (width - side) // 2)
    y = xp.where(found, below(height - crop_height + 1, u[1]), (height - side) // 2)
    # [()]: `where` gives 0-d arrays; a View holds numbers.
    return _crop(view, x[()], y[()], crop_height.astype(int)[()], crop_width.astype(int)[()])


def crop(view, width=None, *, box) -> View:
    """The part `box` of the picture: x0, y0, x1, y1 in whole pixels, right and bottom exclusive.

    >>> crop(resize(240, 320, scale=(-1, 120)), box=(10, 0, 110, 100)).box  # in pixels of the frame
    (20.0, 0.0, 220.0, 200.0)

    Raises:
      TypeError: edges that are not whole numbers. ValueError: a box that is empty or leaves the picture.
    """
    view = _view(view, width)
    if len(box) != 4 or not all(isinstance(edge, (int, np.integer)) for edge in box):
        raise TypeError(f"crop: box={box!r}; expected four whole numbers x0, y0, x1, y1")
    x0, y0, x1, y1 = box
    if not (0 <= x0 < x1 <= view.size[1] and 0 <= y0 < y1 <= view.size[0]):
        raise ValueError(f"crop: box={tuple(box)} does not lie in a picture of {view.size[0]}x{view.size[1]}")
    return _crop(view, x0, y0, y1 - y0, x1 - x0)


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
    """A crop of random size at a random place; `resize` it to the network's input afterwards.

    >>> view = multi_scale_crop(240, 320, input_size=224, scales=(1.0, 0.75), u=np.array([0.9, 0.9, 0.0]))
    >>> [int(edge) for edge in view.box]
    [70, 30, 250, 210]

    Args:
      view, width: a `View`, or the height and width of the frame.
      input_size: the network's input, side of a square or height, width; a crop side within 3 pixels of it snaps to it.
      u: draws [3]: the pair of scales, the place (or, with `random_crop`, the column), the row (`random_crop` only).
      scales: fractions of the short side. All pairs whose positions in this list differ by at most
        `max_wh_scale_gap` are candidates, each equally likely.
      random_crop: any place; otherwise one of `num_fixed_crops` (5 or 13) fixed places.

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
    sizes = _crop_sizes(height, width, _pair("multi_scale_crop: input_size", input_size), scales, max_wh_scale_gap)
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


def flip(view, width=None, *, u, flip_ratio: float = 0.5, direction: str = "horizontal") -> View:
    """Mirrors the picture if the draw is below `flip_ratio`.

    >>> flip(240, 320, u=0.3).flip, flip(240, 320, u=0.7).flip
    (True, False)

    Args:
      view, width: a `View`, or the height and width of the frame.
      u: one draw, a scalar.
      flip_ratio: the probability of mirroring.
      direction: "horizontal" (left-right) or "vertical" (upside down).

    Raises:
      ValueError: `flip_ratio` outside [0, 1], an unknown direction. Source: the API entry Flip.
    """
    view = _view(view, width)
    if not 0 <= flip_ratio <= 1:
        raise ValueError(f"flip: flip_ratio={flip_ratio}; must be in [0, 1]")
    if direction not in DIRECTIONS:
        raise ValueError(f"flip: direction={direction!r}; choose from {DIRECTIONS}")
    fires = u < flip_ratio
    return _mirror(view, flip=fires) if direction == "horizontal" else _mirror(view, flip_vertical=fires)


def scale_factor(view: View) -> np.ndarray:
    """Pixels of the picture per pixel of the frame, along x and y -> float32 [2].

    Flow is measured in pixels: after a resize it must be multiplied by this factor (`mmaction2.normalize`).

    >>> scale_factor(resize(240, 320, scale=(-1, 120))).tolist()
    [0.5, 0.5]

    Source: `scale_factor`, which MMAction2's Resize writes.
    """
    x0, y0, x1, y1 = view.box
    return np.array([view.size[1] / (x1 - x0), view.size[0] / (y1 - y0)], np.float32)


def _view(view, width) -> View:
    if isinstance(view, View) == (width is not None):
        raise TypeError("expected a View, or a height and a width")
    return view if width is None else whole(view, width)


def _crop(view: View, x, y, height, width) -> View:
    """Crops `height` x `width` at `x`, `y` of the picture out of `view`."""
    x0, y0, x1, y1 = view.box
    scale_x, scale_y = (x1 - x0) / view.size[1], (y1 - y0) / view.size[0]
    # In a mirrored picture x counts from the right edge of the box, y from the lower one if it is upside down.
    left = x + view.flip * (view.size[1] - width - 2 * x)
    top = y + view.flip_vertical * (view.size[0] - height - 2 * y)
    left, top = x0 + left * scale_x, y0 + top * scale_y
    box = (left, top, left + width * scale_x, top + height * scale_y)
    step = Step((x, y, x + width, y + height), (height, width))
    return view._replace(box=box, size=(height, width), steps=view.steps + (step,))


def _mirror(view: View, *, flip=False, flip_vertical=False) -> View:
    step = Step((0, 0, view.size[1], view.size[0]), view.size, flip, flip_vertical)
    flips = dict(flip=view.flip ^ flip, flip_vertical=view.flip_vertical ^ flip_vertical)
    return view._replace(**flips, steps=view.steps + (step,))


def _fitting(function: str, view: View, crop_size) -> tuple[int, int]:
    height, width = _pair(f"{function}: crop_size", crop_size)
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
