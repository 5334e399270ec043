"""Metrics of action recognition. Shapes: n videos, k classes."""

import numpy as np

from actjax.errors import ShapeError

NORMALIZATIONS = ("true", "pred", "all", None)


def softmax(x, axis: int = 1) -> np.ndarray:
    """Softmax along `axis` -> same shape and dtype; integers become float64. Source: softmax of MMAction2 0.6.

    A slice becomes NaN if it has NaN or +inf, or only -inf.

    >>> softmax([[0.0, 0.0], [1.0, 3.0]]).round(2).tolist()
    [[0.5, 0.5], [0.12, 0.88]]

    Raises:
      AxisError: `x` has no such axis. ShapeError: the axis has length 0.
    """
    x = np.asarray(x)
    if not -x.ndim <= axis < x.ndim:
        raise np.exceptions.AxisError(f"softmax: axis={axis} for an array of shape {x.shape}")
    if not x.shape[axis]:
        raise ShapeError(f"softmax: an array of shape {x.shape} is empty along axis {axis}")
    with np.errstate(invalid="ignore"):
        exponentials = np.exp(x - x.max(axis=axis, keepdims=True))
        return exponentials / exponentials.sum(axis=axis, keepdims=True)


def top_k_accuracy(scores, labels, topk=(1,)) -> list[float]:
    """Share of videos whose label is among their k best scores -> one float per k in `topk`.

    >>> top_k_accuracy([[0.7, 0.2, 0.1], [0.1, 0.5, 0.4]], labels=[0, 2], topk=(1, 2))
    [0.5, 1.0]

    Args:
      scores: [n, k], an array or a list of rows.
      labels: [n] class numbers; one that is not a whole number of 0..k-1 never hits.
      topk: the values of k; larger ones than the number of classes take all classes.

    Raises:
      TypeError: `topk` is a number. AxisError: scores are not 2-d. ValueError: neither n labels nor one.

    Ties: the higher class number wins; NaN ranks first. No rows: NaN. Kept from MMAction2: k = 0 takes all classes and
    k = -j all but the j lowest. Source: MMAction2's top_k_accuracy.
    """
    if isinstance(topk, (int, np.integer)):
        raise TypeError(f"top_k_accuracy: topk={topk}; expected a tuple such as (1, 5)")
    scores, labels = _rows("top_k_accuracy", scores), np.asarray(labels).reshape(-1)
    if len(labels) not in (len(scores), 1):
        raise ValueError(f"top_k_accuracy: {len(labels)} labels for {len(scores)} rows of scores")
    if not len(scores):
        return [float("nan")] * len(topk)
    rank = _rank(scores, np.broadcast_to(labels, len(scores)))
    return [float((rank < (k if k > 0 else scores.shape[1] + k)).mean()) for k in topk]


