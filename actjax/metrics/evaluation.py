"""Evaluation of whole data sets: results, ground truth -> named numbers."""

import logging
from typing import NamedTuple

import numpy as np

from actjax.errors import MissingError, ShapeError, shown
from actjax.metrics.average_precision import Instances, average_precisions
from actjax.metrics.average_recall import THRESHOLDS, AverageRecall, average_recall_at_avg_proposals
from actjax.metrics.ground_truth import GroundTruth
from actjax.metrics.multilabel import class_mean_average_precision, sample_mean_average_precision
from actjax.metrics.recognition import mean_class_accuracy, top_k_accuracy
from actjax.metrics.results import Predictions, proposals2json, video_id
from actjax.segments import equal_pairs, intersection

log = logging.getLogger(__name__)

UNKNOWN_VIDEOS = ("error", "count", "drop")


class DetectionScore(NamedTuple):
    """Average precision [k, t] by class and IoU threshold, its mean over classes [t], and their mean."""

    average_precision: np.ndarray
    mAP: np.ndarray
    average_mAP: float


def evaluate_proposals(
    ground_truth: GroundTruth, predictions: Predictions, *, max_avg_proposals=100, unknown_videos: str = "error"
) -> AverageRecall:
    """AR@AN of a result file as the official ActivityNet toolkit computes it, thresholds 0.5, 0.55, ..., 0.95.

    >>> from actjax.metrics import activitynet_ground_truth
    >>> annotations = {"a": {"annotations": [{"segment": [0, 10], "label": "jump"}]}}
    >>> truth = activitynet_ground_truth("a.json", "one video", annotations)
    >>> found = Predictions("b.json", np.array(["a"]), segments=np.array([[0, 8]]), score=np.array([0.9]), label=None)
    >>> round(evaluate_proposals(truth, found, max_avg_proposals=1).auc, 2)
    0.35

    Args:
      max_avg_proposals: as in `average_recall_at_avg_proposals`.
      unknown_videos: predictions for videos not in the ground truth: "error"; "count" them in the number of proposals,
        as the toolkit does; or "drop" them. Predictions for `ground_truth.left_out` are always dropped.

    As in the toolkit, a video without segments does not count as a video, but its proposals count.

    Raises:
      KeyError: an unknown video. EmptyError: no proposal.
    """
    predictions, owner = _known(ground_truth, predictions, unknown_videos)
    truth, count = ground_truth.instances, len(ground_truth.videos)
    annotated = np.unique(truth.video)
    segments = _split(truth.segments, truth.video, count)
    rows = np.concatenate([predictions.segments, predictions.score[:, None]], axis=1)
    proposals = _split(rows, owner, count + 1)
    videos = {ground_truth.videos[i]: i for i in annotated}
    return average_recall_at_avg_proposals(
        {video: segments[i] for video, i in videos.items()},
        {video: proposals[i] for video, i in videos.items()},
        len(rows),
        max_avg_proposals,
    )


def evaluate_detections(
    ground_truth: GroundTruth, predictions: Predictions, *, thresholds=THRESHOLDS, unknown_videos: str = "error"
) -> DetectionScore:
    """Mean average precision of a result file as the official ActivityNet toolkit computes it.

    >>> from actjax.metrics import activitynet_ground_truth
    >>> annotations = {"a": {"annotations": [{"segment": [0, 10], "label": "jump"}]}}
    >>> truth = activitynet_ground_truth("a.json", "one video", annotations)
    >>> found = Predictions("b.json", np.array(["a"]), np.array([[0, 8]]), np.array([0.9]), np.array(["jump"]))
    >>> evaluate_detections(truth, found, thresholds=(0.5, 0.75, 0.95)).mAP.tolist()
    [1.0, 1.0, 0.0]

    Args:
      thresholds: temporal IoU thresholds [t].
      unknown_videos: as in `evaluate_proposals`; "count" them as false detections, as the toolkit does.

    Raises:
      KeyError: an unknown video or class. ValueError: predictions without labels.
    """
    predictions, video = _known(ground_truth, predictions, unknown_videos)
    if predictions.label is None and len(predictions.score):
        raise ValueError(f"{predictions.name}: an entry has no 'label'; detections need one, proposals do not")
    num_classes = len(ground_truth.labels)
    label = _positions(predictions.label if predictions.label is not None else [], ground_truth.labels)
    if (label == num_classes).any():
        strange = str(predictions.label[np.argmax(label == num_classes)])
        raise MissingError(f"{predictions.name}: class {strange!r} is not in the ground truth, which has "
                       f"{ground_truth.labels[:3]}...")  # fmt: skip
    found = Instances(video, label, predictions.segments, predictions.score)
    neutral = None if ground_truth.ambiguous is None else _touches(found, ground_truth.ambiguous)
    precision = average_precisions(
        ground_truth.instances, found, num_classes=num_classes, thresholds=thresholds, neutral=neutral
    )
    means = precision.mean(axis=0)
    return DetectionScore(precision, means, float(means.mean()))


