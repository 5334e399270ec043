"""Results -> tables, files and a plot, with two baselines: content-blind windows and the ground truth."""

import json
import logging
import pathlib
import time
from typing import NamedTuple

import jax
import numpy as np

from actjax.localization import detections_from_proposals, uniform_proposals
from actjax.metrics import (
    AverageRecall,
    Predictions,
    activitynet_ground_truth,
    activitynet_recall,
    dump_results,
    evaluate_detections,
    load_class_scores,
    load_results,
    proposal_numbers,
    proposals2json,
)
from actjax.metrics.average_recall import THRESHOLDS
from actjax.metrics.plots import plot_average_recall
from actjax.metrics.results import video_id
from actjax.showing import Table, show
from actjax.tasks.bsn.proposals import in_seconds

log = logging.getLogger("actjax")

BUDGETS = (1, 5, 10, 20, 50, 100)


class Detect(NamedTuple):
    """Section `detect`: each proposal becomes a detection of each of its video's `top_classes` best classes."""

    top_classes: int = 2


def report(results: list[dict], dataset, detect: Detect, workdir: pathlib.Path, *, name: str, started: float) -> dict:
    """Scores the proposals and returns the metrics. Writes `NAME.json` and `NAME_ar_an.png`, and with class scores
    `NAME_detections.json`. Only process 0 does this; the others return {}.

    Two baselines are scored too: "uniform", windows that do not look at the video, and "ground truth", the annotated
    segments repeated until there are as many.
    """
    if jax.process_index():
        return {}
    records = dataset.val
    truth = {record.video: {"annotations": record.annotations} for record in records}
    windows = uniform_proposals()
    bounds = {
        "uniform": [in_seconds(windows, record, len(windows)) for record in records],
        "ground truth": [_known(record.annotations, len(windows)) for record in records],
    }
    curves = {"proposals": activitynet_recall(results, truth)}
    for kind, lists in bounds.items():
        rows = [{"video_name": r.video, "proposal_list": rows} for r, rows in zip(records, lists, strict=True)]
        curves[kind] = activitynet_recall(rows, truth)
    numbers = proposal_numbers(curves["proposals"])
    for kind in bounds:
        numbers |= {f"{kind.replace(' ', '_')}_{k}": x for k, x in proposal_numbers(curves[kind]).items()}
    files = {"proposals": workdir / f"{name}_proposals.json"}
    if dataset.class_scores:
        files["detections"] = workdir / f"{name}_detections.json"
        numbers |= _detections(results, dataset, detect.top_classes, truth, files["detections"])
    empty = sum(not row["proposal_list"] for row in results)
    numbers |= {"num_videos": len(records), "num_empty": empty, "seconds": time.perf_counter() - started}
    (workdir / f"{name}.json").write_text(json.dumps(numbers, indent=2, default=float))
    files["plot"] = _plot(workdir / f"{name}_ar_an.png", curves["proposals"])
    _show(curves, numbers, files | {name: workdir / f"{name}.json"})
    return numbers


def _known(annotations: list[dict], number: int) -> list[dict]:
    """`number` proposals: the ground-truth segments, repeated."""
    if not annotations:
        return []
    return [{"segment": annotations[k % len(annotations)]["segment"], "score": 1 / (k + 1)} for k in range(number)]


def _detections(results, dataset, top_classes: int, truth: dict, path: pathlib.Path) -> dict[str, float]:
    """Writes detections made from proposals to `path` -> mAP at each tIoU threshold and their mean."""
    class_names, scores = load_class_scores(dataset.class_scores)
    ids = proposals2json(results)
    found = detections_from_proposals(ids, scores, class_names, top_classes=top_classes)
    if len(found) < len(ids):
        log.warning("%s: no class scores for %d videos", dataset.class_scores, len(ids) - len(found))
    dump_results([{"video_name": video, "proposal_list": rows} for video, rows in found.items()], path, "json")
    entries = {video_id(video): entry for video, entry in truth.items()}
    ground_truth = activitynet_ground_truth("the annotations", "validation", entries)
    score = evaluate_detections(ground_truth, _of_classes(load_results(path), ground_truth.labels))
    return {f"mAP@{t:.2f}": float(x) for t, x in zip(THRESHOLDS, score.mAP, strict=True)} | {
        "average_mAP": score.average_mAP
    }


def _of_classes(predictions: Predictions, labels: list[str]) -> Predictions:
    """The detections whose class occurs in the ground truth; mAP is the mean over these classes.

    Raises:
      ValueError: no class occurs, so the names do not match.
    """
    known = np.isin(predictions.label if predictions.label is not None else [], labels)
    if not known.any():
        raise ValueError(f"data.class_scores: none of its classes is in the annotations, which have {labels[:3]}...")
    return Predictions(predictions.name, *(column[known] for column in predictions[1:]))


def _plot(path: pathlib.Path, score: AverageRecall) -> pathlib.Path | str:
    try:
        plot_average_recall(path, score, THRESHOLDS)
    except ImportError as error:
        return str(error)
    return path


def _show(curves: dict[str, AverageRecall], numbers: dict, files: dict) -> None:
    table = Table("proposals per video", *map(str, BUDGETS), "AUC", title="average recall, tIoU 0.5 to 0.95")
    for kind, score in curves.items():
        table.add_row(kind, *(f"{score.avg_recall[k - 1]:.4f}" for k in BUDGETS), f"{score.auc:.2f}")
    show(table)
    if "average_mAP" in numbers:
        shown = {name: value for name, value in numbers.items() if name in ("mAP@0.50", "mAP@0.75", "mAP@0.95")}
        parts = [f"{name} {value:.4f}" for name, value in shown.items()]
        show("detections   " + "  ".join([*parts, f"mean {numbers['average_mAP']:.4f}"]))
    for what, file in files.items():
        show(f"{what:12} {file}")
