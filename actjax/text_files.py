"""The text files of others: lists, tables, annotations, results. This is the only place that decodes them.

A file is UTF-8, or UTF-16 or UTF-32 with its byte order mark, and may be packed with gzip, whatever its name. Lines end
as on any system. A file that is none of this is refused, and so is one above a limit of `limits`.
"""

import codecs
import csv
import gzip
import io
import itertools
import json
import pathlib
import re
import zlib
from collections.abc import Iterator

from actjax.errors import shown
from actjax.limits import read_bytes, too_large

_MARKS = {  # UTF-32's begins with UTF-16's
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_OTHERS = {
    b"PK\x03\x04": "a zip archive, or a spreadsheet; unpack it, or export it as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel workbook; export it as CSV",
    b"\x80": "a pickle of Python; save it as JSON, or its arrays as .npy",
    b"BZh": "packed with bzip2; unpack it",
    b"\xfd7zXZ": "packed with xz; unpack it",
    b"\x28\xb5\x2f\xfd": "packed with zstd; unpack it",
    b"7z\xbc\xaf": "a 7z archive; unpack it",
    b"\x93NUMPY": "an array of NumPy, whose name should end in .npy",
}


def suffix_of(path: str | pathlib.Path) -> str:
    """What kind of file a name promises, in lower case and without .gz.

    >>> suffix_of("LABELS.JSON.gz")
    '.json'
    """
    name = pathlib.PurePath(path).name.lower()
    return pathlib.PurePath(name.removesuffix(".gz")).suffix


def read_text(path: str | pathlib.Path, *, what: str = "a text file") -> str:
    r"""The text of a file, without byte order mark, each line ending in "\n".

    Args:
      what: what the file should be, for errors.

    Raises:
      FileNotFoundError: no such file. ValueError: it is no text, or too large.
    """
    try:
        data = read_bytes(path, what, "ACTJAX_MAX_TEXT_MB", opened=_unpacking)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: its gzip data is damaged or cut short ({error}); get it again") from None
    if other := next((told for start, told in _OTHERS.items() if data.startswith(start)), None):
        raise ValueError(f"{path} is not text, as {what} must be, but {other}")
    text = _decoded(data, path, what).replace("\r\n", "\n").replace("\r", "\n")
    if told := too_large(text.count("\n"), "ACTJAX_MAX_TEXT_LINES"):
        raise ValueError(f"{path} has too many lines: {told}")
    return text


def read_lines(path: str | pathlib.Path, *, what: str = "a text file") -> Iterator[tuple[int, str]]:
    """(number from 1, text) of each line of a file that is not blank; errors as `read_text`."""
    text, start, number = read_text(path, what=what), 0, 0
    while start < len(text):
        number, end = number + 1, text.find("\n", start)
        end = end if end >= 0 else len(text)
        if line := text[start:end].strip():
            yield number, line
        start = end + 1


def read_rows(path: str | pathlib.Path, *, what: str = "a CSV file") -> Iterator[tuple[int, dict[str, str]]]:
    """(line, {column: field}) of each row of a CSV file that is not blank, below a header.

    Columns are separated by commas, or as spreadsheets may do by semicolons or tabs if the header has no comma, or by
    what a first line such as `sep=;` says. Those without a name are left out; fields that a row lacks at its end are
    None.

    Raises:
      ValueError: a row has more fields than the header, two columns have the same name, or see `read_text`.
    """
    text = read_text(path, what=what)
    first, _, rest = text.partition("\n")
    named = re.fullmatch(r"sep=(.)", first.strip("\"' "))
    comma = named[1] if named else next((mark for mark in ",;\t" if mark in first), ",")
    above = 1 if named else 0  # lines before the header
    rows = csv.reader(io.StringIO(rest if named else text, newline=""), delimiter=comma, strict=True)
    try:
        header = [name.strip() for name in next(rows, [])]
        names = [name for name in header if name]
        if len({*names}) < len(names):
            raise ValueError(f"{path}, line 1: several columns have the same name in the header {shown(header)}")
        for row in rows:
            if not any(field.strip() for field in row):
                continue
            if len(row) > len(header):
                raise ValueError(
                    f"{path}, line {rows.line_num + above}: {len(row)} fields, {shown(row)}; the header has "
                    f'{len(header)}, {shown(header)}; put names with commas in ""'
                )
            fields = itertools.zip_longest(header, row)
            yield rows.line_num + above, {name: field for name, field in fields if name}
    except csv.Error as error:
        raise ValueError(f"{path}, line {rows.line_num + above}: not CSV: {error}") from None


def read_json(path: str | pathlib.Path, *, what: str = "a JSON file"):
    """The content of a JSON file.

    Raises:
      ValueError: it does not parse, is nested too deeply, names a key twice in one object, or see `read_text`.
    """
    text = read_text(path, what=what)
    values = text.count(",") + text.count("[") + text.count("{")
    if told := too_large(values, "ACTJAX_MAX_VALUES"):
        raise ValueError(f"{path}: too many values: {told}")
    try:
        return json.loads(text, object_pairs_hook=unique_keys, parse_int=_whole)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"{path}, {place}: not JSON: {error.msg}") from None
    except RecursionError:
        raise ValueError(f"{path}: JSON that is nested too deeply to be {what}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _unpacking(file):
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    return gzip.GzipFile(fileobj=file) if packed else file


def _decoded(data: bytes, path, what: str) -> str:
    mark, encoding = next(((m, name) for m, name in _MARKS.items() if data.startswith(m)), (b"", "utf-8"))
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        place = len(mark) + error.start
        line = data.count(b"\n", 0, place) + 1
        raise ValueError(
            f"{path} is not {encoding.upper()} text, as {what} must be: byte {place}, in line {line}, is "
            f"{data[place]:#04x}; save it as UTF-8 (in Excel, CSV UTF-8), or run iconv -f WINDOWS-1252 -t UTF-8"
        ) from None
    if (place := text.find("\0")) >= 0:
        line = text.count("\n", 0, place) + 1
        raise ValueError(f"{path} is not UTF-8 text, as {what} must be: a zero byte in line {line}; save it as UTF-8")
    return text


def unique_keys(pairs: list[tuple]) -> dict:
    """For `json.loads(object_pairs_hook=)`, which takes the last of several keys. ValueError: a key is there twice."""
    content = {}
    for name, value in pairs:
        if name in content:
            raise ValueError(f"duplicate key {shown(name)} in one object; keep one of them")
        content[name] = value
    return content


def _whole(digits: str) -> int | float:
    """Longer numbers become floats, infinite above 308 digits; readers refuse these."""
    return int(digits) if len(digits) < 20 else float(digits)
