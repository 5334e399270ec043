"""Temporal segments [n, 2] with columns start and end, in any one unit: overlap, ordering, validation.

The element-wise functions use array-API operations only and run on NumPy and under `jax.jit`. Like MMAction2 0.6, they
do not check segments: `end < start` gives meaningless numbers. `check_segments` validates input.
"""

import numbers
from collections.abc import Callable

import numpy as np

from actjax.errors import NumberError, ShapeError, shown

_ROW = "row {}".format


def intersection(start, end, other_start, other_end):
    """Length of the intersection, at least 0; broadcasts."""
    xp = namespace(start, end, other_start, other_end)
    return xp.maximum(xp.minimum(end, other_end) - xp.maximum(start, other_start), 0)


def temporal_iou(proposal_min, proposal_max, gt_min, gt_max):
    """Intersection over union, element by element with broadcasting -> floats; integers become float64.

    >>> temporal_iou(0, 8, [0, 4], [10, 12]).round(3).tolist()
    [0.8, 0.333]

    Args:
      proposal_min, proposal_max, gt_min, gt_max: starts and ends, numbers, lists or arrays.

    Two segments of zero length give NaN (0 / 0); one gives 0. Source: MMAction2's temporal_iou. Fixed: lists, which
    fail there, are accepted.
    """
    xp, (start, end, other_start, other_end) = _arrays(proposal_min, proposal_max, gt_min, gt_max)
    common = intersection(start, end, other_start, other_end)
    with np.errstate(invalid="ignore", divide="ignore"):
        return common / ((other_end - other_start) + (end - start) - common)


def temporal_iop(proposal_min, proposal_max, gt_min, gt_max):
    """Intersection over the proposal's own length, element by element with broadcasting -> floats.

    >>> temporal_iop(0, 8, [0, 4], [10, 12]).tolist()
    [1.0, 0.5]

    Arguments as in `temporal_iou`. A proposal of zero length gives NaN. Source: MMAction2's temporal_iop.
    """
    xp, (start, end, other_start, other_end) = _arrays(proposal_min, proposal_max, gt_min, gt_max)
    with np.errstate(invalid="ignore", divide="ignore"):
        return intersection(start, end, other_start, other_end) / (end - start)


def pairs(segments, others) -> tuple:
    """Arguments for the functions above that compare every segment [..., n, 2] with every other [..., m, 2]."""
    return segments[..., :, None, 0], segments[..., :, None, 1], others[..., None, :, 0], others[..., None, :, 1]


def ranges(first, last) -> tuple[np.ndarray, np.ndarray]:
    """Every pair (i, j) with first[i] <= j < last[i], in that order -> two int64 [pairs]."""
    counts = np.maximum(last - first, 0)
    i = np.repeat(np.arange(len(counts)), counts)
    before = np.cumsum(counts) - counts
    return i, np.arange(len(i)) + (first - before)[i]


def equal_pairs(keys, others) -> tuple[np.ndarray, np.ndarray]:
    """Every pair (i, j) with keys[i] == others[j], by i, then by j -> two int64 [pairs]."""
    order = np.argsort(others, kind="stable")
    i, j = ranges(np.searchsorted(others[order], keys), np.searchsorted(others[order], keys, side="right"))
    return i, order[j]


def best_first(scores, *, group=None) -> np.ndarray:
    """Indices that sort scores [n] in descending order -> int64 [n]; of equal scores the later first, NaN before all.

    With `group`, int [n]: by ascending group, then in this order within each.
    """
    return np.lexsort((scores,) if group is None else (scores, -group))[::-1]


def check_segments(
    name: str, segments, *, columns: int = 2, where: Callable[[int], str] = _ROW, text: bool = True
) -> np.ndarray:
    """Checks start and end -> the first columns of `segments`, float64 [n, columns]. Shape (0,) counts as no rows.

    Args:
      name: what the segments are, for errors. where: (row) -> what errors call it.
      text: numbers may be given as text, as MMAction2 allows.

    Raises:
      TypeError: values that are not numbers. ShapeError: other shapes, fewer columns. ValueError: NaN, inf, an end
        before its start. All name the row.
    """
    segments = check_columns(name, segments, columns=columns, where=where, text=text)
    if not np.isfinite(segments[:, :2]).all():
        row = int(np.argmin(np.isfinite(segments[:, :2]).all(1)))
        raise ValueError(f"{name}: {where(row)} is {segments[row].tolist()}; start and end must be finite numbers")
    if (segments[:, 1] < segments[:, 0]).any():
        row = int(np.argmax(segments[:, 1] < segments[:, 0]))
        raise ValueError(f"{name}: {where(row)} is {segments[row].tolist()}; its end is before its start")
    return segments


def check_scores(name: str, scores, *, where: Callable[[int], str] = _ROW, text: bool = True) -> np.ndarray:
    """`scores` as float64 [n]. TypeError: not a number. ValueError: NaN or infinite. Both name the row."""
    scores = check_columns(name, [[score] for score in scores], columns=1, where=where, text=text)[:, 0]
    if not np.isfinite(scores).all():
        row = int(np.argmin(np.isfinite(scores)))
        raise ValueError(
            f"{name}: the score of {where(row)} is {shown(scores[row].item())}; it must be a finite number"
        )
    return scores


def check_array(name: str, rows, *, columns: int) -> None:
    """TypeError unless `rows` is a NumPy array, ShapeError unless [n, columns or more]; values are not checked."""
    if not isinstance(rows, np.ndarray):
        raise TypeError(f"{name} is a {type(rows).__name__}; expected an array [n, {columns} or more]")
    if rows.ndim != 2 or rows.shape[1] < columns:
        raise ShapeError(f"{name} has shape {rows.shape}; expected [n, {columns} or more]")


def check_columns(
    name: str, rows, *, columns: int, where: Callable[[int], str] = _ROW, text: bool = True
) -> np.ndarray:
    """The first columns of `rows` as float64 [n, columns]; errors as in `check_segments`, but any number is valid."""
    try:
        array = np.asarray(rows)
    except (ValueError, OverflowError) as error:
        raise ShapeError(f"{name}: rows differ in length; expected {columns} or more columns") from error
    if array.shape == (0,):
        return np.zeros((0, columns))
    if array.ndim != 2 or array.shape[1] < columns:
        raise ShapeError(f"{name} has shape {array.shape}; expected [n, {columns} or more columns]")
    sure = isinstance(rows, np.ndarray) and array.dtype.kind in "iuf"
    if not sure and not (text and array.dtype.kind in "iufUS"):
        for k, row in enumerate(rows):
            for value in row[:columns]:
                if type(value) not in (float, int) and (isinstance(value, bool) or not isinstance(value, numbers.Real)):
                    raise NumberError(f"{name}: {where(k)}: expected numbers, got {shown([*row][:columns])}")
    try:
        return array[:, :columns].astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise NumberError(f"{name}: expected numbers, got {shown(array[:, :columns].tolist())}") from error


def namespace(*values):
    """The array module of the first array among `values`; NumPy for lists and numbers."""
    return next((v.__array_namespace__() for v in values if hasattr(v, "__array_namespace__")), np)


def _arrays(*values):
    xp = namespace(*values)
    return xp, [xp.asarray(v) for v in values]
