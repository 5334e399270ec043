"""The modes of own untrimmed videos: each step leaves files in the workdir, and is not repeated if they are there.

`WORKDIR/network` holds the network if it was trained here, `WORKDIR/features` the features, `WORKDIR/lists` the
annotations or proposal files. The rest of the workdir is the run of the localizer.
"""

import logging
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from actjax import training
from actjax.data.datasets.records import VideoRecord
from actjax.errors import clear_errors, shown
from actjax.paths import absolute, to_path
from actjax.tasks.localizing import check_recogniser, has_classes, read_clocks
from actjax.tasks.own.annotated import (
    SPLITS,
    Annotated,
    check_times,
    open_annotated,
    write_annotations,
    write_proposals,
)
from actjax.tasks.own.config import OwnRun
from actjax.tasks.recognition.calibrating import clip_seconds, some_of
from actjax.tasks.recognition.extracting import source_of
from actjax.tasks.recognition.extractor import num_channels
from actjax.tasks.recognition.feature_table import known_rows
from actjax.tasks.recognition.run import RecognitionRun
from actjax.tasks.running import Call

log = logging.getLogger("actjax")

TIMEOUT = 60.0  # seconds that opening a video may take
VIDEOS = 3200  # that a localizer sees in its training
WIDEST = 16  # frames from one feature to the next, at most


def train(run: OwnRun, call: Call) -> dict:
    """Trains the network if it is a recipe, looks at all videos with it, then trains and scores the localizer.

    A command that was killed goes on where it stopped. At the end the workdir holds a run of the localizer.
    """
    log.info("workdir: %s", call.workdir)
    given = to_path(run.data.network)
    network = given if given.is_dir() else call.workdir / "network"
    with clear_errors(RuntimeError):
        splits, kind = open_annotated(run.data), _kind(run, call)
        sizes = _sizes(run, kind, splits)
        _open(run, call, sizes, {})  # a fault in its sections is found at once
        clocks = read_clocks(_records(splits), timeout=TIMEOUT)
        check_times(run.data, splits, clocks)
    if not given.is_dir():
        log.info("training the network, %s, in %s", run.data.network, network)
        call.train(run.data.network, network)
    with clear_errors(RuntimeError):
        with call.load(network, **_extraction(run, splits, clocks, kind)) as recogniser:
            make = _proposed if run.localizer == "ssn" else _extracted
            data = make(run, call, splits, clocks, recogniser, sizes.classes)
        opened = _open(run, call, sizes, data)
    return opened.task.modes["train"](opened.run, call._replace(config=opened.config))


def explain(run: OwnRun, call: Call) -> None:
    """Prints the config, and the costs of a training step of the localizer's networks."""
    with clear_errors():
        splits = open_annotated(run.data)
        sizes = _sizes(run, _kind(run, call), splits)
    opened = _open(run, call, sizes, {})
    opened.task.modes["explain"](opened.run, call._replace(config=opened.config))


def _kind(run: OwnRun, call: Call) -> RecognitionRun:
    """The run or recipe that looks at the videos. ValueError: it is none of TSN or TSM."""
    network = run.data.network
    if to_path(network).is_dir():
        check_recogniser(network)
        return call.load(network).run
    opened = call.open(network)
    if not isinstance(opened.run, RecognitionRun):
        raise ValueError(f"data.network={network} is a recipe of {opened.config.task}; it must be one of TSN or TSM")
    return opened.run


class Sizes(NamedTuple):
    """What the videos and the network decide: numbers of a feature, names of the classes, number of training videos."""

    channels: int
    classes: list[str]
    num_videos: int


def _sizes(run: OwnRun, kind: RecognitionRun, splits: Mapping[str, list[Annotated]]) -> Sizes:
    return Sizes(num_channels(kind, run.data.what), classes_of(splits), len(splits["train"]))


def _records(splits: Mapping[str, list[Annotated]]) -> list[VideoRecord]:
    """The videos of both splits, each once."""
    return list(dict.fromkeys(video.record for split in SPLITS for video in splits[split]))


