"""Non-maximum suppression of segments. Shapes: k proposals; the score is the last column unless stated otherwise."""

import numpy as np

from actjax.segments import best_first, check_array, intersection, namespace, ranges, temporal_iou

BLOCK = 2**20  # pairs of segments to compare at once
SMALL = 1024  # up to this many proposals soft_nms computes all overlaps at once, [k, k], instead of one row per round


def soft_nms(proposals, alpha: float, low_threshold: float, high_threshold: float, top_k: int) -> np.ndarray:
    """The best `top_k + 1` proposals, with scores decayed by better overlapping ones -> [r, 3]: start, end, score.

    >>> proposals = np.array([[0.0, 0.5, 0.9], [0.0, 0.45, 0.8], [0.6, 0.9, 0.7]])
    >>> soft_nms(proposals, alpha=0.4, low_threshold=0.5, high_threshold=0.9, top_k=2).round(3).tolist()
    [[0.0, 0.5, 0.9], [0.6, 0.9, 0.7], [0.0, 0.45, 0.106]]

    Args:
      proposals: [k, 3 or more], start, end, ..., score; start and end as fractions of the video. Any order.
      alpha: width of the decay; an overlap multiplies the score by exp(-IoU^2 / alpha).
      low_threshold, high_threshold: IoUs up to low + (high - low) x width of the better proposal do not decay, so wide
        proposals tolerate more overlap. Widths above 1, as in seconds, can raise this limit above 1: no decay.
      top_k: number of proposals to keep; one more is returned (kept from MMAction2 0.6).

    Raises:
      TypeError: not an array. ShapeError: not [k, 3 or more]. ValueError: NaN or inf; names the row.

    Each round takes the highest score, the later row among equal ones; rows are returned in this order and in the dtype
    of the input. A negative score rises towards 0 (kept from MMAction2). Two segments of zero length do not decay each
    other. Source: MMAction2's soft_nms; Bodla et al. 2017 with the thresholds of BSN (Lin et al. 2018).
    """
    proposals = _rows("soft_nms: proposals", proposals, columns=3)
    if not alpha > 0:
        raise ValueError(f"soft_nms: alpha={alpha}; must be above 0")
    start, end, score = proposals[best_first(proposals[:, -1])][:, [0, 1, -1]].T
    numbers = float(alpha), float(low_threshold), float(high_threshold)  # Python floats do not promote float32
    small = len(score) <= SMALL
    factors = decay(start[:, None], end[:, None], start, end, *numbers) if small else None
    best = np.empty(min(len(score), max(top_k + 1, 0)), np.int64)
    decayed = np.empty(len(best), score.dtype)
    score = score.copy()
    for i in range(len(best)):
        best[i] = j = score.argmax()
        decayed[i] = score[j]
        score *= factors[j] if small else decay(start[j], end[j], start, end, *numbers)
        score[j] = -np.inf
    return np.stack([start[best], end[best], decayed], axis=1)


def decay(start, end, others_start, others_end, alpha: float, low_threshold: float, high_threshold: float):
    """Factors in (0, 1] by which a taken proposal multiplies the scores of others; broadcasts. Works under jit."""
    xp = namespace(others_start)
    common = intersection(start, end, others_start, others_end)
    # In MMAction2's order of operations: on a grid such as BMN's, IoUs hit the threshold exactly.
    union = (end - start) - common + others_end - others_start
    iou = common / xp.where(union > 0, union, 1)
    tolerated = low_threshold + (high_threshold - low_threshold) * (end - start)
    # Never 0: 0 x -inf, the score of a taken proposal, would be NaN.
    factor = xp.maximum(xp.exp(-(iou**2) / alpha), xp.finfo(iou.dtype).tiny)
    return xp.where(iou > tolerated, factor, 1)


