"""Mean average precision of multi-label recognition, over videos or over classes. Shapes: n videos, k classes."""

import numpy as np

from actjax.errors import ShapeError


def sample_mean_average_precision(scores, labels) -> float:
    """Mean over videos: ranks the classes of each video by score.

    >>> scores, labels = np.array([[0.9, 0.2, 0.5]]), np.array([[1, 1, 0]])
    >>> round(sample_mean_average_precision(scores, labels), 3)
    0.833

    Args:
      scores: n arrays [k].
      labels: n arrays [k], multi-hot: positive where the value equals 1.

    Raises:
      ShapeError: an item is not an array, has no class, or its scores and labels differ in shape; lengths differ.

    The average precision of a ranking is the sum over its distinct scores, from the highest, of (gain in recall) x
    precision; NaN ranks first. Kept from MMAction2 0.6: the mean is NaN if a video has no positive or there are no
    videos. Source: MMAction2's mean_average_precision, called mmit_mean_average_precision since 0.7.
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
    """Mean over classes: ranks the videos by their score for each class; classes without a positive are left out.

    >>> scores, labels = np.array([[0.9, 0.2], [0.6, 0.7]]), np.array([[0, 0], [1, 1]])
    >>> class_mean_average_precision(scores, labels)
    0.75

    Arguments, errors and average precision as in `sample_mean_average_precision`; all items need the same k. NaN if no
    class has a positive. Papers report this for multi-label data sets; it is MMAction2's mean_average_precision since
    0.7.
    """
    scores, labels = _items(scores, labels)
    if len({row.shape for row in scores}) > 1:
        raise ShapeError(f"mean average precision over classes: shapes differ: {sorted({r.shape for r in scores})}")
    if not scores:
        return float("nan")
    precisions = average_precision(np.array(scores).T, np.array(labels).T == 1)
    return _mean(precisions[~np.isnan(precisions)])


mean_average_precision = sample_mean_average_precision  # the name in MMAction2 0.6


def average_precision(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Average precision of each row [r, c] -> float64 [r]; NaN for a row without a positive."""
    order = np.argsort(scores, axis=1)[:, ::-1]
    hits = np.take_along_axis(positive, order, axis=1)
    row, at = np.nonzero(hits)
    place = np.arange(scores.shape[1])
    below = np.minimum(at + 1, place[-1])
    if ((at < below) & (scores[row, order[row, at]] == scores[row, order[row, below]])).any():
        # Equal scores share one threshold: count up to the last of them.
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