def evaluate_recognition(
    scores, labels: list[list[int]], *, topk: tuple[int, ...] = (1, 5), multi_label: bool | None = None
) -> dict[str, float]:
    """Accuracies of scores [n, k] with one label each; with several labels both kinds of mean average precision.

    >>> evaluate_recognition(np.array([[0.7, 0.3], [0.6, 0.4]]), labels=[[0], [1]], topk=(1, 2))
    {'top1_acc': 0.5, 'top2_acc': 1.0, 'mean_class_accuracy': 0.5}

    Args:
      topk: those above k are left out, as every label would be among the best.
      multi_label: whether a video may have several labels; None: if any has several, or none. Videos without a label
        do not count in the mean over samples.

    Raises:
      ValueError: a label that is not a class.
    """
    scores = np.asarray(scores)
    for label in (label for row in labels for label in row):
        if label not in range(scores.shape[1]):
            raise ValueError(f"label {label} for scores of {scores.shape[1]} classes; the first label is 0")
    if multi_label is None:
        multi_label = any(len(row) != 1 for row in labels)
    if not multi_label:
        single, topk = np.array(labels)[:, 0], [k for k in topk if k <= scores.shape[1]]
        accuracies = zip(topk, top_k_accuracy(scores, single, topk), strict=True)
        return {f"top{k}_acc": x for k, x in accuracies} | {"mean_class_accuracy": mean_class_accuracy(scores, single)}
    hot = np.zeros(scores.shape, np.int64)
    for row, positives in zip(hot, labels, strict=True):
        row[positives] = 1
    known = hot.any(1)
    return {
        "mAP_over_classes": class_mean_average_precision(list(scores), list(hot)),
        "mAP_over_samples": sample_mean_average_precision(list(scores[known]), list(hot[known])),
    }


def evaluate_activitynet(
    results,
    annotations: dict[str, dict],
    *,
    metrics="AR@AN",
    max_avg_proposals=100,
    temporal_iou_thresholds=THRESHOLDS,
) -> dict[str, float]:
    """AR@AN of results in memory -> {"auc", "AR@1", "AR@5", "AR@10", "AR@100"}.

    >>> results = [{"video_name": "v_a", "proposal_list": [{"segment": [0, 9], "score": 0.9}]}]
    >>> annotations = {"v_a": {"annotations": [{"segment": [0, 10]}]}}
    >>> numbers = evaluate_activitynet(results, annotations, max_avg_proposals=1)
    >>> {name: round(number, 2) for name, number in numbers.items()}
    {'auc': 0.45, 'AR@1': 0.0, 'AR@5': 0.0, 'AR@10': 0.0, 'AR@100': 0.9}

    Args:
      results: list [{"video_name", "proposal_list": [{"segment", "score"}]}] in any order.
      annotations: content of an annotation file, {"v_id": {"annotations": [{"segment"}]}}.
      metrics: "AR@AN", or a list of it; [] gives {}.

    Raises:
      TypeError: results are not a list. ShapeError: the numbers of results and videos differ. KeyError: unknown metric,
      or a video without a result. Others as in `average_recall_at_avg_proposals`.

    Kept from MMAction2 0.6: the names do not depend on `max_avg_proposals`: with 30, AR@100 is at 30 proposals. Fixed:
    videos without proposals or annotations count. Source: ActivityNetDataset.evaluate.
    """
    if not check_results(results, len(annotations), metrics, allowed=("AR@AN",)):
        return {}
    options = dict(max_avg_proposals=max_avg_proposals, temporal_iou_thresholds=temporal_iou_thresholds)
    return proposal_numbers(activitynet_recall(results, annotations, **options))


def activitynet_recall(
    results: list[dict], annotations: dict[str, dict], *, max_avg_proposals=100, temporal_iou_thresholds=THRESHOLDS
) -> AverageRecall:
    """AR@AN of results in memory, as a curve; arguments as in `evaluate_activitynet`.

    >>> results = [{"video_name": "v_a", "proposal_list": [{"segment": [0, 9], "score": 0.9}]}]
    >>> annotations = {"v_a": {"annotations": [{"segment": [0, 10]}]}}
    >>> activitynet_recall(results, annotations, max_avg_proposals=1).recall[:, -1].tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]
    """
    ground_truth = {video_id(name): [a["segment"] for a in entry["annotations"]] for name, entry in annotations.items()}
    proposals = {video: [[*p["segment"], p["score"]] for p in rows] for video, rows in proposals2json(results).items()}
    total = sum(map(len, proposals.values()))
    return average_recall_at_avg_proposals(ground_truth, proposals, total, max_avg_proposals, temporal_iou_thresholds)