def temporal_nms(detections, threshold: float) -> np.ndarray:
    """Greedy NMS: drops detections whose IoU with a better kept one is above `threshold` -> [r, columns], best first.

    >>> proposals = np.array([[0.0, 0.5, 0.9], [0.0, 0.45, 0.8], [0.6, 0.9, 0.7]])
    >>> temporal_nms(proposals, threshold=0.5).tolist()
    [[0.0, 0.5, 0.9], [0.6, 0.9, 0.7]]

    Args:
      detections: [k, 3 or more], start, end, score, ...
      threshold: IoU; at exactly `threshold` a detection is kept, at NaN (two segments of zero length) it is dropped.

    Among equal scores the later row comes first. Source: MMAction2's temporal_nms.
    """
    detections = _rows("temporal_nms: detections", detections, columns=3)
    keep = grouped_nms(detections[:, :2], detections[:, 2], np.zeros(len(detections), np.int64), threshold)
    return detections[keep]


def grouped_nms(segments, score, group, threshold: float) -> np.ndarray:
    """Greedy NMS within every group (a class of a video) -> int64 indices of kept detections, by group, best first.

    >>> segments = np.array([[0, 10], [1, 10], [1, 10]])
    >>> grouped_nms(segments, score=np.array([0.9, 0.8, 0.7]), group=np.array([0, 0, 1]), threshold=0.5).tolist()
    [0, 2]

    Args:
      segments: [k, 2]. score: [k]. group: int [k].
      threshold: as in `temporal_nms`.

    Iterates in rounds instead of over detections: each round keeps every detection that no kept better one suppresses,
    until nothing changes. The i-th best of a group is final after at most i rounds: the result is the greedy loop's.
    """
    order = best_first(score, group=group)
    better, worse = _suppressions(segments[order], group[order], threshold)
    keep = np.ones(len(order), bool)
    while True:
        settled = np.ones(len(order), bool)
        settled[worse[keep[better]]] = False
        if (settled == keep).all():
            return order[keep]
        keep = settled


def _suppressions(segments, group, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (i, j), i < j, within a group that overlap by more than `threshold`, found block by block."""
    first, last = np.arange(1, len(group) + 1), np.searchsorted(group, group, side="right")
    found = []
    for block in np.array_split(np.arange(len(group)), 1 + (last - first).sum() // BLOCK):
        i, j = ranges(first[block], last[block])
        i = block[i]
        close = ~(temporal_iou(*segments[i].T, *segments[j].T) <= threshold)
        found.append((i[close], j[close]))
    better, worse = zip(*found, strict=True)
    return np.concatenate(better), np.concatenate(worse)


def proposal_list(rows, video_info: dict, *, top_k: int, feature_extraction_interval: int | None = 16) -> list[dict]:
    """The best `top_k` proposals after NMS as entries of a result file; arguments as in `post_processing`.

    With an interval of None features cover `video_info["feature_frame"]` frames, as the labels have it.

    >>> video = {"duration_frame": 320, "duration_second": 10.0}
    >>> proposal_list(np.array([[0.1, 0.5, 0.9], [0.5, 1.0, 0.4]]), video, top_k=1)
    [{'score': 0.9, 'segment': [1.0, 5.0]}]
    """
    rows = rows[best_first(rows[:, -1])][:top_k]
    frames = video_info["duration_frame"]
    interval = feature_extraction_interval
    covered = (video_info["feature_frame"] if interval is None else frames // interval * interval) / frames
    seconds = covered * video_info["duration_second"]
    segments = np.stack([np.maximum(rows[:, 0], 0), np.minimum(rows[:, 1], 1)], axis=1).astype(np.float64)
    scores = rows[:, -1].tolist()
    return [{"score": x, "segment": s} for x, s in zip(scores, (segments * seconds).tolist(), strict=True)]


def _rows(name: str, rows, *, columns: int) -> np.ndarray:
    check_array(name, rows, columns=columns)
    rows = rows if rows.dtype.kind == "f" else rows.astype(np.float64)
    finite = np.isfinite(rows[:, [0, 1, 2, -1]]).all(1)
    if not finite.all():
        bad = int(np.argmin(finite))
        raise ValueError(f"{name}: row {bad} is {rows[bad].tolist()}; expected finite numbers")
    return rows
