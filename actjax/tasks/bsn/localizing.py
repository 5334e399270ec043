"""BSN and BMN on new videos: features by the network that made those of the training, then proposals or detections."""

import contextlib
import pathlib
import shutil
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from actjax import training
from actjax.data.datasets.features import FeatureFiles
from actjax.data.datasets.records import ActivityNetRecord, VideoRecord
from actjax.data.datasets.rescaling import RESCALINGS
from actjax.data.datasets.untrimmed import Rescaled, Untrimmed
from actjax.data.loading.quarantine import Quarantine
from actjax.errors import shown
from actjax.localization import classified
from actjax.paths import does_not_exist, to_path
from actjax.tasks.bsn.inference import Inference
from actjax.tasks.bsn.items import FeatureItems, PemItems, Split
from actjax.tasks.bsn.windows import Window, WindowFeatures, joined, windows_of
from actjax.tasks.localizing import (
    Located,
    check_origin,
    files_of,
    has_classes,
    network_of,
    note_of,
    on_the_clock,
    read_clocks,
    read_facts,
    refuse,
)
from actjax.tasks.recognition.extracting import source_of
from actjax.tasks.recognition.feature_table import known_rows
from actjax.tasks.recognition.outputs import probabilities
from actjax.tasks.running import Call
from actjax.timelines import Curves
from actjax.video_files import file_stems, found_file


def facts_of(dataset: Untrimmed) -> dict:
    """What localizing needs to know of the training data: the network of its features, its longest video, classes."""
    folder = getattr(dataset.features, "folder", "")
    rows = [row for record in dataset.train for row in record.annotations]
    return {
        "extraction": note_of(pathlib.Path(folder)) if folder else None,
        "longest_second": max(record.duration_second for record in dataset.train),
        "classes": sorted({str(row["label"]) for row in rows if "label" in row}),
    }


def locate(run, call: Call) -> list[Located]:
    """The proposals of new videos, or detections if the features are logits of the classes; best first.

    Raises:
      ValueError: nothing tells which network made the training features, or it is another one now; features that do
        not fit. FileNotFoundError: no video, no features, or that network is gone.
    """
    refuse(call, "BSN and BMN make proposals themselves; this is a flag of SSN", "proposals")
    facts, out = read_facts(call.workdir, lambda: facts_of(run.open_dataset())), pathlib.Path(call.out)
    folder, records = _given(call, facts) if call.features else _extracted(call, facts, out)
    features, shape = FeatureFiles(str(folder)), run.networks[run.chain[0]].network.model.input_shape
    shape = shape if run.data.get("rescale") == "none" else (0, shape[1])
    windows = {r.video: _windows(r, features, facts["longest_second"], shape) for r in records}
    found = _proposals(run, call, [each for own in windows.values() for each in own], features, out) if records else {}
    clocks = read_clocks([VideoRecord(r.path) for r in records if r.path], timeout=run.loader.timeout)
    note, located = note_of(folder), []
    for record in records:
        own, even = windows[record.video], (record.duration_frame, record.duration_second)
        rows = joined(own, [found[window.record.video] for window in own])
        curves = _curves(record, features, note, facts["classes"]) if has_classes(facts["classes"], note) else None
        if curves:
            rows = classified(rows, *curves, top_classes=run.detect.top_classes)
        clock = clocks.get(record.path)
        if clock is not None and clock.times is not None:
            rows = on_the_clock(rows, clock, *even)
            curves = curves and curves._replace(times=clock.seconds(curves.times / even[1] * even[0]))
        seconds = record.duration_second if clock is None or clock.times is None else clock.duration
        located.append(Located(record.video, record.path, seconds, rows, curves))
    return located


def _curves(record: ActivityNetRecord, features: FeatureFiles, note: dict, classes: Sequence[str]) -> Curves:
    """The probabilities of the training's classes along a video, from logits of these and perhaps others."""
    logits = features.read(record.video).T
    scores = probabilities(logits, average_clips="score", multi_label=note.get("multi_label", False))
    kept = [k for k, name in enumerate(note["class_names"]) if name in {*classes}]
    covered = record.feature_frame / record.duration_frame * record.duration_second
    times = (np.arange(len(scores)) + 0.5) * covered / len(scores)
    return Curves(times, scores[:, kept], [note["class_names"][k] for k in kept])


def _extracted(call: Call, facts: dict, out: pathlib.Path) -> tuple[pathlib.Path, list[ActivityNetRecord]]:
    """Extracts the features of the call's videos -> their folder, and a record of each video that could be read."""
    trained = facts["extraction"]
    if trained is None or "source" not in trained:
        raise ValueError(
            f"{call.workdir}: nothing tells which network made the features of the training; extract them with "
            "--mode=extract and train on these, or give --features=FILE"
        )
    videos, folder = files_of(call), out / "features"
    with network_of(call, trained) as recogniser:
        recogniser.extract(videos, folder, like=trained)
    rows = {row["path"]: row for row in known_rows(folder).values()}
    there = [(video.path, rows[source_of(video)]) for video in videos if source_of(video) in rows]
    return folder, [_record(folder, row)._replace(path=path) for path, row in there]


