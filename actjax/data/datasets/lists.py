"""Annotation lists of labelled video files or image folders -> records."""

import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from actjax.data.datasets.frame_folders import check_template
from actjax.data.datasets.labels import labels_of
from actjax.data.datasets.named_labels import are_names, names_of_rows
from actjax.data.datasets.parsing import items, joined_path, one_of, parsed, whole
from actjax.data.datasets.records import RawframesRecord, VideoRecord
from actjax.text_files import suffix_of


def videos(
    path,
    prefix,
    *,
    multi_class: bool = False,
    num_classes: int | None = None,
    names: Sequence[str] | None = None,
) -> list[VideoRecord]:
    """Kind "videos" of `load_annotations`."""
    rows, label_of = _labels(path, multi_class, num_classes, names)

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
    return _labelled(path, parse, rows, line=line, columns="path or filename, label")


def rawframes(
    path,
    prefix,
    *,
    multi_class: bool = False,
    num_classes: int | None = None,
    names: Sequence[str] | None = None,
    with_offset: bool = False,
    filename_tmpl: str = "img_{:05}.jpg",
    start_index: int = 1,
    modality: str = "RGB",
) -> list[RawframesRecord]:
    """Kind "rawframes" of `load_annotations`."""
    rows, label_of = _labels(path, multi_class, num_classes, names)
    flow = modality == "Flow"
    try:
        filename_tmpl.format(*(["x"] if flow else []), 1)
    except (ValueError, IndexError, KeyError) as error:
        example = "flow_{}_{:05d}.jpg, for modality='Flow'" if flow else "img_{:05d}.jpg, for modality='RGB'"
        raise ValueError(f"data.filename_tmpl={filename_tmpl!r}: {error}; expected the like of {example}") from None
    common = dict(filename_tmpl=filename_tmpl, start_index=start_index, modality=modality)

    def naming_of(fields: dict) -> dict:
        """The template and the first number that a row has of its own."""
        own = {}
        if fields.get("filename_tmpl"):
            own["filename_tmpl"] = check_template(fields["filename_tmpl"])
            own["filename_tmpl"].format(*(["x"] if flow else []), 1)
        if fields.get("start_index") not in (None, ""):
            own["start_index"] = whole(fields["start_index"])
        return common | own

    def parse(fields: dict | str) -> RawframesRecord:
        if isinstance(fields, dict):
            folder, labels = one_of(fields, "path", "frame_dir"), fields
            offset, num_frames, naming = fields.get("offset") or 0, fields["total_frames"], naming_of(fields)
        else:
            folder, *numbers = fields.split()
            offset = numbers.pop(0) if with_offset else 0
            num_frames, labels, naming = numbers.pop(0), numbers, common
        frames, first = whole(num_frames), whole(offset)
        record = RawframesRecord(joined_path(prefix, folder), frames, label_of(labels), first, **naming)
        if record.num_frames < 1 or record.offset < 0:
            raise ValueError("total_frames must be at least 1, offset at least 0")
        return record

    line = f"FOLDER {'OFFSET ' if with_offset else ''}TOTAL_FRAMES {'[LABEL ...]' if multi_class else 'LABEL'}"
    return _labelled(path, parse, rows, line=line, columns="path or frame_dir, total_frames, label")


def _labels(path: pathlib.Path, multi_class: bool, num_classes: int | None, names: Sequence[str] | None):
    """The items of a list, None for one of text, which is read later, and the function that reads their labels."""
    if suffix_of(path) not in (".csv", ".json"):
        return None, labels_of(multi_class, num_classes)
    rows = [*items(path)]
    if not are_names(rows):
        return rows, labels_of(multi_class, num_classes)
    known = names_of_rows(path, rows, multi_class=multi_class) if names is None else names
    return rows, labels_of(multi_class, num_classes or len(known), names=known)


def _labelled(path: pathlib.Path, parse: Callable, rows, **expected: str) -> list:
    """`parsed`, and checks that all labels are of the same kind."""
    records = parsed(path, parse, rows=rows, **expected)
    for record in records:
        if np.ndim(record.label) != np.ndim(records[0].label):
            raise ValueError(f"{path}: {record.path} has label {record.label}, {records[0].path} {records[0].label}; "
                             "if any label has a weight, all need one, such as 3:1")  # fmt: skip
    return records
