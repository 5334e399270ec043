"""The table of videos whose features a folder holds, `video_info.csv`, which `load_annotations` reads.

A run of several hosts writes a table each, and `join_info` merges them.
"""

import csv
import io
import pathlib
import re

from actjax.data.clips.snippets import Length
from actjax.paths import replace

INFO = ("video", "numFrame", "seconds", "fps", "rfps", "subset", "featureFrame", "path", "stamp")
TABLE = re.compile(r"video_info(-\d{5}-of-\d{5})?")  # the names of tables, without suffix


def known_rows(folder: pathlib.Path) -> dict[str, dict]:
    """The rows of all tables in a folder, by video."""
    return {row["video"]: row for table in tables(folder) for row in complete_rows(table)}


def tables(folder: pathlib.Path) -> list[pathlib.Path]:
    """The tables of one or several hosts."""
    return [path for path in sorted(folder.glob("video_info*.csv")) if TABLE.fullmatch(path.stem)]


def complete_rows(info: pathlib.Path) -> list[dict]:
    """The complete rows of a table; a killed run may have left half a row at its end."""
    if not info.exists():
        return []
    text = info.read_bytes().decode("utf-8-sig")
    reader = csv.DictReader(io.StringIO(text, newline=""))
    rows = [row for row in reader if row.get("featureFrame")]
    if rows and "video" not in reader.fieldnames:
        raise ValueError(f"{info} has no column 'video', unlike the table that extract writes; give another --out")
    return rows if text.endswith(("\n", "\r")) else rows[:-1]


def append_row(info: pathlib.Path, name: str, length: Length, interval: int, source: str, *, stamp: str = "") -> None:
    """Adds a video to a table.

    Args:
      source: the file that its features are of. stamp: what tells it from another file that later has its path.
    """
    fps = length.fps or ""  # unknown for folders of pictures
    seconds = length.num_frames / fps if fps else ""
    row = (name, length.num_frames, seconds, fps, fps, "", length.num_snippets * interval, source, stamp)
    with info.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow(row)


def join_info(folder: pathlib.Path) -> None:
    """Merges the tables of several hosts into `video_info.csv`, once all hosts are done."""
    parts = sorted(folder.glob("video_info-*-of-*.csv"))
    if not parts:
        return
    info = folder / "video_info.csv"
    write_table(info, [row for part in (info, *parts) for row in complete_rows(part)])
    for part in parts:
        part.unlink()


def write_table(info: pathlib.Path, rows: list[dict]) -> None:
    """Writes each video once, its last row, by name; columns that others added stay."""
    rows = {row["video"]: row for row in rows}
    columns = dict.fromkeys([*INFO, *(column for row in rows.values() for column in row if column)])

    def write(file) -> None:
        text = io.TextIOWrapper(file, newline="", encoding="utf-8", write_through=True)
        writer = csv.DictWriter(text, [*columns], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows[name] for name in sorted(rows))
        text.detach()

    replace(info, write)