def proposal_numbers(score: AverageRecall) -> dict[str, float]:
    """The numbers that papers report: area in percent, then recall at budgets 1, 5, 10 and 100 of the 100.

    >>> budgets = np.arange(1, 101)
    >>> proposal_numbers(AverageRecall(recall=None, avg_recall=budgets / 100, proposals_per_video=budgets, auc=50.0))
    {'auc': 50.0, 'AR@1': 0.01, 'AR@5': 0.05, 'AR@10': 0.1, 'AR@100': 1.0}
    """
    return {"auc": score.auc} | {f"AR@{k}": float(score.avg_recall[k - 1]) for k in (1, 5, 10, 100)}


def check_results(results, count: int, metrics, *, allowed: tuple[str, ...]) -> list[str]:
    """The requested metrics as a list, after the checks that every `evaluate` in MMAction2's data sets makes."""
    if not isinstance(results, list):
        raise TypeError(f"results are a {type(results).__name__}; expected a list")
    if len(results) != count:
        raise ShapeError(f"{len(results)} results for {count} videos")
    metrics = [metrics] if isinstance(metrics, str) else list(metrics)
    unknown = [metric for metric in metrics if metric not in allowed]
    if unknown:
        raise KeyError(f"metric {unknown[0]!r}; choose from {allowed}")
    return metrics


def _known(ground_truth: GroundTruth, predictions: Predictions, unknown_videos: str) -> tuple[Predictions, np.ndarray]:
    """Predictions without `left_out` videos, unknown videos handled as `unknown_videos` says; and the index of each
    prediction's video, len(videos) if unknown."""
    if unknown_videos not in UNKNOWN_VIDEOS:
        raise ValueError(f"unknown_videos={unknown_videos!r}; choose from {UNKNOWN_VIDEOS}")
    _check_seconds(ground_truth, predictions)
    number = _positions(predictions.video, ground_truth.videos)
    elsewhere = np.flatnonzero(number == len(ground_truth.videos))
    unknown = [i for i in elsewhere if predictions.video[i] not in ground_truth.left_out]
    if unknown_videos == "error" and unknown:
        names = np.unique(predictions.video[unknown])
        raise MissingError(
            f"{predictions.name}: {len(names)} videos, {str(names[0])!r} the first, are not in the ground truth "
            f"({ground_truth.name}), whose first is {ground_truth.videos[0]!r}; choose another --subset, or say "
            "with --unknown-videos how to treat them"
        )
    keep = number < len(ground_truth.videos)
    if unknown_videos == "count":
        keep[unknown] = True
    _, *columns = predictions
    kept = Predictions(predictions.name, *(None if column is None else column[keep] for column in columns))
    return kept, number[keep]


def _check_seconds(ground_truth: GroundTruth, predictions: Predictions) -> None:
    """Warns if predictions begin after the end of their video, as those in frames do, or if all end within a second.

    Raises:
      ValueError: more than half begin after the end.
    """
    known, segments = ground_truth.durations, predictions.segments
    if not known or not len(segments):
        return
    durations = np.array([known.get(video, np.inf) for video in predictions.video.tolist()])
    late = np.flatnonzero(segments[:, 0] > durations)
    if len(late) > 0.01 * len(segments):
        k = late[0]
        told = (
            f"{predictions.name}: {len(late)} of {len(segments)} predictions begin after the end of their video, the "
            f"first {segments[k].tolist()} of {durations[k]:g} s in {shown(str(predictions.video[k]))}; they must be "
            "in seconds"
        )
        if len(late) > 0.5 * len(segments):
            raise ValueError(told)
        log.warning("%s", told)
    if segments.max() <= 1 and np.median([*known.values()]) > 10:
        log.warning(
            "%s: all predictions end within a second, as fractions do; they must be in seconds", predictions.name
        )


def _positions(names, known: list[str]) -> np.ndarray:
    """Index of each name in `known`, or len(known) if it is not there -> int64 [n]."""
    position = {name: i for i, name in enumerate(known)}
    return np.array([position.get(name, len(known)) for name in names], np.int64)


def _split(rows: np.ndarray, owner: np.ndarray, count: int) -> list[np.ndarray]:
    """Rows of each owner 0 .. count - 1, in order."""
    order = np.argsort(owner, kind="stable")
    return np.split(rows[order], np.searchsorted(owner[order], np.arange(1, count)))


def _touches(found: Instances, ambiguous: Instances) -> np.ndarray:
    """Whether each detection overlaps an ambiguous segment of its video -> bool [n]."""
    i, j = equal_pairs(found.video, ambiguous.video)
    common = intersection(*found.segments[i].T, *ambiguous.segments[j].T) > 0
    return np.bincount(i[common], minlength=len(found.video)) > 0