def _rank(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Number of classes that rank before the label in each row -> int64 [n]; beyond any k if it is not a class.

    Counting takes one pass over the scores; sorting, as in MMAction2, takes many.
    """
    k = scores.shape[1]
    known = np.isin(labels, np.arange(k))
    column = np.where(known, labels, 0).astype(np.int64)[:, None]
    own = np.take_along_axis(scores, column, axis=1)
    above, level = scores > own, scores == own
    if (missing := np.isnan(scores)).any():
        above, level = above | missing & ~np.isnan(own), level | missing & np.isnan(own)
    rank = np.count_nonzero(above, axis=1) + np.count_nonzero(level & (np.arange(k) > column), axis=1)
    return np.where(known, rank, np.iinfo(np.int64).max)


def confusion_matrix(y_pred, y_real, normalize=None) -> np.ndarray:
    """Counts by real label (rows) and prediction (columns), over the sorted labels that occur -> int64 or float64.

    >>> confusion_matrix([0, 1, 1], [0, 0, 1]).tolist()
    [[1, 1], [0, 1]]

    Args:
      y_pred, y_real: [n] integers, predictions first.
      normalize: "true" divides by row sums, "pred" by column sums, "all" by the total; 0 / 0 is 0. None: counts.

    Raises:
      ValueError: an unknown `normalize`, or lengths that differ (MMAction2 drops the surplus).
      TypeError: labels that are not a list or array of int64 or int32.

    Source: MMAction2's confusion_matrix.
    """
    if normalize not in NORMALIZATIONS:
        raise ValueError(f"confusion_matrix: normalize={normalize!r}; choose from {NORMALIZATIONS}")
    y_pred, y_real = _labels("y_pred", y_pred), _labels("y_real", y_real)
    if len(y_pred) != len(y_real):
        raise ValueError(f"confusion_matrix: {len(y_pred)} predictions for {len(y_real)} labels")
    names, numbers = np.unique(np.concatenate([y_real, y_pred]), return_inverse=True)
    cells = numbers[: len(y_real)] * len(names) + numbers[len(y_real) :]
    matrix = np.bincount(cells, minlength=len(names) ** 2).reshape(len(names), len(names))
    if normalize is None:
        return matrix
    total = matrix.sum(axis={"true": 1, "pred": 0, "all": None}[normalize], keepdims=True)
    return np.divide(matrix, total, out=np.zeros(matrix.shape), where=total != 0)


def mean_class_accuracy(scores, labels) -> float:
    """Mean over classes of the share of each class's videos that are classified correctly.

    >>> mean_class_accuracy([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]], labels=[0, 1, 1])
    0.75

    Args:
      scores: [n, k]; the class with the highest score is the prediction, the lowest class number wins ties.
      labels: [n] integers.

    A class that is predicted but never real counts as 0 (kept from MMAction2); one that is neither is left out.
    No rows: NaN. Errors as in `confusion_matrix`. Source: MMAction2's mean_class_accuracy.
    """
    scores, labels = _rows("mean_class_accuracy", scores), _labels("labels", labels)
    if not len(scores):
        return float("nan")
    matrix = confusion_matrix(np.argmax(scores, axis=1), labels, normalize="true")
    return float(np.diag(matrix).mean())


def get_weighted_score(score_list, coeff_list) -> list[np.ndarray]:
    """Fuses the scores of several models: sum of coefficient x score, not normalised -> n arrays [k].

    >>> rgb, flow = [[0.6, 0.4]], [[0.2, 0.8]]
    >>> [row.tolist() for row in get_weighted_score([rgb, flow], [1, 0.5])]
    [[0.7, 0.8]]

    Args:
      score_list: for each model the scores of n videos, [n, k] or a list of [k].
      coeff_list: one number per model.

    Raises:
      ShapeError: no model; numbers of coefficients, videos or classes that differ.

    Source: MMAction2's get_weighted_score.
    """
    if not len(score_list) or len(score_list) != len(coeff_list):
        raise ShapeError(f"get_weighted_score: {len(score_list)} models with {len(coeff_list)} coefficients")
    models = [[np.asarray(row) for row in scores] for scores in score_list]
    shapes = [{row.shape for row in rows} for rows in models]
    if len({len(rows) for rows in models}) != 1 or len(set.union(*shapes)) > 1:
        counts = [f"{len(rows)} videos {sorted(shape)}" for rows, shape in zip(models, shapes, strict=True)]
        raise ShapeError(f"get_weighted_score: the models differ: {'; '.join(counts)}")
    weighted = [np.stack(rows) * np.asarray(coeff) for rows, coeff in zip(models, coeff_list, strict=True) if rows]
    return list(sum(weighted[1:], weighted[0])) if weighted else []


def _rows(function: str, scores) -> np.ndarray:
    scores = np.asarray(scores)
    if scores.ndim != 2:
        raise np.exceptions.AxisError(f"{function}: scores have shape {scores.shape}; expected [n, k]")
    return scores


def _labels(name: str, labels) -> np.ndarray:
    if isinstance(labels, list):
        labels = np.array(labels)
    if not isinstance(labels, np.ndarray) or labels.dtype not in (np.int64, np.int32):
        kind = labels.dtype if isinstance(labels, np.ndarray) else type(labels).__name__
        raise TypeError(f"{name} is {kind}; expected a list or array of int64")
    return labels.reshape(-1)
