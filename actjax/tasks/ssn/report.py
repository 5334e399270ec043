"""Proposal scores -> detections, average precision per class, tables and files.

Two baselines are scored too. "proposals alone": each proposal is a detection of every class, ranked by its place in
the proposal file. "perfect scores": each proposal has its best-matching class, and its IoU as the score.
"""

import csv
import json
import logging
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from rich.box import SIMPLE

from actjax.data.datasets.ssn import Proposed
from actjax.data.datasets.ssn_lists import SSNRecord
from actjax.localization import grouped_nms, ssn_detections
from actjax.metrics import Instances, average_precisions, dump_results
from actjax.metrics.average_precision import join
from actjax.metrics.average_recall import THRESHOLDS, THUMOS14_THRESHOLDS
from actjax.segments import pairs, temporal_iou
from actjax.showing import Table, show
from actjax.tasks.ssn.scoring import load_results

log = logging.getLogger("actjax")

TIOU_THRESHOLDS = {"thumos14": THUMOS14_THRESHOLDS, "activitynet": THRESHOLDS}
SHOWN = {"thumos14": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7), "activitynet": (0.5, 0.75, 0.95)}


class Detect(NamedTuple):
    """Section `detect`: how proposal scores become detections, and how these are evaluated.

    top_k, nms, use_regression: see `localization.ssn_detections`.
    protocol: the tIoU thresholds. "thumos14": 0.1, 0.2, ..., 0.9; "activitynet": 0.5, 0.55, ..., 0.95.
    """

    top_k: int = 2000
    nms: float = 0.2
    use_regression: bool = True
    protocol: str = "thumos14"


def report(
    dataset: Proposed,
    folder: pathlib.Path,
    detect: Detect,
    workdir: pathlib.Path,
    *,
    name: str,
    about: dict,
    made_by: str = "",
) -> dict[str, float]:
    """Evaluates the detections of the validation split and returns the metrics. Writes `NAME.json`, `NAME_classes.csv`
    and `NAME_detections.json`. Only process 0 does this; the others return {}.

    Args:
      folder: output of `score_videos`, with the same `made_by`.
      name: NAME of the files.
      about: further entries for `NAME.json`.

    mAP is the mean over the classes with ground truth, as in the official toolkits. Unreadable videos count.

    Raises:
      ValueError: no video has ground truth.
    """
    if jax.process_index():
        return {}
    records, k, options = dataset.val, len(dataset.class_names), detect
    truth = join([_instances(n, r, r.ground_truth.segment, r.ground_truth.label) for n, r in enumerate(records)])
    if not len(truth.video):
        raise ValueError("data.val: none of its videos has ground truth, so there is nothing to score against")
    results = load_results(records, folder, k, made_by=made_by)
    found = ssn_detections(results, top_k=options.top_k, nms=options.nms, use_regression=options.use_regression)
    rivals = {
        "SSN": found,
        "proposals alone": join([_alone(n, record, k, options.nms) for n, record in enumerate(records)]),
        "perfect scores": join([_perfect(n, record, options.nms) for n, record in enumerate(records)]),
    }
    thresholds = TIOU_THRESHOLDS[options.protocol]
    tables = {who: _precisions(truth, rows, k, thresholds) for who, rows in rivals.items()}
    numbers = {}
    for who, table in tables.items():
        prefix = "" if who == "SSN" else who.split()[0] + "_"
        means = np.nanmean(table, axis=0)
        numbers |= {f"{prefix}mAP@{t:.2f}": float(x) for t, x in zip(thresholds, means, strict=True)}
        numbers[f"{prefix}average_mAP"] = float(means.mean())
    empty = sum(not len(result["activity_scores"]) for result in results)
    numbers |= {"num_videos": len(records), "num_empty": empty, **about}
    files = {what: workdir / f"{name}{end}" for what, end in
             (("results", ".json"), ("classes", "_classes.csv"), ("detections", "_detections.json"))}  # fmt: skip
    files["results"].write_text(json.dumps(numbers, indent=2))
    counts = np.bincount(truth.label, minlength=k)
    _write_classes(files["classes"], dataset.class_names, counts, tables["SSN"], thresholds)
    _write_detections(files["detections"], dataset, results, found)
    _show(tables, dataset.class_names, counts, options, thresholds)
    for what, file in files.items():
        show(f"{what:12} {file}")
    return numbers


