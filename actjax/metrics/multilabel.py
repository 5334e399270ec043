"""Mean average precision of multi-label recognition, in its two meanings. Shapes: n videos, k classes."""

import numpy as np

from actjax.errors import ShapeError


def sample_mean_average_precision(scores, labels) -> float:
    """Mean over videos: each video's classes ranked by its scores.

    Args:
      scores: n arrays [k].
      labels: n arrays [k], many-hot: positive where the value equals 1.

    Raises:
      ShapeError: an item that is no array, that has no class, or whose scores and labels differ in shape; fewer labels.

    The average precision of a ranking is the sum over its distinct scores, from the highest, of (gain in recall) x
    precision; NaN ranks first. As in the reference, a video without a positive makes the mean NaN, and no video at all
    is NaN. Source: the API entry mean_average_precision of release 0.6, called mmit_mean_average_precision since.
    """
    scores, labels = _items(scores, labels)
    if not scores:
        return float("nan")
    if len({row.shape for row in scores}) == 1:
        return _mean(average_precision(np.array(scores), np.array(labels) == 1))
    return _mean(
        np.concatenate([average_precision(s[None], y[None] == 1) for s, y in zip(scores, labels, strict=True)])
    )


def class_mean_average_precision(scores, labels) -> float:
    """Mean over classes: each class's videos ranked by their scores for it; classes without a positive are left out.

    Arguments, errors and average precision as in `sample_mean_average_precision`; all items need the same k. NaN when
    no class has a positive. This is what papers report for multi-label sets, and mean_average_precision of MMAction2
    since 0.7.
    """
    scores, labels = _items(scores, labels)
    if len({row.shape for row in scores}) > 1:
        raise ShapeError(f"mean average precision over classes: items differ: {sorted({r.shape for r in scores})}")
    if not scores:
        return float("nan")
    precisions = average_precision(np.array(scores).T, np.array(labels).T == 1)
    return _mean(precisions[~np.isnan(precisions)])


mean_average_precision = sample_mean_average_precision  # the name of the API reference, release 0.6


def average_precision(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Average precision of each row [r, c] -> float64 [r]; NaN for a row without a positive."""
    order = np.argsort(scores, axis=1)[:, ::-1]
    hits = np.take_along_axis(positive, order, axis=1)
    row, at = np.nonzero(hits)
    place = np.arange(scores.shape[1])
    below = np.minimum(at + 1, place[-1])
    if ((at < below) & (scores[row, order[row, at]] == scores[row, order[row, below]])).any():
        # A threshold lies behind the last of equal scores.
        ranked = np.take_along_axis(scores, order, axis=1)
        ends = np.pad(ranked[:, 1:] != ranked[:, :-1], ((0, 0), (0, 1)), constant_values=True)
        last = np.where(ends, place, len(place))
        at = np.minimum.accumulate(last[:, ::-1], axis=1)[:, ::-1][row, at]
    precision = np.cumsum(hits, axis=1)[row, at] / (at + 1)
    with np.errstate(invalid="ignore"):
        return np.bincount(row, precision, minlength=len(hits)) / np.count_nonzero(hits, axis=1)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _items(scores, labels) -> tuple[list[np.ndarray], list[np.ndarray]]:
    if len(scores) != len(labels):
        raise ShapeError(f"mean average precision: {len(scores)} items of scores, {len(labels)} of labels")
    for i, (s, y) in enumerate(zip(scores, labels, strict=True)):
        shapes = [getattr(value, "shape", type(value).__name__) for value in (s, y)]
        if shapes[0] != shapes[1] or not isinstance(s, np.ndarray) or s.ndim != 1 or not s.size:
            raise ShapeError(f"mean average precision: item {i} has scores {shapes[0]} and labels {shapes[1]}; "
                             "expected two arrays [k]")  # fmt: skip
    return list(scores), list(labels)
