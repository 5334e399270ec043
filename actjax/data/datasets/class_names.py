"""Files of class names -> names in the order of the labels."""

import os
from collections.abc import Iterable

from actjax.errors import shown
from actjax.paths import does_not_exist, to_path
from actjax.text_files import read_json, read_rows, read_text, suffix_of

_WHAT = "a class name file"


def load_class_names(path: str | os.PathLike) -> list[str]:
    """The names of the classes in a file; name k, counted from 0, is that of class k.

    Reads text with a name in each line, or with a number and a name as in UCF101's classInd.txt; CSV with the columns
    `id` and `name`; JSON with a list of names, or an object of names and numbers. Numbers, which count from 0 or from
    1, give the order and are not part of the names.

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
    if suffix_of(path) == ".csv" or lines[0].lower() == "id,name":
        rows = [row for _, row in read_rows(path, what=_WHAT)]
        if not rows or not {"id", "name"} <= rows[0].keys():
            raise ValueError(f"{path}: line 1 is {shown(lines[0])}; a CSV file of class names has the columns id,name")
        return _in_order(path, ((row["id"], row["name"].strip()) for row in rows))
    if "" in lines:
        raise ValueError(f"{path}, line {lines.index('') + 1}: is empty; every line names one class")
    pairs = [line.split(maxsplit=1) for line in lines]
    numbered = all(len(pair) == 2 and pair[0].isdecimal() for pair in pairs)
    return _in_order(path, pairs) if numbered else lines


def _from_json(path) -> list[str]:
    content = read_json(path, what=_WHAT)
    if isinstance(content, dict):
        numbered = all(str(number).isdecimal() for number in content.values())
        pairs = content.items() if not numbered else ((number, name) for name, number in content.items())
        return _in_order(path, pairs)
    if not isinstance(content, list) or not all(isinstance(name, str) and name.strip() for name in content):
        raise ValueError(f"{path}: {shown(content)}; expected a list of class names")
    return [name.strip() for name in content]


def _in_order(path, pairs: Iterable[tuple[object, str]]) -> list[str]:
    """The names of pairs (number, name), by number."""
    pairs = list(pairs)
    if not all(str(k).strip().isdecimal() and isinstance(name, str) and name for k, name in pairs):
        wrong = next(pair for pair in pairs if not str(pair[0]).strip().isdecimal() or not pair[1])
        raise ValueError(f"{path}: {shown(wrong)}; expected a whole number and the name of a class")
    pairs = sorted((int(k), name) for k, name in pairs)
    numbers = [k for k, _ in pairs]
    if numbers not in ([*range(len(pairs))], [*range(1, len(pairs) + 1)]):
        raise ValueError(
            f"{path}: its numbers, {shown(numbers)}, count neither 0, 1, ... nor 1, 2, ...; write the names alone, one "
            "in a line, in the order of the labels"
        )
    return [name for _, name in pairs]