def classes_of(splits: Mapping[str, list[Annotated]]) -> list[str]:
    """The classes of the training videos. ValueError: a class of the validation videos is not among them."""
    labels = {split: {row["label"] for video in splits[split] for row in video.annotations} for split in SPLITS}
    if unseen := sorted(labels["val"] - labels["train"]):
        raise ValueError(f"class {shown(unseen[0])} is in no training video; correct its name, or leave it out")
    return sorted(labels["train"])


def _open(run: OwnRun, call: Call, sizes: Sizes, data: Mapping):
    """The run of the localizer, with a section `data`. ValueError: a fault in one of its sections."""
    sections = {
        name: dict(section) if isinstance(section, Mapping) else section for name, section in run.sections.items()
    }
    first = {"bmn": "bmn", "bsn": "tem"}.get(run.localizer)
    if first in sections:
        model = sections[first].get("model") or {}
        sections[first] = sections[first] | {"model": _filled(model, "feat_dim", sizes.channels, f"{first}.model")}
    for name in {"bmn", "tem", "pem"} & sections.keys():
        sections[name] = _with_epochs(sections[name], sizes.num_videos)
    if run.localizer == "ssn":
        sections = _with_epochs(sections, sizes.num_videos)
        sections["model"] = _filled(sections.get("model") or {}, "num_classes", len(sizes.classes), "model")
    name = "proposals" if run.localizer == "ssn" else "activitynet"
    empty = dict.fromkeys(("train", "val") if run.localizer == "ssn" else ("features", "train", "val"), "")
    return call.open(ConfigDict({"task": run.localizer, "data": {"name": name} | empty | dict(data)} | sections))


def epochs_for(num_videos: int) -> float:
    """The epochs in which a localizer sees 3,200 videos, but at least 12 and at most 120.

    >>> epochs_for(16), epochs_for(160), epochs_for(1000)
    (120.0, 20.0, 12.0)
    """
    return float(np.clip(round(VIDEOS / num_videos), 12, 120))


def _with_epochs(section: Mapping, num_videos: int) -> dict:
    """The section of a network; epochs, and the drop of the learning rate after 4/5 of them, filled in if None."""
    section = dict(section)
    run, optim = (dict(section.get(name) or {}) for name in ("run", "optim"))
    if run.get("epochs", 0) is None:
        section["run"] = run | {"epochs": epochs_for(num_videos)}
    schedule = dict(optim.get("schedule") or {})
    if schedule.get("milestones", ()) is None:
        drop = max(int(0.8 * section["run"]["epochs"]), 1)
        section["optim"] = optim | {"schedule": schedule | {"milestones": (drop,)}}
    return section


def _filled(section: Mapping, key: str, value: int, where: str) -> dict:
    """A section with `key`. ValueError: it has another value."""
    if section.get(key) not in (None, value):
        raise ValueError(f"{where}.{key}={section[key]}; the videos and the network decide it: {value}")
    return dict(section) | {key: value}


def _extraction(run: OwnRun, splits: Mapping, clocks: Mapping, kind: RecognitionRun) -> dict:
    """The section `extract` of the network, for BMN and BSN.

    Args:
      kind: the run of the network, whose validation videos tell how long its clips are.
    """
    data = run.data
    if run.localizer == "ssn":
        return {}
    known = [clocks[v.record.path] for v in splits["train"] if v.record.path in clocks]
    if not known:
        raise ValueError(f"data.videos={data.videos}: none of the training videos can be read")
    steps = run.sections["tem" if run.localizer == "bsn" else "bmn"]["model"]["temporal_scale"]
    length, rate = (np.median([getattr(clock, name) for clock in known]) for name in ("num_frames", "fps"))
    interval = data.interval or int(np.clip(round(length / steps), 1, WIDEST))
    section = {"interval": interval, "what": data.what, "suffix": ".csv"}
    if (seconds := data.window or _clip_seconds(kind, data.network)) is not None:
        section["window"] = max(int(round(seconds * rate)), 1)
    if data.num_frames is not None:
        section["num_frames"] = data.num_frames
    log.info("a feature every %d frames, of clips of %d frames", interval, section.get("window", interval))
    return {"extract": section}