def _given(call: Call, facts: dict) -> tuple[pathlib.Path, list[ActivityNetRecord]]:
    """Features that the call gives -> their folder, and a record of each of their videos."""
    refuse(call, "features are given, so that no network makes them", "network")
    path = to_path(call.features)
    if not path.exists():
        raise FileNotFoundError(f"--features={does_not_exist(path)}")
    if not path.is_dir() and path.suffix not in (".csv", ".npy"):
        raise ValueError(f"--features={path}: features are .csv or .npy files; for a video write --video")
    folder = path if path.is_dir() else path.parent
    if facts["extraction"] and (note := note_of(folder)):
        check_origin(note, facts["extraction"], f"the features in {folder}")
    rows = known_rows(folder)
    names = sorted(rows) if path.is_dir() else [name for name in rows if found_file(folder, name, path.suffix) == path]
    if not names:
        raise ValueError(
            f"--features={path}: its length in seconds is not known; {folder / 'video_info.csv'} has no such video. "
            "Add a row: video,numFrame,seconds,fps,rfps,subset,featureFrame"
        )
    return folder, [_record(folder, rows[name]) for name in names]


def _record(folder: pathlib.Path, row: dict) -> ActivityNetRecord:
    """A row of the table of features -> a record without annotations."""
    names = dict(duration_second="seconds", duration_frame="numFrame", feature_frame="featureFrame")
    try:
        fields = {field: float(row[column]) for field, column in names.items()}
        if not all(0 < value < np.inf for value in fields.values()):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            f"{folder / 'video_info.csv'}: video {shown(row['video'])} has no positive number in seconds, numFrame or "
            "featureFrame; folders of pictures have no frame rate: fill it in"
        ) from None
    fields |= {name: int(fields[name]) for name in ("duration_frame", "feature_frame")}
    return ActivityNetRecord(row.get("path") or "", row["video"], annotations=[], **fields)


def _windows(record: ActivityNetRecord, features: FeatureFiles, longest: float, shape: tuple[int, int]) -> list[Window]:
    """The windows of a video. ValueError: its features are of another network.

    Args:
      shape: of the network's input, [s, c]; s is 0 if it takes features of any length.
    """
    channels, rows = features.read(record.video).shape
    if channels != shape[1]:
        raise ValueError(f"{shown(record.video)}: features of {channels} channels; the network takes {shape[1]}")
    if shape[0] and rows != shape[0]:
        raise ValueError(f"{shown(record.video)}: {rows} rows; with data.rescale='none' the network takes {shape[0]}")
    return windows_of(record, rows, np.inf if shape[0] else longest)


def _proposals(run, call: Call, windows: Sequence[Window], features: FeatureFiles, out: pathlib.Path) -> dict:
    """The proposals of every window by the trained networks, by the names of their records, in seconds."""
    records = [window.record for window in windows]
    source = WindowFeatures(features, {window.record.video: window for window in windows})
    dataset = Untrimmed([], records, source, RESCALINGS[run.data.get("rescale", "linear")], "")
    quarantine = Quarantine(out / "quarantine.jsonl", num_records=len(records), max_share=1.0)
    inference = Inference(run.networks, quarantine, file_stems(record.video for record in records))
    last = run.chain[-1]
    variables = run.restored(last, call.workdir, call.checkpoint)
    if run.pgm is None:
        items = FeatureItems(Rescaled(dataset, run.networks[last].network.model.input_shape))
        results = inference.proposals(last, variables, Split(records, items))
    else:
        with _folder(out / "stages") as stages:
            results = inference.proposals(
                last, variables, Split(records, _candidates(run, call, inference, dataset, stages))
            )
    return {row["video_name"]: row["proposal_list"] for row in results}


def _candidates(run, call: Call, inference: Inference, dataset: Untrimmed, stages: pathlib.Path) -> PemItems:
    """TEM's curves and PGM's proposals of new videos, in files as the stages of a run exchange them."""
    curves, proposals, features = (stages / name for name in ("tem_results", "pgm_proposals", "pgm_features"))
    items = FeatureItems(Rescaled(dataset, run.networks["tem"].network.model.input_shape))
    if jax.process_index() == 0:
        curves.mkdir()
    training.wait_for_all("the folder of curves")
    inference.write_curves(run.restored("tem", call.workdir), Split(dataset.val, items), curves)
    training.wait_for_all("the curves")
    pgm = run.pgm
    inference.write_proposals(dataset.val, curves, pgm, proposals, features, top_k=pgm.top_k, what="candidates")
    training.wait_for_all("the candidates")
    return PemItems(str(proposals), str(features), pgm.top_k, run.networks["pem"].network.model.feat_dim)


@contextlib.contextmanager
def _folder(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """An empty folder that all hosts share and that is removed at the end."""
    remove = lambda: shutil.rmtree(path, ignore_errors=True) if jax.process_index() == 0 else None
    remove()
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield path
        training.wait_for_all("the scores")
    finally:
        remove()
