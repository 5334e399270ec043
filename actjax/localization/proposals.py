"""BSN: boundary curves -> candidate proposals -> features of proposals.

Shapes: s time steps, k proposals, m ground truths. Time is a fraction of the part of the video that features cover.
"""

import numpy as np

from actjax.errors import ShapeError
from actjax.segments import best_first, namespace, pairs, temporal_iop, temporal_iou


def candidate_proposals(start_scores, end_scores, *, peak_threshold: float, temporal_scale: int | None = None):
    """Pairs every candidate start with every later candidate end -> float64 [k, 5], the highest score first.

    >>> start, end = np.array([0.1, 0.9, 0.1, 0.1]), np.array([0.1, 0.1, 0.2, 0.8])
    >>> candidate_proposals(start, end, peak_threshold=0.5)[0].round(3).tolist()
    [0.375, 0.875, 0.9, 0.8, 0.72]

    Args:
      start_scores, end_scores: [s], probability that an action starts, or ends, at each step.
      peak_threshold: candidates are strict local peaks, steps above this share of the curve's maximum, and both ends of
        the curve.
      temporal_scale: number of steps to use; None: all s.

    Columns: start, end, their two scores, the product. Step i is at time (i + 1/2) / temporal_scale. No valid pair:
    [0, 5]. Kept from MMAction2 0.6: with a smaller `temporal_scale` later steps are ignored, and the last step in use
    is not a candidate.

    Raises:
      ShapeError: curves of the wrong shape, or shorter than `temporal_scale`. ValueError: NaN.

    Source: MMAction2's generate_candidate_proposals; Lin et al. 2018, section 3.3.
    """
    curves = [_curve("start_scores", start_scores), _curve("end_scores", end_scores)]
    if len(curves[0]) != len(curves[1]):
        raise ShapeError(f"candidate_proposals: {len(curves[0])} start scores, {len(curves[1])} end scores")
    curves = np.stack(curves)
    scale = curves.shape[1] if temporal_scale is None else temporal_scale
    if not 1 <= scale <= curves.shape[1]:
        raise ShapeError(f"candidate_proposals: temporal_scale={scale} for curves of {curves.shape[1]} steps")
    starts, ends = is_candidate(curves, peak_threshold)[:, :scale]
    if scale < curves.shape[1]:
        starts[-1] = ends[-1] = False
    time = step_times(scale)
    end, start = np.nonzero(ends[:, None] & starts & (time < time[:, None]))
    scores = curves[0, start], curves[1, end]
    rows = np.stack([time[start], time[end], *scores, scores[0] * scores[1]], axis=1)
    return rows[best_first(rows[:, 4])]


def is_candidate(curves, peak_threshold: float):
    """Candidate boundaries of each curve [..., s] -> bool [..., s]. Works under `jax.jit`."""
    xp = namespace(curves)
    inner, before, after = curves[..., 1:-1], curves[..., :-2], curves[..., 2:]
    high = inner > peak_threshold * xp.max(curves, axis=-1, keepdims=True)
    edge = xp.ones_like(curves[..., :1], dtype=bool)
    inside = (inner > before) & (inner > after) | high
    return xp.concat([edge, inside, edge[..., : curves.shape[-1] - 1]], axis=-1)


def step_times(temporal_scale: int) -> np.ndarray:
    """The middle of each step -> float64 [s]."""
    gap = 1.0 / temporal_scale
    return gap / 2 + gap * np.arange(temporal_scale)


def match(proposals, segments) -> np.ndarray:
    """Best overlap of each proposal with any ground truth -> [k, 2]: IoU, and intersection over the proposal (IoP).

    >>> match(np.array([[0, 8], [5, 15]]), np.array([[0, 10]])).round(2).tolist()
    [[0.8, 1.0], [0.33, 0.5]]

    Args:
      proposals: [k, 2 or more]. segments: [m, 2], in the same unit. No ground truth: zeros.
    """
    if not len(segments):
        return np.zeros((len(proposals), 2))
    return np.stack([overlap(*pairs(proposals, segments)).max(1) for overlap in (temporal_iou, temporal_iop)], axis=1)