def _instances(number: int, record: SSNRecord, segments, labels, scores=None) -> Instances:
    """Segments in frames with classes from 1 -> `Instances`: fractions of the video with classes from 0."""
    return Instances(np.full(len(segments), number), np.asarray(labels) - 1, segments / record.num_frames, scores)


def _alone(number: int, record: SSNRecord, num_classes: int, nms: float) -> Instances:
    segments = record.proposals.segment
    scores = 1 / (1 + np.arange(len(segments)))
    kept = grouped_nms(segments, scores, np.zeros(len(segments), np.int64), nms)
    labels = np.repeat(np.arange(1, num_classes + 1), len(kept))
    return _instances(
        number, record, np.tile(segments[kept], (num_classes, 1)), labels, np.tile(scores[kept], num_classes)
    )


def _perfect(number: int, record: SSNRecord, nms: float) -> Instances:
    """Proposals with the class of the ground truth they overlap most, and that IoU as the score."""
    segments, truths = record.proposals.segment, record.ground_truth
    if not len(segments) or not truths.size:
        return _instances(number, record, np.zeros((0, 2)), np.zeros(0, np.int64), np.zeros(0))
    table = temporal_iou(*pairs(segments, truths.segment))
    labels, scores = truths.label[table.argmax(axis=1)], table.max(axis=1)
    kept = grouped_nms(segments, scores, labels, nms)
    return _instances(number, record, segments[kept], labels[kept], scores[kept])


def _precisions(truth: Instances, found: Instances, num_classes: int, thresholds) -> np.ndarray:
    """Average precision [k, t], NaN for classes without ground truth."""
    table = average_precisions(truth, found, num_classes=num_classes, thresholds=thresholds)
    return np.where(np.isin(np.arange(num_classes), truth.label)[:, None], table, np.nan)


def _write_classes(path: pathlib.Path, names: Sequence[str], counts, table: np.ndarray, thresholds) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["class", "num_instances", *(f"AP@{t:.2f}" for t in thresholds)])
        for name, count, row in zip(names, counts, table, strict=True):
            writer.writerow([name, count, *("" if np.isnan(x) else f"{x:.6f}" for x in row)])


def _write_detections(path: pathlib.Path, dataset: Proposed, results: list[dict], found: Instances) -> None:
    """Writes ActivityNet's result format. Segments are in seconds or, with a warning, in frames if fps is unknown."""
    rates = [dataset.fps or float(result["fps"]) for result in results]
    known = all(rate > 0 for rate, result in zip(rates, results, strict=True) if len(result["activity_scores"]))
    if not known:
        log.warning("%s: segments are in frames; set data.fps to write them in seconds", path)
    lists = [[] for _ in dataset.val]
    for n, label, segment, score in zip(*(column.tolist() for column in found), strict=True):
        factor = dataset.val[n].num_frames / (rates[n] if known else 1)
        row = {"label": dataset.class_names[label], "score": score, "segment": [x * factor for x in segment]}
        lists[n].append(row)
    dump_results(
        [{"video_name": r.video, "proposal_list": rows} for r, rows in zip(dataset.val, lists, strict=True)],
        path,
        "json",
    )


def _show(tables: dict, names: Sequence[str], counts, options: Detect, thresholds) -> None:
    at = [int(np.argmin(np.abs(thresholds - t))) for t in SHOWN[options.protocol]]
    columns = [f"{thresholds[i]:.2f}" for i in at]
    cells = lambda row: [f"{row[i]:.3f}" for i in at]
    shown = Table("mAP at tIoU", *columns, "mean", title=f"{options.protocol}, {len(names)} classes", box=SIMPLE)
    for who, table in tables.items():
        means = np.nanmean(table, axis=0)
        shown.add_row(who, *cells(means), f"{means.mean():.3f}")
    show(shown)
    by_class = Table("AP of SSN at tIoU", "instances", *columns, box=SIMPLE)
    for name, count, row in zip(names, counts, tables["SSN"], strict=True):
        by_class.add_row(name, str(count), *cells(row))
    show(by_class)
