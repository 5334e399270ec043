"""Jittable, batched versions of the localization functions, with fixed sizes and masks for padding.

They agree with the NumPy versions in `nms.py`, `proposals.py` and `bmn.py` up to the input's precision. Boundary curves
become suppressed proposals without leaving the accelerator. Importing this module imports jax.
Shapes: b videos, s time steps, k proposals, m ground truths.
"""

import jax
import jax.numpy as jnp
import numpy as np

from actjax.errors import ShapeError
from actjax.localization import proposals as pgm
from actjax.localization.labels import inside_video
from actjax.localization.nms import decay
from actjax.localization.proposals import is_candidate
from actjax.segments import pairs, temporal_iop, temporal_iou


def soft_nms(proposals, mask, alpha: float, low_threshold: float, high_threshold: float, top_k: int):
    """`actjax.localization.soft_nms` for many videos -> [b, r, 3], bool [b, r], with r = min(k, top_k + 1).

    >>> proposals = jnp.array([[[0.0, 0.5, 0.9], [0.0, 0.45, 0.8], [0.6, 0.9, 0.7]]])
    >>> rows, valid = soft_nms(proposals, jnp.ones((1, 3), bool), 0.4, 0.5, 0.9, top_k=2)
    >>> print(rows[0, :, 2].round(2), valid)  # the scores
    [0.9  0.7  0.11] [[ True  True  True]]

    Args:
      proposals: [b, k, 3 or more]: start, end, ..., score; finite; rows in any order.
      mask: bool [b, k], False where a row is padding.
      alpha, low_threshold, high_threshold, top_k: as in the NumPy version; `top_k` is static.

    The second result is False for padding, which is zeros.
    """
    _check("proposals", proposals, 3, mask)
    k = proposals.shape[1]
    # Descending order with the later row first among equal scores: reverse, then sort stably.
    score = jnp.where(mask, proposals[:, :, -1], -jnp.inf)[:, ::-1]
    order = jnp.argsort(score, axis=1, stable=True, descending=True)
    start, end, score = (
        jnp.take_along_axis(column, order, axis=1) for column in (proposals[:, ::-1, 0], proposals[:, ::-1, 1], score)
    )
    taken, place = min(k, max(top_k + 1, 0)), jnp.arange(k)

    def take_best(score, _):
        # A maximum and a minimum: XLA compiles them to faster code than argmax.
        highest = score.max(axis=1, keepdims=True)
        best = jnp.where(score == highest, place, k).min(axis=1, keepdims=True)
        s, e = (jnp.take_along_axis(column, best, axis=1) for column in (start, end))
        score = score * decay(s, e, start, end, alpha, low_threshold, high_threshold)
        return jnp.where(place == best, -jnp.inf, score), jnp.concat([s, e, highest], axis=1)

    _, rows = jax.lax.scan(take_best, score, length=taken)
    valid = jnp.arange(taken) < mask.sum(axis=1)[:, None]
    return jnp.where(valid[:, :, None], rows.transpose(1, 0, 2), 0), valid


def candidate_proposals(start_scores, end_scores, *, peak_threshold: float, max_proposals: int):
    """`actjax.localization.candidate_proposals` for many videos -> [b, max_proposals, 5], bool [b, max_proposals].

    >>> start, end = jnp.array([[0.1, 0.9, 0.1, 0.1]]), jnp.array([[0.1, 0.1, 0.2, 0.8]])
    >>> rows, found = candidate_proposals(start, end, peak_threshold=0.5, max_proposals=4)
    >>> rows.shape, found.tolist()
    ((1, 4, 5), [[True, True, False, False]])

    Args:
      start_scores, end_scores: [b, s]; finite.
      peak_threshold: as in the NumPy version.
      max_proposals: static; the best are kept. There are at most s x (s - 1) / 2.

    The second result is False for padding, which is zeros.
    """
    b, s = start_scores.shape
    time = jnp.asarray(pgm.step_times(s), start_scores.dtype)
    starts, ends = (is_candidate(curve, peak_threshold) for curve in (start_scores, end_scores))
    score = start_scores[:, None, :] * end_scores[:, :, None]  # [b, end, start]
    valid = ends[:, :, None] & starts[:, None, :] & (time < time[:, None])
    # Among equal scores the later pair comes first, but top_k takes the earlier one: hence the reversal.
    flat = jnp.where(valid, score, -jnp.inf).reshape(b, s * s)[:, ::-1]
    best, place = jax.lax.top_k(flat, min(max_proposals, s * s))
    end, start = jnp.divmod(s * s - 1 - place, s)
    scores = (jnp.take_along_axis(start_scores, start, axis=1), jnp.take_along_axis(end_scores, end, axis=1))
    rows = jnp.stack([time[start], time[end], *scores, best], axis=2)
    found = best > -jnp.inf
    surplus = max(max_proposals - s * s, 0)
    rows = jnp.pad(jnp.where(found[:, :, None], rows, 0), ((0, 0), (0, surplus), (0, 0)))
    return rows, jnp.pad(found, ((0, 0), (0, surplus)))


