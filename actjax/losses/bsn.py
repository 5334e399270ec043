"""Losses of BSN, on NumPy arrays and under `jax.jit`; BMN shares `binary_logistic_regression`.

Each returns [b], whose mean is the batch loss. Weights depend on counts over the whole batch.
Shapes: b videos, p proposals.
"""


def binary_logistic_regression(
    probabilities, labels, *, threshold: float = 0.5, ratio_range: tuple[float, float] = (1.05, 21.0), eps: float = 1e-5
):
    """Cross-entropy with balanced weights of positives and negatives -> [b].

    Args:
      probabilities: [b, ...] in [0, 1]. labels: same shape; positive above `threshold`.
      ratio_range: bounds of r = entries / positives; positives weigh r / 2, negatives r / (2 (r - 1)).
      eps: added to the arguments of the logarithms.

    Source: BinaryLogisticRegressionLoss of MMAction2 0.6; Lin et al. 2018, equation 2.
    """
    xp = labels.__array_namespace__()
    positive = labels > threshold
    everywhere = xp.ones_like(positive)
    return balanced(probabilities, positive, everywhere, labels.size, ratio_range=ratio_range, eps=eps)


def balanced(probabilities, positive, counted, number, *, ratio_range, eps):
    """Per-example sum over the `counted` entries, times b / `number`, so that the mean over examples is the loss."""
    xp = probabilities.__array_namespace__()
    axes = tuple(range(1, probabilities.ndim))
    ratio = xp.clip(number / xp.maximum(xp.sum(positive), 1), *ratio_range)
    weighted = xp.where(
        positive,
        0.5 * ratio * xp.log(probabilities + eps),
        0.5 * ratio / (ratio - 1) * xp.log(1 - probabilities + eps),
    )
    return -xp.sum(xp.where(counted, weighted, 0), axis=axes) * (len(probabilities) / number)


def proposal_regression(
    scores,
    ious,
    mask,
    *,
    u=None,
    high: float = 0.6,
    low: float = 0.2,
    medium_ratio: float = 1.0,
    low_ratio: float = 2.0,
):
    """Smooth L1 loss between scores and the proposals' best IoU, averaged over the batch's proposals -> [b].

    Args:
      scores, ious: [b, p]. mask: bool [b, p], False where a proposal is padding.
      u: None, or draws [b, p] that sample proposals: all above `high`, on average at most `medium_ratio` times as many
        in (low, high], and at most `low_ratio` times as many up to `low`.
      high, low, medium_ratio, low_ratio: see `u`; ignored without it.

    Source: PEM of MMAction2 0.6, where sampling has no effect: its loss is the plain mean (and NaN without a proposal
    above `high`). The paper samples, as with `u` (Lin et al. 2018, equation 5).
    """
    xp = scores.__array_namespace__()
    error = xp.abs(scores - ious)
    losses = xp.where(error < 1, 0.5 * error**2, error - 0.5)
    weights = xp.astype(mask, scores.dtype)
    if u is not None:
        highs, lows = mask & (ious > high), mask & (ious <= low)
        mediums, number = mask & ~highs & ~lows, xp.sum(mask & (ious > high))
        chance = lambda group, ratio: ratio * number / xp.maximum(xp.sum(group), 1)
        kept = (mediums & (u < chance(mediums, medium_ratio))) | (lows & (u < chance(lows, low_ratio)))
        weights = xp.astype(highs | kept, scores.dtype)
    total = xp.sum(weights)
    return xp.sum(xp.where(weights > 0, losses, 0), axis=1) * len(scores) / xp.where(total > 0, total, 1)
