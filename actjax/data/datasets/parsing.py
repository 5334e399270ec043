"""Reads annotation files item by item (text lines, CSV rows, JSON entries); errors name the place."""

import csv
import gzip
import io
import json
import os
import pathlib
from collections.abc import Callable, Iterator


def parsed(path: pathlib.Path, parse: Callable, *, line: str, columns: str) -> list:
    """`parse(item)` of every item. For error messages: the expected `line` of text, or `columns` of CSV and JSON."""
    records = []
    for place, item in items(path):
        try:
            records.append(parse(item))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            text = f"no {error}" if isinstance(error, KeyError) else str(error)
            detail = f" ({text})" if isinstance(error, KeyError | ValueError) else ""  # omit Python's own messages
            expected = columns if isinstance(item, dict) else line
            raise ValueError(f"{path}, {place}: {item!r}: expected '{expected}'{detail}") from None
    return records


def items(path: pathlib.Path) -> Iterator[tuple[str, object]]:
    """(place, item) of a text, CSV or JSON file; an item is a line, a dict by column, or an entry."""
    text = text_of(path, "an annotation file")
    suffix = pathlib.Path(path.name.removesuffix(".gz")).suffix
    if suffix == ".json":
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from None
        if not isinstance(content, list | dict):
            raise ValueError(f"{path}: {content!r}; expected a list or an object")
        if isinstance(content, dict) and isinstance(content.get("database"), dict):
            content = content["database"]
        for k, item in enumerate(content.items() if isinstance(content, dict) else content):
            yield f"entry {k + 1}", item
    elif suffix == ".csv":
        rows = csv.DictReader(io.StringIO(text, newline=""))
        for row in rows:
            if None in row:
                raise ValueError(f"{path}, line {rows.line_num}: {list(row.values())}: expected {rows.fieldnames}; "
                                 'put names with commas in ""')  # fmt: skip
            yield f"line {rows.line_num}", row
    else:
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip():
                yield f"line {number}", line


def text_of(path: pathlib.Path, what: str) -> str:
    """The text of a file, which is unpacked if its name ends in .gz.

    Args:
      what: what the file should be, for the error.

    Raises:
      ValueError: it is not text in UTF-8.
    """
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    try:
        return data.decode("utf-8-sig")  # spreadsheets start their files with a byte order mark
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8, as {what} has to be ({error})") from None


def joined_path(prefix: str, name: str) -> str:
    """`prefix/name`; absolute paths and URLs stay as they are."""
    return name if "://" in name else os.path.join(prefix, name)


def one_of(fields: dict, *names: str) -> str:
    """The first of these fields that is not empty. KeyError: all are empty or missing."""
    for name in names:
        if fields.get(name):
            return fields[name]
    raise KeyError(names[0])
