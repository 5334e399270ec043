"""Reads annotation files item by item (text lines, CSV rows, JSON entries); errors name the place."""

import os
import pathlib
from collections.abc import Callable, Iterable, Iterator

from actjax.errors import shown
from actjax.text_files import read_json, read_lines, read_rows, suffix_of

_WHAT = "an annotation file"


def parsed(
    path: pathlib.Path, parse: Callable, *, line: str, columns: str, rows: Iterable[tuple[str, object]] | None = None
) -> list:
    """`parse(item)` of every item. For error messages: the expected `line` of text, or `columns` of CSV and JSON.

    Args:
      rows: the `items` of the file, if they have been read.
    """
    records = []
    for place, item in items(path) if rows is None else rows:
        try:
            records.append(parse(item))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
            if str(error).startswith(f"{path}: "):
                raise  # it tells everything
            text = f"no {error}" if isinstance(error, KeyError) else str(error)
            detail = (
                f" ({text[:200]})" if isinstance(error, KeyError | ValueError) else ""
            )  # omit Python's own messages
            expected = columns if isinstance(item, dict) else line
            if isinstance(error, KeyError) and suffix_of(path) == ".csv":
                detail += f"; line 1 must name the columns; it is {shown(list(item))}"
            if place == "line 1" and isinstance(item, str):
                detail += "; if it is a header, delete it, or name the file .csv"
            raise ValueError(f"{path}, {place}: {shown(item, most=60)}: expected '{expected}'{detail}") from None
    return records


def items(path: pathlib.Path) -> Iterator[tuple[str, object]]:
    """(place, item) of a text, CSV or JSON file; an item is a line, a dict by column, or an entry."""
    suffix = suffix_of(path)
    if suffix == ".json":
        content = read_json(path, what=_WHAT)
        if not isinstance(content, list | dict):
            raise ValueError(f"{path}: {shown(content)}; expected a list or an object")
        if isinstance(content, dict) and isinstance(content.get("database"), dict):
            content = content["database"]
        for k, item in enumerate(content.items() if isinstance(content, dict) else content):
            yield f"entry {k + 1}", item
    else:
        for number, item in (read_rows if suffix == ".csv" else read_lines)(path, what=_WHAT):
            yield f"line {number}", item


def whole(value) -> int:
    """A whole number that is given as a number or as text, also as 3.0, as tables of pandas have it.

    >>> whole("3"), whole(3.0), whole("3.0")
    (3, 3, 3)

    Raises:
      ValueError: anything else, such as 0.7, True or 1e30.
    """
    text = str(value).strip()
    number, _, rest = text.partition(".")
    if not number.isdecimal() or len(number) > 9 or rest.strip("0"):
        raise ValueError(f"{shown(text)} is no whole number, 0 or more")
    return int(number)


def joined_path(prefix: str, name: str) -> str:
    """`prefix/name`; absolute paths and URLs stay as they are."""
    return name if "://" in name else os.path.join(prefix, name)


def one_of(fields: dict, *names: str) -> str:
    """The first of these fields that is not empty. KeyError: all are empty or missing."""
    for name in names:
        if fields.get(name):
            return fields[name]
    raise KeyError(names[0])
