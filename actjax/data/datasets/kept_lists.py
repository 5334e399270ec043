"""The split of a run, kept as annotation lists: train.csv, val.csv, classes.txt, and split.json, which says its origin.

They are ordinary lists of `videos` or `rawframes`, with absolute paths. classes.txt is written last.
"""

import json
import os
import pathlib
from collections.abc import Mapping

from actjax.data.datasets.annotations import annotations_text, load_annotations
from actjax.data.datasets.class_names import class_names_text, load_class_names
from actjax.data.datasets.folders import Split
from actjax.data.datasets.parsing import items
from actjax.data.datasets.records import RawframesRecord
from actjax.paths import does_not_exist, rewrite, to_path
from actjax.text_files import read_json

_LAST = "classes.txt"


def has_lists(folder: str | os.PathLike) -> bool:
    """Whether a folder has the lists of a split."""
    return (to_path(folder) / _LAST).exists()


def save_lists(split: Split, folder: pathlib.Path) -> None:
    """Writes the lists of a split to `folder`; each file is complete or not there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, records in (("train.csv", split.train), ("val.csv", split.val)):
        rewrite(folder / name, annotations_text(records))
    rewrite(folder / "split.json", json.dumps(dict(split.origin), indent=2))
    rewrite(folder / _LAST, class_names_text(split.class_names))


def load_lists(folder: str | os.PathLike, *, videos: str | None = None) -> Split:
    """The split that `save_lists` wrote, or lists of these names that others wrote.

    Args:
      videos: the folder of the classes now; paths in the folder that the split was made of move there. None: they stay.

    Raises:
      FileNotFoundError: a list is missing. ValueError: as `load_annotations`.
    """
    folder = to_path(folder)
    if not has_lists(folder):
        raise FileNotFoundError(
            f"{does_not_exist(folder / _LAST)}; a run of a folder of classes keeps its split there, which tells the "
            "videos of training and validation apart"
        )
    names, origin = load_class_names(folder / _LAST), origin_of(folder)
    records = {name: _load(folder / f"{name}.csv", len(names)) for name in ("train", "val")}
    was = origin.get("folder")
    if videos and isinstance(was, str) and was != os.path.abspath(videos):
        records = {name: [_moved(record, was, os.path.abspath(videos)) for record in records[name]] for name in records}
    return Split(records["train"], records["val"], names, origin)


def origin_of(folder: str | os.PathLike) -> Mapping:
    """What the split was made of, see `Split`; {} for lists that others wrote."""
    file = to_path(folder) / "split.json"
    if not file.exists():
        return {}
    origin = read_json(file, what="the origin of a split")
    if not isinstance(origin, dict):
        raise ValueError(
            f"{file}: expected an object with folder, val_share and seed; delete it if the lists are yours"
        )
    return origin


def is_frames(file: str | os.PathLike) -> bool:
    """Whether a CSV list is one of folders of frames."""
    return any(isinstance(row, dict) and "total_frames" in row for _, row in items(to_path(file)))


def _load(file: pathlib.Path, num_classes: int) -> list:
    if not file.exists():
        raise FileNotFoundError(does_not_exist(file))
    return [*load_annotations("rawframes" if is_frames(file) else "videos", file, num_classes=num_classes)]


def _moved(record, was: str, now: str):
    """A record whose path in the folder `was` is now in the folder `now`."""
    inside = record.path.startswith(os.path.join(was, ""))
    return record._replace(path=os.path.join(now, os.path.relpath(record.path, was))) if inside else record


def kind_of(split: Split) -> str:
    """The kind of annotation list that a split's lists are."""
    return "rawframes" if isinstance(split.train[0], RawframesRecord) else "videos"
