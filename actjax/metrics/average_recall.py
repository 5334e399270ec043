"""Average recall at an average number of proposals (AR@AN). Shapes: v videos, g segments, n proposals, t thresholds."""

from typing import NamedTuple

import numpy as np

from actjax.errors import EmptyError
from actjax.segments import best_first, check_columns, check_segments, temporal_iou

# tIoU thresholds of ActivityNet and of THUMOS14
THRESHOLDS = np.linspace(0.5, 0.95, 10)
THUMOS14_THRESHOLDS = np.arange(1, 10) / 10
BLOCK = 2**18  # pairs of ground truth and proposal to compare at once


class AverageRecall(NamedTuple):
    """Recall [t, 100] and its mean over thresholds [100] at 100 budgets; the budgets in proposals per video [100];
    the area under the mean curve, in percent of a perfect rectangle."""

    recall: np.ndarray
    avg_recall: np.ndarray
    proposals_per_video: np.ndarray
    auc: float


def average_recall_at_avg_proposals(
    ground_truth, proposals, total_num_proposals, max_avg_proposals=None, temporal_iou_thresholds=THRESHOLDS
) -> AverageRecall:
    """Share of the ground truth that the best proposals find, over the number of proposals per video.

    >>> truth = {"a": np.array([[0, 10], [20, 30]])}
    >>> proposals = {"a": np.array([[0, 9, 0.9], [20, 24, 0.8]])}
    >>> score = average_recall_at_avg_proposals(truth, proposals, total_num_proposals=2)
    >>> score.proposals_per_video[-1].item(), score.avg_recall[-1].round(3).item(), round(score.auc, 1)
    (2.0, 0.45, 22.7)

    Args:
      ground_truth: {video: [g, 2 or more]}, start and end in any unit.
      proposals: {video: [n, 3 or more]}, start, end, score; [0, 3] for an annotated video without proposals. Videos
        without ground truth are ignored.
      total_num_proposals: number of all proposals, including ignored videos; it sets the share that is kept.
      max_avg_proposals: the last budget, in proposals per video; None or 0: all proposals.
      temporal_iou_thresholds: IoUs in (0, 1] from which a segment counts as found.

    Raises:
      EmptyError: no video, or no proposal at all. KeyError: a video without an entry in `proposals`.
      ShapeError, TypeError, ValueError: as `check_segments`, naming the video.

    Every video keeps the same share of its proposals, best first (the later row among equal scores, NaN before all).
    Kept from MMAction2 0.6, which follows the official ActivityNet toolkit: the area starts at the first budget, not at
    0, so perfect proposals score 99; shares are rounded down to whole proposals; two segments of zero length do not
    match; no ground truth gives NaN. Fixed: IoU is float64, as in the official toolkit; without `max_avg_proposals`
    nothing is lost to rounding. Source: MMAction2's average_recall_at_avg_proposals.
    """
    thresholds = check_thresholds("temporal_iou_thresholds", temporal_iou_thresholds)
    if not ground_truth or not total_num_proposals:
        raise EmptyError(f"average recall of {len(ground_truth)} videos with {total_num_proposals} proposals")
    videos = list(ground_truth)
    missing = [video for video in videos if video not in proposals]
    if missing:
        raise KeyError(f"proposals: no entry for {len(missing)} videos of the ground truth, {missing[0]!r} the first")

    truth, sizes = _stack("ground truth", ground_truth, videos, columns=2)
    rows, counts = _stack("proposals", proposals, videos, columns=3)
    if not len(rows):
        raise EmptyError("average recall: no video of the ground truth has a proposal")
    budget = max_avg_proposals * len(videos) if max_avg_proposals else total_num_proposals
    kept = np.minimum((counts * (budget / total_num_proposals)).astype(np.int64), counts)
    first = _first_hits(truth, np.repeat(np.arange(len(videos)), sizes), rows, counts, kept, thresholds)

    retrieved = kept.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.arange(1, 101) / 100.0 * (budget / retrieved)
        columns = np.fmin(kept[:, None] * share, kept[:, None])  # 0 where nothing is kept (0 x inf)
        limits = np.repeat(columns.astype(np.int64), sizes, axis=0)  # [g, 100]
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
        raise ValueError(f"{name}: got {thresholds.tolist()}; expected numbers in (0, 1]")
    return thresholds


def _stack(name: str, tables, videos: list, *, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Stacks the tables of all videos -> rows, number of rows per video; errors name the video."""
    parts = [check_columns(f"{name} of {video!r}", tables[video], columns=columns) for video in videos]
    rows = np.concatenate(parts)
    if not (np.isfinite(rows[:, :2]).all() and (rows[:, 0] <= rows[:, 1]).all()):
        for video, part in zip(videos, parts, strict=True):
            check_segments(f"{name} of {video!r}", part)
    return rows, np.array([len(part) for part in parts])


def _first_hits(truth, owner, proposals, counts, kept, thresholds) -> np.ndarray:
    """Rank of the first of its video's `kept` best proposals that reaches each threshold -> int64 [g, t].

    A rank of `kept` or more: none does. Ground truths are processed in blocks whose videos keep similar numbers of
    proposals: this bounds memory with little padding.
    """
    video = np.repeat(np.arange(len(counts)), counts)
    ranked = proposals[best_first(proposals[:, 2], group=video)]
    start = np.cumsum(counts) - counts
    first = np.empty((len(truth), len(thresholds)), np.int64)
    order = np.argsort(kept[owner], kind="stable")
    pairs = np.cumsum(kept[owner[order]])
    for block in np.split(order, np.searchsorted(pairs, np.arange(BLOCK, pairs.max(initial=0), BLOCK))):
        rank = np.arange(kept[owner[block]].max(initial=0))
        exists = rank < kept[owner[block], None]
        s, e = ranked[np.where(exists, start[owner[block], None] + rank, 0), :2].transpose(2, 0, 1)
        iou = np.where(exists, temporal_iou(s, e, *truth[block].T[:, :, None]), np.nan)
        best = np.fmax.accumulate(iou, axis=1)  # non-decreasing; NaN is no match
        first[block] = np.count_nonzero(~(best[:, None] >= thresholds[:, None]), axis=2)
    return first
