"""Something-Something V2: `something-something-v2-labels.json`, `-train.json` and `-validation.json`.

Newer downloads call them `labels.json`, `train.json` and `validation.json`. An entry has an `id` and a `template`, the
class with its placeholders in brackets. Videos are `id.webm`.
"""

import pathlib
import re

from actjax.data.datasets.class_names import load_class_names
from actjax.data.lists.published import Published, Wanted, check_rows, entries, find_file, has_file, labels
from actjax.data.lists.something_v1 import HIDDEN
from actjax.errors import shown

_PREFIX = "something-something-v2-"


def read_something_v2(annotations: pathlib.Path) -> Published:
    """Something-Something V2, with the labels of its file.

    Raises:
      FileNotFoundError: a file is missing. ValueError: an entry without these fields, an unknown class, a class or a
        video that is there twice.
    """
    file_of = lambda part: find_file(annotations, _pattern(part), like=f"{_PREFIX}{part}.json, or {part}.json,")
    classes, files = file_of("labels"), {"train": file_of("train"), "val": file_of("validation")}
    names = load_class_names(classes)
    label_of = labels(names, classes)
    splits = {}
    for part, file in files.items():
        rows = splits[part] = []
        for where, entry in entries(file, {"id": (str, int), "template": (str,)}):
            video = str(entry["id"])
            if not re.fullmatch(r"[\w-]+", video):
                raise ValueError(f"{where}: id {shown(video)}; expected a number")
            name = re.sub(r"[\[\]]", "", entry["template"]).strip()
            rows.append(Wanted(where, f"{video}.webm", (video,), label_of(name, where)))
    check_rows(splits, files)
    notes = [HIDDEN] if has_file(annotations, _pattern("test")) else []
    return Published(names, splits, [classes, *files.values()], notes=notes)


def _pattern(part: str) -> str:
    return rf"({_PREFIX})?{part}\.json"
