"""Average precision of temporal detections. Shapes: n detections, m ground truths, k classes, t thresholds."""

from typing import NamedTuple

import numpy as np

from actjax.errors import ShapeError
from actjax.metrics.average_recall import THRESHOLDS, check_thresholds
from actjax.segments import best_first, check_scores, check_segments, equal_pairs, temporal_iou


class Instances(NamedTuple):
    """Labelled segments of many videos: the ground truth, or detections with their scores."""

    video: np.ndarray  # int64 [n], numbered alike in ground truth and detections
    label: np.ndarray  # int64 [n], 0 .. k - 1
    segments: np.ndarray  # float64 [n, 2], start and end in any unit
    score: np.ndarray | None = None  # float64 [n]


def average_precisions(
    ground_truth: Instances, detections: Instances, *, num_classes: int, thresholds=THRESHOLDS, neutral=None
) -> np.ndarray:
    """Interpolated average precision of each class at each IoU threshold -> float64 [k, t].

    In order of descending score (the later row first among equal scores), each detection claims the unclaimed ground
    truth of its video and class with the highest IoU, if this reaches the threshold. All other detections are false.
    Precision is interpolated as in Pascal VOC 2011: the highest at any later recall.

    >>> segments = np.array([[0.0, 10.0], [20.0, 30.0]])
    >>> truth = Instances(video=np.array([0, 0]), label=np.array([0, 0]), segments=segments)
    >>> found = truth._replace(segments=segments + [0, 2], score=np.array([0.9, 0.8]))
    >>> average_precisions(truth, found, num_classes=1, thresholds=(0.5, 0.9)).tolist()
    [[1.0, 0.0]]

    Args:
      neutral: bool [n], detections that are ignored rather than false if they claim nothing. None: none.

    A class without detections scores 0; with detections but no ground truth, NaN. Two segments of zero length (IoU
    NaN) match, as in the official ActivityNet toolkit: perfect detections score exactly 1.
    """
    thresholds = check_thresholds("thresholds", thresholds)
    order = best_first(detections.score, group=detections.label)
    labels = detections.label[order]
    hits = _claims(ground_truth, Instances(*(column[order] for column in detections)), thresholds)  # [t, n]
    counted = np.ones_like(hits) if neutral is None else hits | ~neutral[order]

    positives = np.bincount(ground_truth.label, minlength=num_classes)
    result = np.zeros((num_classes, len(thresholds)))
    for k, (a, b) in enumerate(zip(*_runs(labels, num_classes), strict=True)):
        if b > a:
            result[k] = _interpolated(hits[:, a:b], counted[:, a:b], positives[k])
    return result


def eval_ap(detections, gt_by_cls, iou_range) -> np.ndarray:
    """Average precision of every class at every IoU -> float64 [k, t].

    >>> detections = {0: [["a", 0, 0, 8, 0.9], ["a", 0, 21, 40, 0.8]]}
    >>> eval_ap(detections, {0: {"a": np.array([[0, 10], [20, 30]])}}, iou_range=(0.4, 0.5)).tolist()
    [[1.0, 0.5]]

    Args:
      detections: {class: rows [video, class, start, end, score]} for the classes 0 .. k - 1, or a list of k.
      gt_by_cls: {class: {video: [m, 2]}}; classes beyond k are ignored.
      iou_range: IoU thresholds in (0, 1].

    Raises:
      KeyError: a class is missing in either argument. Others as in `average_precision_at_temporal_iou`.

    Matches as in `average_precisions`. Source: eval_ap of MMAction2 0.6.
    """
    num_classes = len(detections)
    if isinstance(detections, dict):
        _each_class("detections", detections, num_classes)
    _each_class("gt_by_cls", gt_by_cls, num_classes)
    videos: dict = {}
    truth = [truth_of_class(k, gt_by_cls[k], videos) for k in range(num_classes)]
    found = [_detections(k, detections[k], videos) for k in range(num_classes)]
    return average_precisions(join(truth), join(found), num_classes=num_classes, thresholds=iou_range)


