"""Tables of numbers as CSV files with one header line."""

import pathlib

import numpy as np

from actjax.errors import ShapeError, shown
from actjax.limits import too_large
from actjax.text_files import read_text


def read_table(path, *, columns: int) -> np.ndarray:
    """Reads a CSV file with one header line -> float32 [rows, columns or more].

    Raises:
      FileNotFoundError. ValueError: a value that is no finite float32, or numbers in place of the header. ShapeError:
        no rows, too few columns, rows of different length. All name the file.
    """
    text = read_text(path, what="a table of numbers")
    if told := too_large(text.count(","), "ACTJAX_MAX_VALUES"):
        raise ValueError(f"{path} has too many numbers: {told}")
    header, _, body = text.partition("\n")
    if _are_numbers(header):
        raise ValueError(f"{path}: line 1 holds numbers, {shown(header)}; it has to be a header, such as f0,f1,f2")
    lines = [line for line in map(str.strip, body.split("\n")) if line]
    width = lines[0].count(",") + 1 if lines else 0
    if lines and "," in header and header.count(",") + 1 != width:  # a header of one word is a remark
        raise ShapeError(f"{path}: the header {shown(header)} has {header.count(',') + 1} columns, line 2 {width}")
    if width < columns:
        raise ShapeError(f"{path}: {len(lines)} rows of {width} columns; expected 1 or more rows of {columns} or more")
    try:
        if any("_" in line for line in lines):
            raise ValueError("could not convert text with '_' to numbers")  # Python reads 1_000
        with np.errstate(over="ignore"):
            table = np.array(",".join(lines).split(","), np.float32)
    except ValueError as error:
        raise ValueError(f"{path}: {shown(str(error))}; expected numbers below the header {shown(header)}") from None
    if any(line.count(",") != width - 1 for line in lines):
        raise ShapeError(f"{path}: rows differ in length; the first has {width} columns")
    if (wrong := ~np.isfinite(table)).any():
        place = int(np.argmax(wrong))
        raise ValueError(
            f"{path}: row {place // width} has {'NaN' if np.isnan(table[place]) else 'a number beyond float32'}"
        )
    return table.reshape(-1, width)


def _are_numbers(header: str) -> bool:
    """Whether a first line is a row of numbers and not names of columns, which may be 0,1,2,..."""
    fields = header.strip().split(",")
    if fields == [str(k) for k in range(len(fields))]:
        return False
    try:
        return bool([float(field) for field in fields])
    except ValueError:
        return False


def write_table(path, header: str, rows) -> None:
    """Writes a CSV file atomically; `read_table` reads it back bit for bit in float32."""
    path = pathlib.Path(path)
    lines = [header, *(",".join([f"{x:.9g}" for x in row]) for row in np.asarray(rows).tolist())]
    building = path.with_name(f".{path.name}")
    building.write_text("\n".join(lines) + "\n")
    building.replace(path)
