"""Writes lists, class names and what is missing; nothing that a publisher shipped is overwritten."""

import csv
import io
import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from actjax.data.datasets.class_names import load_class_names
from actjax.errors import shown
from actjax.paths import rewrite

FILES = {"videos": (".csv", "path,label"), "frames": (".csv", "path,total_frames,label"), "untrimmed": (".json", "")}
MISSING = "missing.txt"
EXAMPLES = 3


def check_out(out: pathlib.Path, suffix: str, sources: Iterable[pathlib.Path]) -> None:
    """Raises ValueError: a list would replace a published file, or a config could not name it."""
    if "," in str(out) or str(out)[0] in "([":
        raise ValueError(f"--out={out}: a config takes a path with a comma, or after a bracket, for several; rename it")
    published = {os.path.realpath(path): path for path in sources}
    for name in (f"train{suffix}", f"val{suffix}", "classes.txt", MISSING):
        if found := published.get(os.path.realpath(out / name)):
            raise ValueError(f"--out={out}: {name} would replace the published file {found}; give another folder")


def write_csv(path: pathlib.Path, header: str, rows: Iterable[Sequence]) -> None:
    """Writes a list for `load_annotations`. ValueError: a path that cannot stand in it."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header.split(","))
    for row in rows:
        _check_text(row[0])
        writer.writerow(row)
    rewrite(path, file.getvalue())


def write_json(path: pathlib.Path, videos: Mapping[str, dict]) -> None:
    """Writes annotations for `load_annotations`, a video in a line."""
    rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(info)}" for name, info in videos.items())
    rewrite(path, f"{{\n{rows}\n}}\n")


def write_names(path: pathlib.Path, names: Sequence[str]) -> None:
    """Writes the names of the classes, one in a line. ValueError: `load_class_names` would read others."""
    rewrite(path, "".join(f"{name}\n" for name in names))
    if load_class_names(path) != list(names):
        raise ValueError(f"{path}: the names of the classes, {shown(list(names))}, cannot stand in lines of their own")


def write_missing(path: pathlib.Path, missing: Mapping[str, Mapping[str, str]]) -> None:
    """Writes split, path and reason of each missing video, separated by tabs; an empty file if none is missing."""
    rows = ((split, name, why) for split, videos in missing.items() for name, why in videos.items())
    rewrite(path, "".join("\t".join(row) + "\n" for row in rows))


def told(names: Iterable[str], count: int) -> str:
    """The first few of `count` names, for a line."""
    first = [shown(name) for _, name in zip(range(EXAMPLES), names, strict=False)]
    return ", ".join(first) + (", ..." if count > EXAMPLES else "")


def _check_text(path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{shown(path)}: the name of this file is not UTF-8; rename it") from None
    if any(letter in path for letter in "\r\n"):
        raise ValueError(f"{shown(path)}: a name with a line break cannot stand in a list; rename it")