def join(parts: list[Instances]) -> Instances:
    """Concatenates tables; `score` is None if any of them has none."""
    return Instances(*(None if any(c is None for c in column) else np.concatenate(column)
                       for column in zip(*[EMPTY, *parts], strict=True)))  # fmt: skip


EMPTY = Instances(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 2)), np.zeros(0))


def _each_class(name: str, table, num_classes: int) -> None:
    missing = [k for k in range(num_classes) if k not in table]
    if missing:
        raise KeyError(f"{name}: no class {missing[0]}; expected the classes 0 to {num_classes - 1}")


def truth_of_class(label: int, by_video, videos: dict) -> Instances:
    """Ground truth {video: [m, 2]} of one class; `videos` maps names to numbers and is extended with new names."""
    segments = [check_segments(f"ground truth of class {label}, video {v!r}", rows) for v, rows in by_video.items()]
    numbers = [videos.setdefault(video, len(videos)) for video in by_video]
    video = np.repeat(np.array(numbers, np.int64), [len(rows) for rows in segments])
    return Instances(video, np.full(len(video), label), np.concatenate([np.zeros((0, 2)), *segments]))


def _detections(label: int, rows, videos: dict) -> Instances:
    table = np.empty((len(rows), 5), object) if not len(rows) else np.array(rows, dtype=object)
    if table.ndim != 2 or table.shape[1] < 5:
        raise ShapeError(f"detections of class {label}: expected rows [video, class, start, end, score]")
    video = np.array([videos.setdefault(name, len(videos)) for name in table[:, 0]], np.int64)
    name = f"detections of class {label}"
    segments, score = check_segments(name, table[:, 2:]), check_scores(name, table[:, 4])
    return Instances(video, np.full(len(video), label), segments, score)


def _runs(labels: np.ndarray, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """First row and last row + 1 of every class in ascending `labels`."""
    classes = np.arange(num_classes)
    return np.searchsorted(labels, classes), np.searchsorted(labels, classes, side="right")


def _claims(truth: Instances, found: Instances, thresholds: np.ndarray) -> np.ndarray:
    """Whether each detection (best first) claims a ground truth -> bool [t, n]."""
    num_videos = 1 + int(np.concatenate([[0], truth.video, found.video]).max())
    group, wanted = truth.label * num_videos + truth.video, found.label * num_videos + found.video
    i, j = equal_pairs(wanted, group)
    iou = temporal_iou(*truth.segments[j].T, *found.segments[i].T)
    close = ~(iou < thresholds.min())
    i, j, iou = i[close], j[close], iou[close]
    ranking = best_first(iou, group=i)  # each detection's ground truths, most overlap first, NaN before all
    i, j, iou = i[ranking], j[ranking], iou[ranking]
    first = np.searchsorted(i, np.arange(len(wanted)))
    reached = [np.bincount(i[~(iou < threshold)], minlength=len(wanted)) for threshold in thresholds]
    return np.array([_settle(j, first, first + count, len(group)) for count in reached])


def _settle(choices: np.ndarray, first: np.ndarray, last: np.ndarray, num_truths: int) -> np.ndarray:
    """Whether each detection is assigned a ground truth -> bool [n].

    Detection i prefers choices[first[i]:last[i]] in that order; smaller i have priority. Deferred acceptance (Gale and
    Shapley 1962) gives the same result as the sequential loop: in each round every detection asks for its next choice,
    the smallest i that asks for a ground truth holds it, and all others move on.
    """
    at, asking = first.copy(), np.flatnonzero(first < last)
    while len(asking):
        wanted = choices[at[asking]]
        holder = np.full(num_truths, len(first))
        np.minimum.at(holder, wanted, asking)
        refused = asking[holder[wanted] != asking]
        if not len(refused):
            break
        at[refused] += 1
        asking = asking[at[asking] < last[asking]]
    return at < last


def _interpolated(hits: np.ndarray, counted: np.ndarray, positives: int) -> np.ndarray:
    """Average precision from hits in descending score order [t, n] -> float64 [t]."""
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.nan_to_num(np.cumsum(hits, axis=1) / np.cumsum(counted, axis=1))
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        return np.where(hits, envelope, 0).sum(axis=1) / np.float64(positives)
