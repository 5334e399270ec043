"""Losses of temporal localization, on NumPy arrays and under `jax.jit`.

Their weights depend on the counts in a whole batch; what comes out is per example and has the batch's loss as its mean.
Shapes: b videos, d durations, s starts of a boundary-matching map.
"""


def binary_logistic_regression(
    probabilities, labels, *, threshold: float = 0.5, ratio_range: tuple[float, float] = (1.05, 21.0), eps: float = 1e-5
):
    """Cross-entropy in which positives and negatives weigh about the same -> [b].

    Args:
      probabilities: [b, ...] in [0, 1]. labels: the same shape; above `threshold` they are positive.
      ratio_range: bounds of r, the number of all entries over that of positives; positives weigh r / 2, negatives
        r / (2 (r - 1)).
      eps: added to what the logarithm is taken of.

    Source: BinaryLogisticRegressionLoss of the reference; Lin et al. 2018, equation 2.
    """
    xp = labels.__array_namespace__()
    positive = labels > threshold
    everywhere = xp.ones_like(positive)
    return _balanced(probabilities, positive, everywhere, labels.size, ratio_range=ratio_range, eps=eps)


def bmn_classification(confidence, ious, mask, *, threshold: float = 0.9, ratio_range=(1.05, 21.0), eps: float = 1e-5):
    """`binary_logistic_regression` over the cells of a map that lie inside the video -> [b].

    Args:
      confidence: [b, d, s], the classification channel. ious: [b, d, s], 0 outside the video.
      mask: bool [d, s], True inside the video.

    Source: BMNLoss.pem_cls_loss of the reference; Lin et al. 2019, section 3.3.
    """
    xp = ious.__array_namespace__()
    positive = ious > threshold
    # Without a positive the reference counts one more entry than there are.
    number = xp.maximum(xp.sum(positive), 1) + xp.sum(~positive & mask)
    return _balanced(confidence, positive, positive | mask, number, ratio_range=ratio_range, eps=eps)


def _balanced(probabilities, positive, counted, number, *, ratio_range, eps):
    """The sum over `counted` entries by example, divided by `number` and multiplied by that of the examples."""
    xp = probabilities.__array_namespace__()
    axes = tuple(range(1, probabilities.ndim))
    ratio = xp.clip(number / xp.maximum(xp.sum(positive), 1), *ratio_range)
    weighted = xp.where(
        positive,
        0.5 * ratio * xp.log(probabilities + eps),
        0.5 * ratio / (ratio - 1) * xp.log(1 - probabilities + eps),
    )
    return -xp.sum(xp.where(counted, weighted, 0), axis=axes) * (len(probabilities) / number)


def bmn_regression(confidence, ious, *, u, high: float = 0.7, low: float = 0.3, exact_sampling: bool = False):
    """Half the squared error over about as many high, medium and low cells -> [b].

    Args:
      confidence: [b, d, s], the regression channel. ious: [b, d, s], 0 outside the video.
      u: draws [2, b, d, s] that choose among the medium cells, (low, high], and the low ones, (0, low]. All cells
        above `high` are taken, and of the others so many at most.
      exact_sampling: with fewer medium (or low) cells than high ones the reference takes every cell of the map once
        more, whatever it is; True does so too. Without a high cell its loss is NaN, here 0 either way.

    Source: BMNLoss.pem_reg_loss of the reference; Lin et al. 2019, section 3.3.
    """
    xp = confidence.__array_namespace__()
    groups = (ious > high, (ious <= high) & (ious > low), (ious <= low) & (ious > 0))
    weights = xp.astype(groups[0], confidence.dtype)
    number = xp.sum(weights)
    for group, draws in zip(groups[1:], u, strict=True):
        share = number / xp.maximum(xp.sum(group), 1e-9 if exact_sampling else 1)
        if not exact_sampling:
            share = xp.minimum(share, 1)
        weights = weights + xp.astype(xp.where(group, draws, 0) > 1 - share, weights.dtype)
    total = xp.sum(weights)
    squares = xp.sum((weights * (confidence - ious)) ** 2, axis=(1, 2))
    return 0.5 * squares * len(confidence) / xp.where(total > 0, total, 1)


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
    """Smooth L1 distance of scores to the proposals' best IoU, the mean over all proposals of the batch -> [b].

    Args:
      scores, ious: [b, p]. mask: bool [b, p], False where a proposal is padding.
      u: None, or draws [b, p]: then all proposals above `high` are taken, medium ones, (low, high], `medium_ratio`
        times as many, and low ones `low_ratio` times as many, both at most.
      high, low, medium_ratio, low_ratio: see `u`; nothing without it.

    Source: PEM of the reference, whose sampling has no effect: its loss is the plain mean (and NaN without a proposal
    above `high`). The paper means `u` (Lin et al. 2018, equation 5).
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
