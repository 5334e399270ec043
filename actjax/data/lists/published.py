"""What the readers of publishers' files give: the videos of each split and their classes; and where such files are."""

import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from actjax.errors import shown
from actjax.metrics.matching import repeated
from actjax.text_files import read_json


class Wanted(NamedTuple):
    """A video that a published list names.

    where: file and line, for errors. path: the publisher's own path of it. names: what its file may be called, without
    suffix, the best first: the end of its path in any folder, or if it starts with "/" its path from the given folder.
    """

    where: str
    path: str
    names: tuple[str, ...]
    label: int = -1


class Published(NamedTuple):
    """The lists of a set for recognition.

    splits: "train" and "val". others: videos that the lists name for neither. files: what was read.
    """

    class_names: list[str]
    splits: Mapping[str, Sequence[Wanted]]
    files: Sequence[pathlib.Path]
    others: Sequence[Wanted] = ()
    notes: Sequence[str] = ()


class Untrimmed(NamedTuple):
    """The annotations of a set for localization; segments are in seconds.

    annotations: video, as `Wanted.path`, -> [{"segment": [start, end], "label": name}, ...]. seconds: video -> its
    length as published; may lack videos.
    """

    class_names: list[str]
    splits: Mapping[str, Sequence[Wanted]]
    files: Sequence[pathlib.Path]
    annotations: Mapping[str, list[dict]]
    seconds: Mapping[str, float]
    notes: Sequence[str] = ()


def find_files(annotations: pathlib.Path, pattern: str, *, like: str) -> list[pathlib.Path]:
    """The files of a folder, or if there is none, of its subfolders, whose names match a pattern, sorted.

    Capitals and a suffix `.gz` do not matter.

    Args:
      like: the published name of such a file, for errors.

    Raises:
      FileNotFoundError: there is none, or no such folder. ValueError: `annotations` is a file.
    """
    if annotations.is_file():
        raise ValueError(f"--annotations={annotations} is a file; give the folder that holds {like}")
    if not annotations.is_dir():
        raise FileNotFoundError(f"--annotations={annotations} does not exist")
    matches = re.compile(rf"(?!\.){pattern}(\.gz)?", re.IGNORECASE).fullmatch
    files = lambda folder: [file for file in folder.iterdir() if matches(file.name) and file.is_file()]
    found = files(annotations)
    if not found:
        found = [file for folder in annotations.iterdir() if folder.is_dir() for file in files(folder)]
    if not found:
        raise FileNotFoundError(f"--annotations={annotations}: {like} is neither there nor in a folder there")
    return sorted(found)


def find_file(annotations: pathlib.Path, pattern: str, *, like: str) -> pathlib.Path:
    """The only file that `find_files` finds. ValueError: there are several."""
    found = find_files(annotations, pattern, like=like)
    if len(found) > 1:
        raise ValueError(f"{found[0]} and {found[1]}: which one? Give a folder of --annotations with one of them")
    return found[0]


def has_file(annotations: pathlib.Path, pattern: str) -> bool:
    """Whether `find_files` finds one."""
    try:
        return bool(find_files(annotations, pattern, like=""))
    except FileNotFoundError:
        return False


def labels(names: Sequence[str], source) -> Callable[[str, str], int]:
    """A function (name of a class, where) -> its label, which raises ValueError for an unknown class.

    Args:
      source: where the names are from, for errors.

    Raises:
      ValueError: a name is there twice, or has a line break.
    """
    known = {name: label for label, name in enumerate(names)}
    if odd := next((name for name in names if "\n" in name or "\r" in name), None):
        raise ValueError(f"{source}: class {shown(odd)} has a line break; every class is one line of classes.txt")
    if twice := repeated(names):
        raise ValueError(f"{source}: class {shown(twice)} is there twice; every class needs a name of its own")

    def label_of(name: str, where: str) -> int:
        if name not in known:
            raise ValueError(f"{where}: class {shown(name)} is unknown; {source} names {len(names)} others")
        return known[name]

    return label_of


def entries(path: pathlib.Path, fields: Mapping[str, tuple[type, ...]]) -> Iterator[tuple[str, dict]]:
    """(file and entry, the entry) of a JSON list of objects.

    Args:
      fields: those that an entry must have, and their types.

    Raises:
      ValueError: it is no such list; names the entry.
    """
    content = read_json(path, what="a published list")
    if not isinstance(content, list):
        raise ValueError(f"{path}: {shown(content)}; expected a list of objects with {[*fields]}")
    for number, entry in enumerate(content, 1):
        where = f"{path}, entry {number}"
        if not isinstance(entry, dict) or any(type(entry.get(name)) not in kinds for name, kinds in fields.items()):
            raise ValueError(f"{where}: {shown(entry)}; expected an object with {[*fields]}")
        yield where, entry


def check_rows(splits: Mapping[str, Sequence[Wanted]], files: Mapping[str, object]) -> None:
    """Raises ValueError: a split is empty, or has a video twice.

    Args:
      files: split -> where it is from, for errors.
    """
    for split, rows in splits.items():
        if not rows:
            raise ValueError(f"{files[split]} names no videos")
        first: dict[str, str] = {}
        for row in rows:
            if (there := first.setdefault(row.path, row.where)) is not row.where:
                raise ValueError(f"{row.where}: {shown(row.path)} is there twice, first in {there}; remove one")
