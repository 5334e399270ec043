"""Temporal actionness grouping (TAG): runs of actionness above several thresholds -> proposals."""

import numpy as np

from actjax.localization.nms import temporal_nms

THRESHOLDS = tuple(np.arange(1, 20) / 20)
TOLERANCES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)


def actionness_grouping(
    actionness, *, thresholds=THRESHOLDS, tolerances=TOLERANCES, nms: float = 0.95, min_length: int = 1
) -> np.ndarray:
    """Proposals of a video -> float64 [n, 3]: first step, step after the last, mean actionness between; best first.

    >>> actionness_grouping([0.0, 0.8, 0.9, 0.8, 0.0, 0.1]).round(2).tolist()
    [[2.0, 3.0, 0.9], [1.0, 4.0, 0.83], [1.0, 6.0, 0.52], [5.0, 6.0, 0.1]]

    Args:
      actionness: [t], 0 to 1, for every frame or snippet.
      thresholds: a run is a stretch of steps at or above a threshold.
      tolerances: a run merges with later runs as long as this share of the merged segment is above the threshold.
      nms: IoU threshold of the final NMS.
      min_length: drop shorter proposals.

    Source: SSN (arXiv:1704.06228, section 5).
    """
    curve = np.asarray(actionness, np.float64)
    found = set()
    for threshold in thresholds:
        starts, ends = _runs(curve >= threshold)
        for tolerance in tolerances:
            found.update(_grouped(starts, ends, tolerance))
    segments = np.array(sorted(found), np.int64).reshape(-1, 2)
    segments = segments[segments[:, 1] - segments[:, 0] >= min_length]
    sums = np.concatenate([[0], np.cumsum(curve)])
    scores = (sums[segments[:, 1]] - sums[segments[:, 0]]) / (segments[:, 1] - segments[:, 0])
    return temporal_nms(np.column_stack([segments, scores]), nms)


def grouped_runs(curve, *, threshold: float, tolerance: float = 0.8, min_length: int = 1) -> np.ndarray:
    """The segments in which a curve stays at or above a threshold, but for short gaps -> float64 [n, 3], in order.

    >>> grouped_runs([0.9, 0.8, 0.1, 0.9, 0.9, 0.0, 0.0, 0.7], threshold=0.5).round(2).tolist()
    [[0.0, 5.0, 0.72], [7.0, 8.0, 0.7]]

    Columns: first step, step after the last, mean of the curve between. Unlike `actionness_grouping`, no segment
    overlaps another.

    Args:
      curve: [t], 0 to 1.
      tolerance: a run merges with later runs as long as this share of the merged segment is above the threshold.
      min_length: drop shorter segments.

    Source: SSN (arXiv:1704.06228, section 5), with one threshold and one tolerance.
    """
    curve = np.asarray(curve, np.float64)
    starts, ends = _runs(curve >= threshold)
    rows, until = [], 0
    for start, end in _grouped(starts, ends, tolerance):
        if start >= until:
            rows.append((start, end, curve[start:end].mean()))
            until = end
    return np.array([row for row in rows if row[1] - row[0] >= min_length]).reshape(-1, 3)


def _runs(above: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First index of every run of True, and the index after its last."""
    edges = np.diff(np.concatenate([[0], above.astype(np.int8), [0]]))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)


def _grouped(starts: np.ndarray, ends: np.ndarray, tolerance: float):
    """Yields for every run the longest group that starts with it and never falls below `tolerance` as it grows."""
    for i, start in enumerate(starts.tolist()):
        filled = np.cumsum(ends[i:] - starts[i:])
        enough = filled >= tolerance * (ends[i:] - start)
        last = len(enough) if enough.all() else int(np.argmin(enough))
        yield start, int(ends[i + last - 1])
