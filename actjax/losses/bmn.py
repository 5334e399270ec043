"""Losses of BMN, on NumPy arrays and under `jax.jit`.

Shapes: b videos, d durations, s starts of a boundary-matching map.
"""

from actjax.losses.bsn import balanced


def bmn_classification(confidence, ious, mask, *, threshold: float = 0.9, ratio_range=(1.05, 21.0), eps: float = 1e-5):
    """`binary_logistic_regression` over the cells inside the video -> [b].

    Args:
      confidence: [b, d, s], the classification channel. ious: [b, d, s], 0 outside the video.
      mask: bool [d, s], True inside the video.

    Source: BMNLoss.pem_cls_loss of MMAction2 0.6; Lin et al. 2019, section 3.3.
    """
    xp = ious.__array_namespace__()
    positive = ious > threshold
    # Without a positive, MMAction2 counts one entry too many.
    number = xp.maximum(xp.sum(positive), 1) + xp.sum(~positive & mask)
    return balanced(confidence, positive, positive | mask, number, ratio_range=ratio_range, eps=eps)


def bmn_regression(confidence, ious, *, u, high: float = 0.7, low: float = 0.3, exact_sampling: bool = False):
    """Half the squared error over similar numbers of high, medium and low cells -> [b].

    Args:
      confidence: [b, d, s], the regression channel. ious: [b, d, s], 0 outside the video.
      u: draws [2, b, d, s] that sample the medium cells, (low, high], and the low ones, (0, low]. All cells above
        `high` are used, and on average at most as many of each other group.
      exact_sampling: True: as in MMAction2, every cell of the map counts once more if there are fewer medium (or low)
        cells than high ones. Without high cells MMAction2's loss is NaN; here it is 0 in either case.

    Source: MMAction2's BMNLoss.pem_reg_loss; Lin et al. 2019, section 3.3.
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