def bsp_feature(
    actionness,
    proposals,
    *,
    step: float | None = None,
    end: float | None = None,
    bsp_boundary_ratio: float = 0.2,
    num_sample_start: int = 8,
    num_sample_end: int = 8,
    num_sample_action: int = 16,
    num_sample_interp: int = 3,
) -> np.ndarray:
    """Boundary-sensitive features: actionness inside, around the start and around the end -> float64 [k, 32].

    >>> actionness = np.array([0.0, 0.0, 1.0, 1.0, 0.0, 0.0])
    >>> feature = bsp_feature(actionness, np.array([[0.3, 0.7]]))
    >>> feature.shape, feature[0, :16].mean().round(2).item()  # the mean actionness of the proposal
    ((1, 32), 0.76)

    Args:
      actionness: [s], probability of an action at each step.
      proposals: [k, 2 or more], start and end; may be reversed or reach beyond the video.
      step, end: length of a step and end of the last step. None: 1 / s and 1.
      bsp_boundary_ratio: extent of the boundary regions on either side, as a share of the proposal's length.
      num_sample_start, num_sample_end, num_sample_action: samples of each region, 2 or more.
      num_sample_interp: each sample is the mean of this many points plus one.

    Columns: action | start | end. Actionness outside the video is 0.

    Raises:
      ShapeError: actionness that is not [s], proposals that are not [k, 2 or more]. ValueError: NaN; a region of one
        sample (MMAction2 divides by 0).

    Source: generate_bsp_feature of MMAction2; Lin et al. 2018, section 3.4.
    """
    actionness = _curve("actionness", actionness)
    proposals = np.asarray(proposals, np.float64)
    if proposals.ndim != 2 or proposals.shape[1] < 2:
        raise ShapeError(f"bsp_feature: proposals have shape {proposals.shape}; expected [k, 2 or more]")
    counts = (num_sample_action, num_sample_start, num_sample_end)
    check_samples(counts, num_sample_interp)
    gap = 1 / len(actionness) if step is None else step
    times, padded = padded_curve(actionness, gap, 1.0 if end is None else end)
    points = sample_times(proposals[:, :2], counts, num_sample_interp, bsp_boundary_ratio)
    return np.concatenate([mean_of_runs(np.interp(t, times, padded), num_sample_interp) for t in points], axis=1)


def check_samples(counts: tuple[int, ...], num_sample_interp: int) -> None:
    """ValueError unless `bsp_feature` has two or more samples per region and one or more points per sample."""
    if min(counts) < 2 or num_sample_interp < 1:
        raise ValueError(f"bsp_feature: (action, start, end) samples {counts}, {num_sample_interp} points each; "
                         "expected 2 or more samples and 1 or more points")  # fmt: skip


def padded_curve(actionness, step, end):
    """Times of the points, and the curve [..., s] with zeros on both sides -> [p], [..., p]. Works under jit."""
    xp = namespace(actionness)
    s = actionness.shape[-1]
    pad = int(s / 4 + 10)
    outside = np.arange(pad)
    before, after = -step / 2 - outside[::-1] * step, end + step / 2 + outside * step
    zeros = xp.zeros_like(actionness, shape=(*actionness.shape[:-1], pad))
    times = np.concatenate([before, step / 2 + np.arange(s) * step, after])
    return times, xp.concat([zeros, actionness, zeros], axis=-1)


def sample_times(proposals, counts, num_sample_interp: int, bsp_boundary_ratio: float) -> list:
    """Points of the three regions of proposals [..., k, 2] -> three [..., k, n x interp + 1]. Works under jit."""
    start, end = proposals[..., 0, None], proposals[..., 1, None]
    reach = (end - start) * bsp_boundary_ratio
    regions = ((start, end), (start - reach, start + reach), (end - reach, end + reach))
    times = []
    for (low, high), n in zip(regions, counts, strict=True):
        gap = (high - low) / (n - 1)
        times.append(low - gap / 2 + gap / num_sample_interp * np.arange(n * num_sample_interp + 1))
    return times


def mean_of_runs(values, length: int):
    """Mean of each run of `length + 1` values; neighbouring runs share one: [..., n x length + 1] -> [..., n]."""
    xp = namespace(values)
    runs = values[..., :-1].reshape(*values.shape[:-1], (values.shape[-1] - 1) // length, length)
    last = values[..., length::length]
    return (xp.sum(runs, axis=-1) + last) / (length + 1)


def _curve(name: str, scores) -> np.ndarray:
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 1 or not len(scores):
        raise ShapeError(f"{name} has shape {scores.shape}; expected [s], one number per time step")
    if not np.isfinite(scores).all():
        raise ValueError(f"{name}: step {int(np.argmin(np.isfinite(scores)))} is {scores[~np.isfinite(scores)][0]}")
    return scores


def matched(proposals: np.ndarray, info: dict) -> np.ndarray:
    """Proposals [k, c] with best IoU and IoP as two more columns; `info`: as in `generate_candidate_proposals`."""
    covered = float(info["feature_frame"]) / info["duration_frame"] * info["duration_second"]
    segments = np.array([a["segment"] for a in info["annotations"]], np.float64).reshape(-1, 2) / covered
    return np.concatenate([proposals, match(proposals, segments)], axis=1)
