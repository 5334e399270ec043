"""Annotation files -> records."""

import os
import pathlib
from typing import NamedTuple


class VideoRecord(NamedTuple):
    """One labelled video file."""

    path: str
    label: int


def load_annotations(kind: str, path: str | os.PathLike, *, data_prefix: str | None = None) -> list[VideoRecord]:
    """The records of an annotation file, in its order.

    Args:
      kind: one of `KINDS`. "videos": lines `file label`, split at the last white space, so that file names may hold
        blanks; empty lines are skipped (API entry VideoDataset).
      path: the annotation file.
      data_prefix: folder that relative file names start from; default the annotation file's own.

    Raises:
      ValueError: an unknown kind; a line that does not parse (names file, line and text); no records at all.
      FileNotFoundError: no such annotation file.
    """
    if kind not in KINDS:
        raise ValueError(f"load_annotations: kind={kind!r}; choose from {sorted(KINDS)}")
    path = pathlib.Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"annotation file {path} does not exist")
    prefix = path.parent if data_prefix is None else pathlib.Path(data_prefix).expanduser()
    records = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if line.strip():
            try:
                records.append(KINDS[kind](line, prefix))
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {line!r}: {error}") from None
    if not records:
        raise ValueError(f"{path} holds no records")
    return records


def _video(line: str, prefix: pathlib.Path) -> VideoRecord:
    name, _, label = line.strip().replace("\t", " ").rpartition(" ")
    if not name or not label.isdecimal():
        raise ValueError("expected 'FILE LABEL' with a label of 0 or more")
    return VideoRecord(str(prefix / name.strip()), int(label))


KINDS = {"videos": _video}


def load_class_names(path: str | os.PathLike) -> list[str]:
    """One class name per line -> list; line i names class i."""
    path = pathlib.Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"class name file {path} does not exist")
    return path.read_text().splitlines()
