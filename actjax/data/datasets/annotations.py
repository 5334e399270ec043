"""Annotation files -> typed records."""

import csv
import inspect
import io
import os
from collections.abc import Sequence

import numpy as np

from actjax.data.datasets.activitynet import activitynet
from actjax.data.datasets.class_names import load_class_names
from actjax.data.datasets.labels import label_text
from actjax.data.datasets.lists import rawframes, videos
from actjax.data.datasets.records import ActivityNetRecord, RawframesRecord, VideoRecord
from actjax.data.datasets.ssn_lists import SSNRecord, load_ssn
from actjax.data.prepared.reading import load_prepared
from actjax.paths import does_not_exist, to_path

__all__ = [
    "KINDS",
    "ActivityNetRecord",
    "RawframesRecord",
    "VideoRecord",
    "load_annotations",
    "load_class_names",
    "save_annotations",
]


def load_annotations(kind: str, path: str | os.PathLike, *, data_prefix: str | None = None, **options) -> Sequence:
    """The records of an annotation file, in its order.

    Args:
      kind: one of `KINDS`.
        "videos": lines `file label`, split at the last white space, so file names may contain spaces; with
        `multi_class` lines `file label label ...`, or the file alone if it shows none of the classes. JSON
        `[{"filename", "label": [...]}]`, CSV with columns `path`, `label` (API entry VideoDataset).
        "rawframes": lines `folder total_frames label`; `with_offset`: `folder offset total_frames label`;
        `multi_class`: several labels. JSON with `frame_dir`, `total_frames`, CSV with columns of these names (API
        entry RawframeDataset).
        "activitynet": JSON, video -> durations and annotations (API entry ActivityNetDataset), or the official file,
        {"database": {id: {"subset", "annotations"}}}, which needs `video_info`.
        "ssn": proposal file of SSN (API entry SSNDataset), see `data.datasets.ssn_lists.load_ssn`.
        "prepared", "tfds": `path` is the folder of a prepared set, `split` names the split.
      path: the annotation file; `.json` and `.csv` are read as such, all others as text, skipping empty lines. Text is
        UTF-8, or UTF-16 with its byte order mark; gzip is unpacked.
      data_prefix: folder or URL that relative paths start from; default: the annotation file's folder (MMAction2 0.6
        fails without it). Absolute paths and URLs stay as they are.
      options: of the kind. "videos" and "rawframes": `multi_class`, labels become many-hot float32 [num_classes];
        `num_classes`, an upper bound of labels; `names`, of the classes, for labels of CSV and JSON that are names (see
        `named_labels`), by default those of this file, sorted. "rawframes": also `with_offset`, `filename_tmpl`,
        `start_index`, `modality`. In CSV, labels `3;7` are several classes, and `3:0.7;7:0.3` gives them weights:
        float32 [num_classes] that sums to 1, or with `multi_class` each weight up to 1. "activitynet": `subset`, the
        records to take: "training", "validation" or "testing"; `video_info`, the authors' table of videos (CSV: video,
        numFrame, seconds, fps, rfps, subset, featureFrame), for fields that the annotations lack; videos of the
        official file that are not in the table are left out.

    Raises:
      ValueError: an unknown kind or option; a line that does not parse (names file, line and text); no records; a
        folder instead of a file.
      FileNotFoundError: no such annotation file.
    """
    if kind not in KINDS:
        raise ValueError(f"load_annotations: kind={kind!r}; choose from {sorted(KINDS)}")
    parameters = inspect.signature(KINDS[kind]).parameters
    known = set(parameters) - {"path", "prefix"}
    if unknown := sorted(set(options) - known):
        raise ValueError(f"load_annotations: kind {kind!r} does not take {unknown}; it takes {sorted(known)}")
    path = to_path(path)
    if not path.exists():
        raise FileNotFoundError(f"annotation file {does_not_exist(path)}")
    if KINDS[kind] is not _prepared and path.is_dir():
        raise ValueError(f"{path} is a folder, not an annotation file, that is, a list of videos and their labels")
    prefix = str(path.parent) if data_prefix is None else os.path.expanduser(data_prefix)
    records = KINDS[kind](path, prefix, **options)
    if not len(records):
        raise ValueError(f"{path} holds no records")
    return records


def _ssn(
    path,
    prefix,
    *,
    frame_counts=None,
    filter_gt: bool = True,
    suffix: str = "",
    filename_tmpl: str = "img_{:05}.jpg",
    start_index: int = 1,
    modality: str = "RGB",
) -> list[SSNRecord]:
    options = dict(filename_tmpl=filename_tmpl, start_index=start_index, modality=modality, suffix=suffix)
    return load_ssn(path, data_prefix=prefix, frame_counts=frame_counts, filter_gt=filter_gt, **options)


def _prepared(path, prefix, *, split: str) -> Sequence:
    return load_prepared(path, split)


KINDS = {
    "videos": videos,
    "rawframes": rawframes,
    "activitynet": activitynet,
    "ssn": _ssn,
    "prepared": _prepared,
    "tfds": _prepared,
}


def save_annotations(records: Sequence, path: str | os.PathLike) -> None:
    """Writes records as a CSV file for `load_annotations`, with absolute paths."""
    to_path(path).write_bytes(annotations_text(records).encode())


def annotations_text(records: Sequence) -> str:
    """The content of the CSV file that `save_annotations` writes.

    Folders of frames whose names or first number are not the default ones get the columns `filename_tmpl` and
    `start_index`.
    """
    columns = ["path", "label"]
    columns += [name for name in ("total_frames", "offset") if records and hasattr(records[0], "offset")]
    own_names = any(_naming(record) not in (None, _NAMING) for record in records)
    columns += ["filename_tmpl", "start_index"] * own_names
    soft = any(not np.isin(record.label, (0, 1)).all() for record in records if np.ndim(record.label))
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(columns)
    for record in records:
        name = record.path if "://" in record.path else os.path.abspath(record.path)
        row = [name, label_text(record.label, soft)]
        row += [record.num_frames, record.offset] if "offset" in columns else []
        writer.writerow(row + ([*_naming(record)] if own_names else []))
    return file.getvalue()


def _naming(record) -> tuple[str, int] | None:
    """The template and the first number of the frames of a folder; None for other records."""
    return (record.filename_tmpl, record.start_index) if isinstance(record, RawframesRecord) else None


_NAMING = _naming(RawframesRecord("", 1))
