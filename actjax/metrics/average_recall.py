"""Average recall at an average number of proposals (AR@AN). Shapes: v videos, g segments, n proposals, t thresholds."""

from typing import NamedTuple

import numpy as np

from actjax.errors import EmptyError
from actjax.segments import best_first, check_columns, check_segments, pairwise_iou

THRESHOLDS = np.linspace(0.5, 0.95, 10)


class AverageRecall(NamedTuple):
    """Recall [t, 100] and its mean over thresholds [100] at 100 budgets; the budgets in proposals per video [100];
    the area under the mean, in percent of a perfect rectangle."""

    recall: np.ndarray
    avg_recall: np.ndarray
    proposals_per_video: np.ndarray
    auc: float


def average_recall_at_avg_proposals(
    ground_truth, proposals, total_num_proposals, max_avg_proposals=None, temporal_iou_thresholds=THRESHOLDS
) -> AverageRecall:
    """Share of the ground truth that the best proposals find, over the number of proposals per video.

    Args:
      ground_truth: {video: [g, 2 or more]}, start and end in any unit.
      proposals: {video: [n, 3 or more]}, start, end, score; a video of the ground truth without proposals has [0, 3].
        Videos that are not in the ground truth are left out.
      total_num_proposals: number of all proposals, also of videos that are left out: it sets the share that is kept.
      max_avg_proposals: the last budget, in proposals per video; None or 0: all there are.
      temporal_iou_thresholds: IoUs in (0, 1] from which a segment counts as found.

    Raises:
      EmptyError: no video, or no proposal at all. KeyError: a video without an entry in `proposals`.
      ShapeError, TypeError, ValueError: as `check_segments`, naming the video.

    Every video keeps the same share of its proposals, best first (among equal scores the later row, NaN before all).
    Kept from the reference, and from the official ActivityNet toolkit it follows: the area starts at the first budget,
    not at 0, so a perfect set scores 99; shares are cut down to whole proposals; two segments without length do not
    match; the score of no ground truth is NaN. Fixed: IoU is float64, as in the official toolkit; without
    `max_avg_proposals` nothing is lost to rounding. Source: the API entry average_recall_at_avg_proposals.
    """
    thresholds = check_thresholds("temporal_iou_thresholds", temporal_iou_thresholds)
    if not ground_truth or not total_num_proposals:
        raise EmptyError(f"average recall of {len(ground_truth)} videos with {total_num_proposals} proposals")
    videos = list(ground_truth)
    missing = [video for video in videos if video not in proposals]
    if missing:
        raise KeyError(f"proposals: no entry for {len(missing)} videos of the ground truth, {missing[0]!r} the first")

    budget = max_avg_proposals * len(videos) if max_avg_proposals else total_num_proposals
    segments = [check_segments(f"ground truth of {video!r}", ground_truth[video]) for video in videos]
    ranked = [_ranked(video, proposals[video]) for video in videos]
    if not any(map(len, ranked)):
        raise EmptyError("average recall: no video of the ground truth has a proposal")
    kept = np.array([min(int(len(rows) * (budget / total_num_proposals)), len(rows)) for rows in ranked])
    first = np.concatenate([_first_hits(*pair, thresholds) for pair in zip(segments, ranked, strict=True)])

    retrieved = kept.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.arange(1, 101) / 100.0 * (budget / retrieved if retrieved else np.inf)
        columns = np.minimum(kept[:, None] * share, kept[:, None]) if retrieved else np.zeros((len(videos), 100))
        limits = np.repeat(columns.astype(np.int64), [len(rows) for rows in segments], axis=0)  # [g, 100]
        found = np.array([np.count_nonzero(first[:, [t]] < limits, axis=0) for t in range(len(thresholds))])
        recall = found / np.float64(len(first))
        proposals_per_video = share * (retrieved / len(videos))
        avg_recall = recall.mean(axis=0)
        auc = 100 * np.trapezoid(avg_recall, proposals_per_video) / proposals_per_video[-1]
    return AverageRecall(recall, avg_recall, proposals_per_video, float(auc))


def check_thresholds(name: str, thresholds) -> np.ndarray:
    """Temporal IoU thresholds as float64 [t]; ValueError outside (0, 1]."""
    thresholds = np.asarray(thresholds, np.float64).reshape(-1)
    if not len(thresholds) or not ((thresholds > 0) & (thresholds <= 1)).all():
        raise ValueError(f"{name}: got {thresholds.tolist()}; expected numbers above 0, at most 1")
    return thresholds


def _ranked(video, proposals) -> np.ndarray:
    """Proposals of a video [n, 3], best first."""
    name = f"proposals of {video!r}"
    scores = check_columns(name, proposals, columns=3)[:, 2]
    return check_segments(name, proposals)[best_first(scores)]


def _first_hits(segments: np.ndarray, ranked: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Rank of the first proposal that reaches each threshold; n if none does -> int64 [g, t]."""
    best = np.fmax.accumulate(pairwise_iou(segments, ranked), axis=1)  # [g, n], never falls; NaN is no match
    return np.count_nonzero(~(best[:, None, :] >= thresholds[:, None]), axis=2)
