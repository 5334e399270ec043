"""Non-maximum suppression of segments. Shapes: b videos, k proposals; the score is the last column unless named."""

import numpy as np

from actjax.segments import best_first, check_array, intersection, namespace, ranges, temporal_iou

BLOCK = 2**20  # pairs of segments that are compared at once
SMALL = 1024  # proposals up to which soft_nms computes all overlaps at once, [k, k], instead of one row a round


def soft_nms(proposals, alpha: float, low_threshold: float, high_threshold: float, top_k: int) -> np.ndarray:
    """The best `top_k + 1` proposals, each after decay by the better ones it overlaps -> [r, 3]: start, end, score.

    Args:
      proposals: [k, 3 or more], start, end, ..., score; start and end as fractions of the video. Any order.
      alpha: width of the decay: a score is multiplied by exp(-IoU^2 / alpha).
      low_threshold, high_threshold: overlap that is free of decay: low + (high - low) x width of the better proposal,
        so wide proposals tolerate more. Above width 1, as with seconds, the sum may pass 1: no decay.
      top_k: how many are taken, and one more (kept from the reference).

    Raises:
      TypeError: no array. ShapeError: not [k, 3 or more]. ValueError: NaN or inf, naming the row.

    The highest score is taken first, among equal ones the later row; rows come in the order they were taken and in the
    dtype of the input. A negative score rises towards 0 (kept). Two segments without length do not decay. Source: the
    API entry soft_nms; Bodla et al. 2017 with the thresholds of BSN (Lin et al. 2018).
    """
    proposals = _rows("soft_nms: proposals", proposals, columns=3)
    if not alpha > 0:
        raise ValueError(f"soft_nms: alpha={alpha}; expected a number above 0")
    start, end, score = proposals[best_first(proposals[:, -1])][:, [0, 1, -1]].T
    numbers = float(alpha), float(low_threshold), float(high_threshold)  # Python's keep float32 what it is
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
    """What a proposal that is taken multiplies the scores of others by, in (0, 1]; broadcasts. The same under jit."""
    xp = namespace(others_start)
    common = intersection(start, end, others_start, others_end)
    # In the reference's order of operations: on a grid, as BMN's, IoUs meet the threshold exactly.
    union = (end - start) - common + others_end - others_start
    iou = common / xp.where(union > 0, union, 1)
    tolerated = low_threshold + (high_threshold - low_threshold) * (end - start)
    # Never 0, which would turn the -inf of what has been taken into NaN.
    factor = xp.maximum(xp.exp(-(iou**2) / alpha), xp.finfo(iou.dtype).tiny)
    return xp.where(iou > tolerated, factor, 1)


def temporal_nms(detections, threshold: float) -> np.ndarray:
    """Detections that no better kept one overlaps by more than `threshold` -> rows [r, columns], best first.

    Args:
      detections: [k, 3 or more], start, end, score, ...
      threshold: IoU; an equal one is kept, the IoU of two segments without length (NaN) is not.

    Among equal scores the later row comes first. Source: temporal_nms of the reference's localization package.
    """
    detections = _rows("temporal_nms: detections", detections, columns=3)
    keep = grouped_nms(detections[:, :2], detections[:, 2], np.zeros(len(detections), np.int64), threshold)
    return detections[keep]


def grouped_nms(segments, score, group, threshold: float) -> np.ndarray:
    """Greedy NMS inside every group (a class of a video) -> int64 indices of what is kept, by group, best first.

    Args:
      segments: [k, 2]. score: [k]. group: int [k].
      threshold: as in `temporal_nms`.

    Rounds instead of a loop over detections: each keeps what no kept better one suppresses, until nothing changes. The
    i-th best of a group is settled after i rounds at the latest, so the end is what the greedy loop gives.
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
    """Pairs (i, j), i < j, of one group that overlap by more than `threshold`, found block by block."""
    first, last = np.arange(1, len(group) + 1), np.searchsorted(group, group, side="right")
    found = []
    for block in np.array_split(np.arange(len(group)), 1 + (last - first).sum() // BLOCK):
        i, j = ranges(first[block], last[block])
        i = block[i]
        close = ~(temporal_iou(*segments[i].T, *segments[j].T) <= threshold)
        found.append((i[close], j[close]))
    better, worse = zip(*found, strict=True)
    return np.concatenate(better), np.concatenate(worse)


def proposal_list(rows, video_info: dict, *, top_k: int, feature_extraction_interval: int = 16) -> list[dict]:
    """The best `top_k` of proposals that suppression is done with; arguments and result as of `post_processing`."""
    rows = rows[best_first(rows[:, -1])][:top_k]
    frames = video_info["duration_frame"]
    covered = frames // feature_extraction_interval * feature_extraction_interval / frames
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
