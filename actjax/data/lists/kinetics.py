"""Kinetics-400, 600 and 700: CSV with the columns `label,youtube_id,time_start,time_end,split`.

There is a file for each split, or one file of all. A video is called `ID_000010_000020.mp4`, after its first and last
second, or `ID.mp4`, in folders per class, per split, or both.
"""

import pathlib
import re
from collections.abc import Callable, Iterator

from actjax.data.datasets.parsing import whole
from actjax.data.lists.published import Published, Wanted, check_rows, find_file, has_file, labels
from actjax.errors import shown
from actjax.text_files import read_rows

_COLUMNS = ("label", "youtube_id", "time_start", "time_end")
_PARTS = {"train": "train", "val": "val", "validate": "val", "validation": "val", "test": "test"}
_TEST = "the test split is skipped: many of its files have no labels"


def read_kinetics(annotations: pathlib.Path) -> Published:
    """A set of Kinetics, with the classes of its training list sorted by name.

    Args:
      annotations: the folder of `train.csv` and `val.csv` or `validate.csv`; or a file whose column `split` tells the
        splits apart.

    Raises:
      FileNotFoundError: a file is missing. ValueError: a row that does not parse, is of another split than its file, or
        of a class that is not in the training list; a video that is there twice.
    """
    if annotations.is_file():
        files, rows = dict.fromkeys(("train", "val"), annotations), _rows(annotations, "")
    else:
        files = {"train": find_file(annotations, _pattern("train"), like="train.csv")}
        files["val"] = find_file(annotations, _pattern("val|validate|validation"), like="val.csv or validate.csv")
        rows = (row for part, file in files.items() for row in _rows(file, part))
    parts: dict[str, list] = {part: [] for part in dict.fromkeys(_PARTS.values())}
    for part, where, row in rows:
        parts[part].append((where, row))
    tested = bool(parts.pop("test")) or not annotations.is_file() and has_file(annotations, _pattern("test"))
    names = sorted({row["label"] for _, row in parts["train"]})
    label_of = labels(names, files["train"])
    splits = {part: [_wanted(part, *row, label_of) for row in rows] for part, rows in parts.items()}
    check_rows(splits, files)
    return Published(names, splits, [*files.values()], notes=[_TEST] if tested else [])


def _pattern(parts: str) -> str:
    return rf"(.*[-_])?({parts})\.(csv|txt)"


def _rows(file: pathlib.Path, part: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    """(split, file and line, row) of each row; `part`: the split of the whole file, "" for the column of the row."""
    for number, row in read_rows(file, what="a list of Kinetics"):
        where, row = f"{file}, line {number}", {name: (field or "").strip() for name, field in row.items()}
        if lacking := [name for name in (*_COLUMNS, *([] if part else ["split"])) if not row.get(name)]:
            raise ValueError(f"{where}: {shown([*row.values()])} has no {lacking[0]}; expected {','.join(_COLUMNS)}")
        told = _PARTS.get(row["split"].lower()) if row.get("split") else part
        if told is None or part not in ("", told):
            raise ValueError(f"{where}: split {shown(row['split'])}; expected {part or 'train, val or test'}")
        yield told, where, row


def _wanted(part: str, where: str, row: dict[str, str], label_of: Callable) -> Wanted:
    video = row["youtube_id"]
    try:
        start, end = whole(row["time_start"]), whole(row["time_end"])
    except ValueError as error:
        raise ValueError(f"{where}: {error}; time_start and time_end are seconds") from None
    if not re.fullmatch(r"[\w-]+", video):
        raise ValueError(f"{where}: youtube_id {shown(video)}; expected letters, digits, - and _")
    name = f"{video}_{start:06d}_{end:06d}"
    return Wanted(where, f"{part}/{name}.mp4", (name, video), label_of(row["label"], where))
