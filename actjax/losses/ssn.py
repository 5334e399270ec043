"""Losses of SSN, on NumPy arrays and under `jax.jit`. Shapes: b videos, p proposals of each, k classes.

Labels count from 1; 0 is background. Types: 0 positive, 1 incomplete, 2 background. All videos have the same number of
proposals of each type. Source: Zhao et al., arXiv:1704.06228, section 4; SSNLoss of MMAction2 0.6.
"""

import math

POSITIVE, INCOMPLETE, BACKGROUND = range(3)


def ohem_hinge_loss(scores, labels, *, is_positive: int, ohem_ratio: float, group_size: int):
    """Sum of the hardest hinge losses in every group -> [n / group_size].

    Args:
      scores: logits [n, k]. labels: int [n], from 1.
      is_positive: 1: logits should be above 1; -1: below -1.
      ohem_ratio: share of a group that counts; the number is rounded down, with a tolerance of 1e-6.
      group_size: consecutive rows that form a group.

    Raises:
      ValueError: the number of labels is not n, or n is not a multiple of `group_size`.

    Source: OHEMHingeLoss of MMAction2. Fixed: a ratio of 1 / 49 in groups of 49 keeps one row, not none.
    """
    if len(scores) != len(labels) or len(scores) % group_size:
        raise ValueError(f"ohem_hinge_loss: {len(scores)} scores, {len(labels)} labels in groups of {group_size}")
    losses = _hinge(_of_label(scores, labels), is_positive).reshape(-1, group_size)
    return _hardest(losses, math.floor(group_size * ohem_ratio + 1e-6))


def activity_loss(activity, labels, types):
    """Cross-entropy averaged over positive and background proposals -> [b].

    Args:
      activity: logits [b, p, k + 1]. labels, types: int [b, p].
    """
    counted = types != INCOMPLETE
    xp = activity.__array_namespace__()
    shifted = activity - xp.max(activity, axis=-1, keepdims=True)
    losses = xp.log(xp.sum(xp.exp(shifted), axis=-1)) - _at(shifted, labels)
    return _mean(losses, counted)


def completeness_loss(completeness, labels, types, *, num_hard: int):
    """Hinge loss averaged over positive proposals and the hardest incomplete ones -> [b].

    Args:
      completeness: [b, p, k]. labels, types: int [b, p].
      num_hard: number of incomplete proposals per video to use.
    """
    xp = completeness.__array_namespace__()
    own, positive = _of_label(completeness, labels), types == POSITIVE
    easy = xp.sum(xp.where(positive, _hinge(own, 1), 0), axis=1)
    hard = _hardest(xp.where(types == INCOMPLETE, _hinge(own, -1), 0), num_hard)
    return (easy + hard) / xp.maximum(xp.sum(positive, axis=1) + num_hard, 1)


def boundary_regression_loss(regression, labels, types, targets):
    """Smooth L1 loss of shift plus that of stretch, averaged over positive proposals -> [b].

    Args:
      regression: [b, p, k, 2]. labels, types: int [b, p]. targets: [b, p, 2].
    """
    xp = regression.__array_namespace__()
    index = xp.maximum(labels - 1, 0)[..., None, None]
    error = xp.abs(xp.take_along_axis(regression, index, axis=2)[:, :, 0] - targets)
    losses = xp.sum(xp.where(error < 1, 0.5 * error**2, error - 0.5), axis=-1)
    return _mean(losses, types == POSITIVE)


def _mean(losses, counted):
    """Mean over the counted entries of every row; 0 if there are none."""
    xp = losses.__array_namespace__()
    return xp.sum(xp.where(counted, losses, 0), axis=1) / xp.maximum(xp.sum(counted, axis=1), 1)


def _hinge(scores, sign: int):
    margin = 1 - sign * scores
    return margin.__array_namespace__().where(margin > 0, margin, 0)


def _hardest(losses, number: int):
    """Sum of the `number` largest losses in every row."""
    xp = losses.__array_namespace__()
    return xp.sum(xp.sort(losses, axis=-1)[..., losses.shape[-1] - number :], axis=-1)


def _of_label(scores, labels):
    """The logit of every row's own class; for background rows that of the first class."""
    return _at(scores, scores.__array_namespace__().maximum(labels - 1, 0))


def _at(scores, index):
    return scores.__array_namespace__().take_along_axis(scores, index[..., None], axis=-1)[..., 0]
