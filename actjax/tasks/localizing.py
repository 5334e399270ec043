"""What the tasks share when they find actions in new videos: features, clocks, and what a run remembers."""

import contextlib
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from actjax.config.changes import differences, told
from actjax.config.files import saved_config
from actjax.data.datasets.records import VideoRecord
from actjax.data.loading.snippet_reader import each_video
from actjax.errors import shown
from actjax.metrics.results import video_id
from actjax.paths import rewrite, to_path
from actjax.tasks.running import Call
from actjax.tasks.videos import distinct_names, records_of
from actjax.text_files import read_json
from actjax.timelines import Curves
from actjax.video.clock import Clock, Clocks

NOTE = "extraction.json"  # in a folder of features: what made them
ABOUT = ("source", "class_names", "multi_label", "suffix")  # keys of the note on which the features do not depend
_FACTS = "training_data.json"  # in a workdir: what localizing needs to know of the training data


class Located(NamedTuple):
    """What was found in a video.

    name: its name among the videos of the call. path: of its file; "" if only features were given.
    seconds: its length.
    segments: {"segment": [start, end] in seconds, "score", and where classes are known "class"}, best first.
    curves: the scores of the classes along the video; None: there are none.
    """

    name: str
    path: str
    seconds: float
    segments: list[dict]
    curves: Curves | None = None


def files_of(call: Call) -> list[VideoRecord]:
    """The videos of a call, each once. Errors as `records_of`; ValueError: not a file, or two of one id in results."""
    records = list({record.path: record for record in records_of(call.video)}.values())
    if not all(isinstance(record, VideoRecord) for record in records):
        raise ValueError("localize takes files of videos: only they tell the times of their frames")
    names = distinct_names([record.path for record in records])
    ids = {video_id(name): record.path for name, record in zip(names, records, strict=True)}
    for name, record in zip(names, records, strict=True):
        if ids[video_id(name)] != record.path:
            both = f"{shown(record.path)} and {shown(ids[video_id(name)])}"
            raise ValueError(f"{both} have one name in result files, which leave out v_; rename one of them")
    return records


def refuse(call: Call, why: str, *flags: str) -> None:
    """Raises ValueError if the call has one of the flags, which do not apply."""
    if given := [flag for flag in flags if getattr(call, flag)]:
        raise ValueError(f"--{given[0]}: {why}")


def read_clocks(records: Sequence, *, timeout: float, quarantine=None) -> dict[str, Clock]:
    """The clocks of videos, by their paths; an unreadable video has none.

    Args:
      quarantine: records unreadable videos; None: they were told before.
    """
    clocks: dict[str, Clock] = {}

    def keep(record, parts) -> None:
        clocks[record.path] = next(parts)

    each_video(records, Clocks(), keep, quarantine=quarantine or _Unheard(), timeout=timeout)
    return clocks


class _Unheard:
    """Takes the place of a quarantine where each broken video was told before."""

    def add(self, error: Exception) -> None:
        """Does nothing."""


@contextlib.contextmanager
def network_of(call: Call, note: Mapping) -> Iterator:
    """The trained recogniser that made the features which `note` describes; `--network` says where it is now.

    Raises:
      FileNotFoundError: it is gone. ValueError: it is no recogniser.
    """
    source = note["source"]
    where = call.network or source["workdir"]
    if not to_path(where).is_dir():
        hint = "" if call.network else "; if it has moved, give its new place, --network=RUN"
        raise FileNotFoundError(f"{where}, the run that made the features of the training, is no folder{hint}")
    check_recogniser(where)
    try:
        recogniser = call.load(where, checkpoint=source["step"], extract=dict(note["extract"]))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error}. Step {source['step']} made the features of the training: bring it back, or extract the features "
            "again and train on these"
        ) from error
    with recogniser:
        yield recogniser


def check_recogniser(workdir) -> None:
    """Raises ValueError unless a workdir holds a run of TSN or TSM."""
    if (task := saved_config(to_path(workdir)).task) != "recognition":
        raise ValueError(f"{workdir} is a run of {task}; features come from a run of TSN or TSM")


def on_the_clock(rows: Sequence[dict], clock: Clock, num_frames: float, duration: float) -> list[dict]:
    """Segments in seconds at a constant frame rate, `num_frames` in `duration` -> in seconds of the video's clock."""
    place = lambda seconds: clock.seconds(np.asarray(seconds) / duration * num_frames).tolist()
    return [row | {"segment": place(row["segment"])} for row in rows]


def note_of(folder: pathlib.Path) -> dict | None:
    """What made the features of a folder, as `--mode=extract` noted it; None: nothing tells."""
    file = folder / NOTE
    note = read_json(file, what="a note about features") if file.exists() else None
    if note is not None and not isinstance(note, dict):
        raise ValueError(f"{file} is damaged; extract the features again into another folder")
    return note


def origin_of(note: Mapping) -> dict:
    """The part of a note on which the features depend."""
    return {key: value for key, value in note.items() if key not in ABOUT}


def has_classes(classes: Sequence[str], note: Mapping | None) -> bool:
    """Whether features are logits of a network that knows all of these classes."""
    names = (note or {}).get("class_names") or ()
    return bool(names) and {*classes} <= {*names}


def check_origin(note: Mapping | None, trained: Mapping | None, what: str) -> None:
    """Raises ValueError if features, named `what`, are of another network or config than those of the training."""
    if note is None or trained is None:
        return
    if changes := list(differences(origin_of(trained), origin_of(note))):
        raise ValueError(f"{what} are not of the kind that this run was trained on: {told(changes)}")


def save_facts(workdir: pathlib.Path, facts: Mapping) -> None:
    """Keeps what localizing needs to know of the training data; process 0 does."""
    if jax.process_index() == 0:
        rewrite(workdir / _FACTS, json.dumps(facts, indent=1))


def read_facts(workdir: pathlib.Path, derive: Callable[[], dict]) -> dict:
    """What a run kept of its training data; `derive` gives it for a run of an older version.

    Raises:
      ValueError: the file is damaged, or the data of the older run is gone.
    """
    file = workdir / _FACTS
    if file.exists():
        facts = read_json(file, what="facts about the training data")
        if not isinstance(facts, dict):
            raise ValueError(f"{file} is damaged; repeat the training command, which writes it again")
        return facts
    try:
        return derive()
    except (FileNotFoundError, ValueError) as error:
        raise ValueError(
            f"{workdir} has no {_FACTS}: it was imported, or trained by an older version, and its data cannot be "
            f"opened ({error}); repeat the training command where the data is"
        ) from error
