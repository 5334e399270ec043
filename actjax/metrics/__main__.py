"""Scores a result file: `python -m actjax.metrics TASK --ground-truth PATH --predictions PATH`, or `actjax-metrics`."""

import argparse
import contextlib
import json
import logging
import pathlib
import sys

import numpy as np

from actjax.errors import ending
from actjax.literal import literal
from actjax.metrics import evaluation, ground_truth, results, score_files
from actjax.metrics.average_recall import THRESHOLDS, THUMOS14_THRESHOLDS
from actjax.metrics.matching import rows_of
from actjax.metrics.plots import plot_average_precision, plot_average_recall
from actjax.metrics.recognition import get_weighted_score
from actjax.text_files import suffix_of

log = logging.getLogger(__name__)


def main(arguments=None) -> None:
    logging.basicConfig(format="%(levelname)s: %(message)s")
    options = _parser().parse_args(arguments)
    try:
        report = options.run(options)
    except (ValueError, TypeError, KeyError, OSError, ImportError) as error:
        sys.exit(literal(ending(error)))
    with contextlib.suppress(BrokenPipeError):  # of `| head`
        if options.json:
            print(json.dumps(report, indent=1), flush=True)
        else:
            _print(report)


def proposals(options) -> dict:
    """AR@AN of proposals on ActivityNet."""
    truth = _activitynet(options)
    found = results.load_results(options.predictions)
    score = evaluation.evaluate_proposals(truth, found, unknown_videos=options.unknown_videos)
    if options.plot:
        plot_average_recall(options.plot, score, THRESHOLDS)
    recalls = {f"recall@100, tIoU {t:.2f}": float(r) for t, r in zip(THRESHOLDS, score.recall[:, -1], strict=True)}
    return _report(options, truth, found, evaluation.proposal_numbers(score) | recalls)


def activitynet_detection(options) -> dict:
    """Mean average precision of detections on ActivityNet."""
    return _detection(options, _activitynet(options), THRESHOLDS)


def thumos14(options) -> dict:
    """Mean average precision of detections on THUMOS14."""
    truth = ground_truth.load_thumos14(
        options.ground_truth,
        ambiguous=options.ambiguous,
        cliff_diving=options.cliff_diving,
        block_list=options.block_list,
        subset=options.subset,
    )
    return _detection(options, truth, THUMOS14_THRESHOLDS)


def accuracy(options) -> dict:
    """Recognition accuracy, or mean average precision with several labels; fuses the scores of several models."""
    names, labels, several = _labels(options)
    _compare_labels(options, names, labels)
    coefficients = options.coefficients or [1.0] * len(options.predictions)
    if len(coefficients) != len(options.predictions) or not np.isfinite(coefficients).all():
        raise ValueError(
            f"--coefficients {coefficients}: {len(options.predictions)} files of scores need as many finite numbers"
        )
    scores = [score_files.load_scores(path, names) for path in options.predictions]
    fused = np.array(get_weighted_score(scores, coefficients))
    truth = options.ground_truth or options.predictions[0]
    try:
        numbers = evaluation.evaluate_recognition(fused, labels, multi_label=several)
    except ValueError as error:
        raise ValueError(f"{truth}: {error}") from None
    if not np.isfinite([*numbers.values()]).all():
        raise ValueError(f"{truth}: no video has a label, or the sum of the scores is not finite")
    in_order = [path for path in options.predictions if suffix_of(path) == ".npy"]
    note = f"; rows of {', '.join(in_order)} in the order of the list" if in_order else ""
    return {
        "ground_truth": f"{truth}: {len(names)} videos",
        "predictions": ", ".join(options.predictions) + note,
    } | numbers


def _compare_labels(options, names: list[str], labels: list[list[int]]) -> None:
    """Warns if the labels that a run keeps with its scores differ from those that it is scored with."""
    for path in options.predictions:
        if suffix_of(path) == ".npz":
            known, own, _ = score_files.dumped_labels(path)
            rows = rows_of(names, known, path)
            if wrong := [k for k, row in enumerate(rows) if sorted(own[row]) != sorted(labels[k])]:
                k = wrong[0]
                log.warning("%s has other labels of %d of %d videos: of %s %s, in the list %s",
                            path, len(wrong), len(names), names[k], own[rows[k]], labels[k])  # fmt: skip


def _labels(options) -> tuple[list[str], list[list[int]], bool]:
    """Names and labels of the videos, and whether a video may have several."""
    if options.ground_truth:
        kind = dict(multi_label=options.multi_label, frames=options.rawframes)
        return *score_files.load_labels(options.ground_truth, **kind), options.multi_label
    if suffix_of(options.predictions[0]) != ".npz":
        raise ValueError("--ground-truth is missing; only the scores.npz of a run includes labels")
    names, labels, several = score_files.dumped_labels(options.predictions[0])
    return names, labels, several or options.multi_label


