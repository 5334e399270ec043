"""Files of class names -> names in the order of the labels."""

import os
import re
from collections.abc import Callable, Iterable, Sequence

from actjax.errors import shown
from actjax.metrics.matching import repeated
from actjax.paths import does_not_exist, to_path
from actjax.text_files import read_json, read_rows, read_text, suffix_of

_WHAT = "a class name file"
_HEADER = re.compile(r"id(\s*[,;]\s*|\s+)name", re.IGNORECASE)
_NUMBERED = re.compile(r"(\d+)(?:\s*[,;:.)]\s*|\s+)(\S.*)")  # "1 run", "1. run", "1: run", "1,run"


def load_class_names(path: str | os.PathLike) -> list[str]:
    """The names of the classes in a file; name k, counted from 0, is that of class k.

    Reads text with a name in each line, or with a number and a name as in UCF101's classInd.txt; a table with the
    columns `id` and `name`; JSON with a list of names, or an object of names and numbers. Numbers, which count from 0
    or from 1, give the order and are not part of the names.

    Raises:
      FileNotFoundError: no such file. ValueError: an empty line, numbers that do not count from 0 or 1, or a file of
        another kind.
    """
    path = to_path(path)
    if not path.exists():
        raise FileNotFoundError(f"class name file {does_not_exist(path)}")
    if suffix_of(path) == ".json":
        return _from_json(path)
    lines = [line.strip() for line in read_text(path, what=_WHAT).rstrip().split("\n")]
    if _HEADER.fullmatch(lines[0]):
        if not re.search(r"[,;\t]", lines[0]):
            raise ValueError(f"{path}: line 1, {shown(lines[0])}, looks like a header; separate the columns by commas")
        rows = ({k.lower(): field for k, field in row.items()} for _, row in read_rows(path, what=_WHAT))
        return _in_order(path, ((row["id"], (row["name"] or "").strip()) for row in rows))
    if "" in lines:
        raise ValueError(f"{path}, line {lines.index('') + 1}: is empty; every line names one class")
    pairs = [_NUMBERED.fullmatch(line) for line in lines]
    if all(pairs):
        return _in_order(path, (pair.groups() for pair in pairs))
    if suffix_of(path) == ".csv" and any(re.search(r"[,;\t]", line) for line in lines):
        raise ValueError(f"{path}: line 1 is {shown(lines[0])}; a table of class names has the columns id,name")
    return lines


def class_names_text(names: Sequence[str]) -> str:
    r"""The content of a file that `load_class_names` reads as these names.

    >>> class_names_text(["run", "jump"]), class_names_text(["1. run", "2. jump"])
    ('run\njump\n', '0 1. run\n1 2. jump\n')

    Names that would be taken for numbered ones, or for a header, are numbered.

    Raises:
      ValueError: a name that would then be read as another one.
    """
    if not _HEADER.fullmatch(names[0]) and not all(map(_NUMBERED.fullmatch, names)):
        return "".join(f"{name}\n" for name in names)
    lines = [f"{k} {name}" for k, name in enumerate(names)]
    for line, name in zip(lines, names, strict=True):
        if _NUMBERED.fullmatch(line)[2] != name:
            raise ValueError(f"class {shown(name)}: a name must not begin with , ; : . or a bracket; rename it")
    return "".join(f"{line}\n" for line in lines)


def checked_names(
    source: str | Sequence[str] | None, num_classes: int, load: Callable, *, where: str = "data.class_names"
) -> list[str]:
    """Class names from a file that `load` reads, or as given; without a source, the class numbers."""
    if not source:
        return [str(k) for k in range(num_classes)]
    names, where = (load(source), source) if isinstance(source, str) else ([*map(str, source)], where)
    if len(names) != num_classes:
        raise ValueError(
            f"{where} has {len(names)} names, but model.num_classes={num_classes}; "
            f"set model.num_classes={len(names)}, or correct the names"
        )
    if twice := repeated(names):
        raise ValueError(f"{where} has the name {twice!r} more than once; give every class a name of its own")
    return names


def _from_json(path) -> list[str]:
    content = read_json(path, what=_WHAT)
    if isinstance(content, dict):
        numbered = all(_is_number(number) for number in content.values())
        pairs = content.items() if not numbered else ((number, name) for name, number in content.items())
        return _in_order(path, pairs)
    if not isinstance(content, list) or not all(isinstance(name, str) and name.strip() for name in content):
        raise ValueError(f"{path}: {shown(content)}; expected a list of class names")
    return [name.strip() for name in content]


def _in_order(path, pairs: Iterable[tuple[object, str]]) -> list[str]:
    """The names of pairs (number, name), by number."""
    pairs = list(pairs)
    if not pairs:
        raise ValueError(f"{path}: holds no names of classes")
    for k, name in pairs:
        if not _is_number(k) or not isinstance(name, str) or not name:
            raise ValueError(f"{path}: {shown((k, name))}; expected a whole number and the name of a class")
    pairs = sorted((int(k), name) for k, name in pairs)
    numbers = [k for k, _ in pairs]
    if numbers not in ([*range(len(pairs))], [*range(1, len(pairs) + 1)]):
        raise ValueError(
            f"{path}: its numbers, {shown(numbers)}, must run 0, 1, ... or 1, 2, ...; write the names alone, one in a "
            "line, in the order of the labels"
        )
    return [name for _, name in pairs]


def _is_number(value) -> bool:
    text = str(value).strip()
    return text.isdecimal() and len(text) < 10
