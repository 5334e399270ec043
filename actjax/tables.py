"""Tables of numbers as CSV files with one header line."""

import pathlib

import numpy as np

from actjax.errors import ShapeError
from actjax.paths import to_path


def read_table(path, *, columns: int) -> np.ndarray:
    """Reads a CSV file with one header line -> float32 [rows, columns or more].

    Raises:
      FileNotFoundError. ValueError: a value that is NaN or not a number. ShapeError: no rows, too few columns, rows of
        different length. All name the file.
    """
    header, _, body = to_path(path).read_text().partition("\n")
    lines = body.split()  # numbers contain no whitespace
    width = lines[0].count(",") + 1 if lines else 0
    if width < columns:
        raise ShapeError(f"{path}: {len(lines)} rows of {width} columns; expected 1 or more rows of {columns} or more")
    try:
        table = np.array(",".join(lines).split(","), np.float32)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; expected numbers below the header {header!r}") from None
    if table.size != len(lines) * width:
        raise ShapeError(f"{path}: rows differ in length; the first has {width} columns")
    if np.isnan(table).any():
        raise ValueError(f"{path}: row {int(np.argmax(np.isnan(table))) // width} has NaN")
    return table.reshape(-1, width)


def write_table(path, header: str, rows) -> None:
    """Writes a CSV file atomically; `read_table` reads it back bit for bit in float32."""
    path = pathlib.Path(path)
    lines = [header, *(",".join([f"{x:.9g}" for x in row]) for row in np.asarray(rows).tolist())]
    building = path.with_name(f".{path.name}")
    building.write_text("\n".join(lines) + "\n")
    building.replace(path)
