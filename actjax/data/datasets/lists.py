"""Annotation lists of labelled video files or image folders -> records."""

import pathlib
from collections.abc import Callable

import numpy as np

from actjax.data.datasets.labels import labels_of
from actjax.data.datasets.parsing import joined_path, one_of, parsed, whole
from actjax.data.datasets.records import RawframesRecord, VideoRecord


def videos(path, prefix, *, multi_class: bool = False, num_classes: int | None = None) -> list[VideoRecord]:
    """Kind "videos" of `load_annotations`."""
    label_of = labels_of(multi_class, num_classes)

    def parse(fields: dict | str) -> VideoRecord:
        if isinstance(fields, dict):
            return VideoRecord(joined_path(prefix, one_of(fields, "path", "filename")), label_of(fields))
        if multi_class:
            name, *labels = fields.split()
            return VideoRecord(joined_path(prefix, name), label_of(labels))
        name, label = (part.strip() for part in fields.rsplit(maxsplit=1))
        if name.endswith((",", ";")):
            raise ValueError("this looks like CSV: name the file .csv, with a first line path,label")
        return VideoRecord(joined_path(prefix, name), label_of([label]))

    line = "FILE [LABEL ...]" if multi_class else "FILE LABEL, or with data.multi_class=True FILE [LABEL ...]"
    return _labelled(path, parse, line=line, columns="path or filename, label")


def rawframes(
    path,
    prefix,
    *,
    multi_class: bool = False,
    num_classes: int | None = None,
    with_offset: bool = False,
    filename_tmpl: str = "img_{:05}.jpg",
    start_index: int = 1,
    modality: str = "RGB",
) -> list[RawframesRecord]:
    """Kind "rawframes" of `load_annotations`."""
    label_of = labels_of(multi_class, num_classes)
    flow = modality == "Flow"
    try:
        filename_tmpl.format(*(["x"] if flow else []), 1)
    except (ValueError, IndexError, KeyError) as error:
        example = "flow_{}_{:05d}.jpg, for modality='Flow'" if flow else "img_{:05d}.jpg, for modality='RGB'"
        raise ValueError(f"data.filename_tmpl={filename_tmpl!r}: {error}; expected the like of {example}") from None
    common = dict(filename_tmpl=filename_tmpl, start_index=start_index, modality=modality)

    def parse(fields: dict | str) -> RawframesRecord:
        if isinstance(fields, dict):
            folder, labels = one_of(fields, "path", "frame_dir"), fields
            offset, num_frames = fields.get("offset") or 0, fields["total_frames"]
        else:
            folder, *numbers = fields.split()
            offset = numbers.pop(0) if with_offset else 0
            num_frames, labels = numbers.pop(0), numbers
        frames, first = whole(num_frames), whole(offset)
        record = RawframesRecord(joined_path(prefix, folder), frames, label_of(labels), first, **common)
        if record.num_frames < 1 or record.offset < 0:
            raise ValueError("total_frames must be at least 1, offset at least 0")
        return record

    line = f"FOLDER {'OFFSET ' if with_offset else ''}TOTAL_FRAMES {'[LABEL ...]' if multi_class else 'LABEL'}"
    return _labelled(path, parse, line=line, columns="path or frame_dir, total_frames, label")


def _labelled(path: pathlib.Path, parse: Callable, **expected: str) -> list:
    """`parsed`, and checks that all labels are of the same kind."""
    records = parsed(path, parse, **expected)
    for record in records:
        if np.ndim(record.label) != np.ndim(records[0].label):
            raise ValueError(f"{path}: {record.path} has label {record.label}, {records[0].path} {records[0].label}; "
                             "if any label has a weight, all need one, such as 3:1")  # fmt: skip
    return records