def boundary_matching_proposals(start, end, regression, classification, *, peak_threshold: float = 0.5):
    """`actjax.localization.boundary_matching_proposals` for many videos -> [b, k, 3], bool [b, k], k = s (s - 1) / 2.

    >>> start, end, ones = jnp.array([[0.9, 0.1, 0.1]]), jnp.array([[0.1, 0.1, 0.8]]), jnp.ones((1, 3, 3))
    >>> rows, found = boundary_matching_proposals(start, end, ones, ones)
    >>> rows.shape, found.tolist()
    ((1, 3, 3), [[False, False, True]])

    Args:
      start, end: [b, s]. regression, classification: [b, s, s]; finite.
      peak_threshold: as in the NumPy version.

    One row per cell: start, end, product of the scores. The second result marks the cells that are proposals.
    """
    s = start.shape[1]
    duration, first = np.nonzero(inside_video(s)[1:])
    last = duration + first + 1
    found = is_candidate(start, peak_threshold)[:, first] & is_candidate(end, peak_threshold)[:, last]
    score = start[:, first] * end[:, last] * classification[:, duration, first] * regression[:, duration, first]
    times = [jnp.broadcast_to(jnp.asarray(step / s, score.dtype), score.shape) for step in (first, last)]
    return jnp.stack([*times, score], axis=-1), found


def match(proposals, segments, mask):
    """`actjax.localization.match` for many videos -> [b, k, 2]: best IoU and best IoP; zeros without ground truth.

    >>> segments, mask = jnp.array([[[0.0, 10.0], [0.0, 0.0]]]), jnp.array([[True, False]])
    >>> match(jnp.array([[[0.0, 5.0]]]), segments, mask).tolist()
    [[[0.5, 1.0]]]

    Args:
      proposals: [b, k, 2 or more].
      segments: [b, m, 2], in the same unit.
      mask: bool [b, m], False where a ground truth is padding.
    """
    _check("segments", segments, 2, mask)
    overlaps = (overlap(*pairs(proposals, segments)) for overlap in (temporal_iou, temporal_iop))
    return jnp.stack([jnp.where(mask[:, None], x, 0).max(axis=2, initial=0) for x in overlaps], axis=2)


def bsp_feature(
    actionness,
    proposals,
    *,
    bsp_boundary_ratio: float = 0.2,
    num_sample_start: int = 8,
    num_sample_end: int = 8,
    num_sample_action: int = 16,
    num_sample_interp: int = 3,
):
    """`actjax.localization.bsp_feature` for many videos, with time steps that span [0, 1] -> [b, k, 32].

    >>> bsp_feature(jnp.ones((2, 6)), jnp.full((2, 5, 2), 0.5)).shape
    (2, 5, 32)

    Args:
      actionness: [b, s]. proposals: [b, k, 2 or more]; rows for padding are meaningless.
      All others as in the NumPy version, and static.
    """
    counts = (num_sample_action, num_sample_start, num_sample_end)
    pgm.check_samples(counts, num_sample_interp)
    times, padded = pgm.padded_curve(actionness, 1 / actionness.shape[1], 1.0)
    points = pgm.sample_times(proposals[:, :, :2], counts, num_sample_interp, bsp_boundary_ratio)
    curve = jax.vmap(lambda t, values: jnp.interp(t, jnp.asarray(times, t.dtype), values))
    return jnp.concatenate([pgm.mean_of_runs(curve(t, padded), num_sample_interp) for t in points], axis=2)


def _check(name: str, rows, columns: int, mask) -> None:
    if rows.ndim != 3 or rows.shape[2] < columns or mask.shape != rows.shape[:2]:
        raise ShapeError(
            f"{name} have shape {rows.shape}, mask {mask.shape}; expected [b, k, {columns} or more] and [b, k]"
        )