def _clip_seconds(kind: RecognitionRun, network: str) -> float | None:
    """The seconds of the network's clips, by its validation videos; says so if they are not there."""
    try:
        return clip_seconds(kind, some_of(kind.open_dataset().val))
    except (FileNotFoundError, ValueError) as error:
        log.warning(
            "the validation videos of %s, which tell how long its clips are, cannot be opened (%s); clips span one "
            "interval of features: set data.window=SECONDS", network, error
        )  # fmt: skip
        return None


def _tell_classes(run: OwnRun, recogniser, classes: Sequence[str]) -> None:
    """Says whether proposals will get classes."""
    names = recogniser.class_names if run.data.what == "scores" else []
    if has_classes(classes, {"class_names": names}):
        log.info("proposals will get the classes of the annotations, which the network knows")
    else:
        missing = next((name for name in classes if name not in names), "")
        log.info("proposals will get no classes: the features are no scores of classes such as %s", shown(missing))


def _extracted(run: OwnRun, call: Call, splits: Mapping, clocks: Mapping, recogniser, classes: Sequence[str]) -> dict:
    """Extracts the features of all videos -> section `data` of BMN or BSN on them."""
    _tell_classes(run, recogniser, classes)
    folder, videos = absolute(call.workdir) / "features", _records(splits)
    log.info("%s: %s", folder, recogniser.extract(videos, folder))
    table = {row["path"]: row for row in known_rows(folder).values()}
    rows = {v.path: table[source_of(v)] for v in videos if source_of(v) in table and v.path in clocks}
    write = lambda file, own: write_annotations(file, own, clocks, rows)
    files = _listed(run, call, splits, ".json", write)
    return {"features": str(folder), "rescale": run.data.rescale} | files


def _proposed(run: OwnRun, call: Call, splits: Mapping, clocks: Mapping, recogniser, classes: Sequence[str]) -> dict:
    """Makes proposals in all videos by TAG -> section `data` of SSN on them."""
    folder = absolute(call.workdir) / "proposals"
    proposals = recogniser.propose([video.path for video in _records(splits)], out=folder)
    write = lambda file, own: write_proposals(file, own, clocks, proposals, classes)
    files = _listed(run, call, splits, ".txt", write)
    return {"suffix": ".*", "class_names": classes, "proposed_by": str(recogniser.workdir)} | files


def _written(file: pathlib.Path, videos: Sequence[Annotated], write: Callable) -> int:
    """Writes a list -> its number of videos. ValueError: it would replace the list that a run was trained on."""
    new = file.with_name(f"new_{file.name}")
    number = write(new, videos)
    if file.exists() and file.read_bytes() != new.read_bytes() and (file.parent.parent / "config.json").exists():
        new.unlink()
        raise ValueError(
            f"the annotations, the videos or the network differ from those that made {file}, on which the run in "
            f"{file.parent.parent} was trained; take these, or another workdir"
        )
    new.replace(file)
    return number


def _listed(run: OwnRun, call: Call, splits: Mapping, suffix: str, write: Callable) -> dict[str, str]:
    """Writes a list of each split to `WORKDIR/lists` -> its file. Process 0 writes.

    Raises:
      ValueError: more of the videos than `data.max_missing` allows cannot be read, or all of a split.
    """
    folder, files = absolute(call.workdir) / "lists", {}
    for split in SPLITS:
        files[split] = str(folder / f"{split}{suffix}")
        if jax.process_index() == 0:
            folder.mkdir(parents=True, exist_ok=True)
            there, total = _written(pathlib.Path(files[split]), splits[split], write), len(splits[split])
            if not there or total - there > run.data.max_missing * total:
                raise ValueError(
                    f"{total - there} of {total} videos of the split {split} cannot be read; "
                    f"data.max_missing={run.data.max_missing:g} allows fewer"
                )
    training.wait_for_all("the lists")
    return files


MODES = {"train": train, "explain": explain}