def _detection(options, truth: ground_truth.GroundTruth, thresholds) -> dict:
    found = results.load_results(options.predictions)
    score = evaluation.evaluate_detections(truth, found, thresholds=thresholds, unknown_videos=options.unknown_videos)
    if options.plot:
        plot_average_precision(options.plot, score, thresholds, truth.labels)
    numbers = {"average_mAP": score.average_mAP}
    numbers |= {f"mAP@{t:.2f}": float(x) for t, x in zip(thresholds, score.mAP, strict=True)}
    per_class = dict(zip(truth.labels, score.average_precision.mean(axis=1).tolist(), strict=True))
    return _report(options, truth, found, numbers) | ({"average_AP_per_class": per_class} if options.per_class else {})


def _activitynet(options) -> ground_truth.GroundTruth:
    return ground_truth.load_activitynet(
        options.ground_truth, subset=options.subset, video_info=options.video_info, block_list=options.block_list
    )


def _report(options, truth: ground_truth.GroundTruth, found: results.Predictions, numbers: dict) -> dict:
    extent = f"{len(found.score)} in {len(np.unique(found.video))} videos, unknown videos: {options.unknown_videos}"
    return {"ground_truth": truth.name, "predictions": f"{found.name}: {extent}"} | numbers


def _print(report: dict) -> None:
    from actjax.showing import Table, show

    tables = {"": report} | {k: v for k, v in report.items() if isinstance(v, dict)}
    for title, numbers in tables.items():
        table = Table("metric", "value", title=title or None)
        for name, value in numbers.items():
            if isinstance(value, float):
                table.add_row(name, f"{value:.4f}")
            elif not isinstance(value, dict):
                show(f"{name.replace('_', ' ')}: {value}")
        show(table)


def _parser() -> argparse.ArgumentParser:
    script = pathlib.Path(sys.argv[0]).stem  # of `python -m`, __main__
    prog = script if script == "actjax-metrics" else "python -m actjax.metrics"
    parser = argparse.ArgumentParser(prog=prog, description="Scores a result file.")
    tasks = parser.add_subparsers(title="tasks", required=True, metavar="TASK")

    def task(name: str, run, truth: str, found: str, needs_truth=True, **nargs) -> argparse.ArgumentParser:
        sub = tasks.add_parser(name, help=run.__doc__, description=run.__doc__)
        sub.set_defaults(run=run, plot=None)
        sub.add_argument("--ground-truth", required=needs_truth, metavar="PATH", help=truth)
        sub.add_argument("--predictions", required=True, metavar="PATH", help=found, **nargs)
        sub.add_argument("--json", action="store_true", help="print JSON instead of a table")
        return sub

    entries = 'JSON: {"results": {video: [{"segment": [s, e], "score": x, "label": name}]}}'
    annotations = "the official JSON or an MMAction2 annotation file; may be gzipped"
    proposal = task("activitynet-proposals", proposals, annotations, entries.replace(', "label": name', ""))
    detection = task("activitynet-detection", activitynet_detection, annotations, entries)
    for sub in (proposal, detection):
        sub.add_argument("--subset", help="score this subset only, for example validation")
        sub.add_argument("--video-info", metavar="CSV", help="columns video,subset, for a file without subsets")
    sub = thumos = task("thumos14", thumos14, "folder of <class>_test.txt, lines `video start end`", entries)
    sub.add_argument("--subset", choices=("test", "val"), default="test")
    sub.add_argument("--ambiguous", choices=ground_truth.AMBIGUOUS, default="drop", help="rows of the file "
                     "Ambiguous: leave out; excuse false detections that touch them; a class of their own")  # fmt: skip
    sub.add_argument("--cliff-diving", choices=ground_truth.CLIFF_DIVING, default="both",
                     help="every CliffDiving row is also a Diving row: keep both, or only one")  # fmt: skip
    for sub in (proposal, detection, thumos):
        _segment_options(sub)
    for sub in (detection, thumos):
        sub.add_argument("--per-class", action="store_true", help="also print the average precision of each class")
    sub = task("accuracy", accuracy, "list as for training; default: the labels in the first scores.npz",
               "scores [n, k]: the scores.npz of a run, .npy, or .json with rows or {file: row}; several are fused",
               needs_truth=False, nargs="+")  # fmt: skip
    sub.add_argument("--rawframes", action="store_true", help="lines are `folder total_frames label`")
    sub.add_argument("--coefficients", type=float, nargs="+", help="weight of each file of scores; default 1")
    sub.add_argument("--multi-label", action="store_true", help="lines are `file [label ...]`; mean average precision")
    return parser


def _segment_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--block-list", metavar="PATH", help="video ids to leave out: a JSON list, or one per line")
    sub.add_argument("--unknown-videos", choices=evaluation.UNKNOWN_VIDEOS, default="error",
                     help="predictions for videos without ground truth; the official toolkit counts them")  # fmt: skip
    sub.add_argument("--plot", metavar="PNG", help="plot the curves to this file")


if __name__ == "__main__":
    main()
