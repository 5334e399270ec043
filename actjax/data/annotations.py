"""Annotation files -> typed records. Every record opens its own video; nothing downstream asks what kind it is."""

import csv
import gzip
import inspect
import io
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from actjax.paths import to_path
from actjax.segments import check_segments
from actjax.video.decoding import Video, decoder, open_video

Label = int | np.ndarray  # a class, or float32 [num_classes]: many-hot or a distribution


class VideoRecord(NamedTuple):
    """One labelled video file."""

    path: str
    label: Label = -1

    def open(self, *, backend: str | Sequence[str] = "pyav") -> Video:
        """Its frames."""
        return open_video(self.path, backend=backend)

    def decoder(self, backend: str | Sequence[str]) -> str:
        """Which library `open` reads it with, and its version."""
        return decoder(backend)


class RawframesRecord(NamedTuple):
    """One labelled folder of pictures; frame k is the file of number start_index + offset + k."""

    path: str
    num_frames: int
    label: Label = -1
    offset: int = 0
    filename_tmpl: str = "img_{:05}.jpg"
    start_index: int = 1
    modality: str = "RGB"

    def open(self, *, backend: str = "rawframes") -> Video:
        """Its frames; `backend` is for video files, pictures have one reader."""
        names = ("num_frames", "offset", "filename_tmpl", "start_index", "modality")
        return open_video(self.path, backend="rawframes", **{name: getattr(self, name) for name in names})

    def decoder(self, backend: str | Sequence[str]) -> str:
        """Which library reads the pictures, whatever `backend`."""
        return decoder("rawframes")


class ActivityNetRecord(NamedTuple):
    """One untrimmed video of ActivityNet; `annotations` are {"segment": [start, end] in seconds, "label": name}."""

    path: str  # data_prefix/video: feature files stand there
    video: str
    duration_second: float
    duration_frame: int
    feature_frame: int
    annotations: list[dict]
    fps: float | None = None
    rfps: float | None = None


def load_annotations(kind: str, path: str | os.PathLike, *, data_prefix: str | None = None, **options) -> Sequence:
    """The records of an annotation file, in its order.

    Args:
      kind: one of `KINDS`.
        "videos": lines `file label`, split at the last white space, so that file names may hold blanks; with
        `multi_class` lines `file label label ...`. JSON `[{"filename", "label": [...]}]`, CSV with columns `path`,
        `label` (API entry VideoDataset).
        "rawframes": lines `folder total_frames label`, with `with_offset` `folder offset total_frames label`, with
        `multi_class` several labels; JSON with `frame_dir`, `total_frames`, CSV with columns of these names (API
        entry RawframeDataset).
        "activitynet": JSON, video -> durations and annotations (API entry ActivityNetDataset), or the official file,
        {"database": {id: {"subset", "annotations"}}}, which needs `video_info`.
        "ssn": proposal file of SSN (API entry SSNDataset), see `data.proposals.load_ssn`.
        "prepared", "tfds": `path` is the folder of a prepared set, `split` names the split.
      path: the annotation file; `.json` and `.csv` are read as such (in gzip with `.gz` behind it), all else as text,
        where empty lines are skipped.
      data_prefix: folder or URL that relative paths start from; default the annotation file's own folder (the
        reference fails). Absolute paths and URLs stay as they are.
      options: of the kind. "videos" and "rawframes": `multi_class`, labels become many-hot float32 [num_classes];
        `num_classes`, which labels must be below. "rawframes": also `with_offset`, `filename_tmpl`, `start_index`,
        `modality`. In CSV, labels `3;7` are several classes, `3:0.7;7:0.3` weighs them: float32 [num_classes] that
        sums to 1, with `multi_class` every weight up to 1. "activitynet": `subset`, "training", "validation" or
        "testing", of which records are taken; `video_info`, the authors' table of videos (CSV: video, numFrame,
        seconds, fps, rfps, subset, featureFrame), which says what the annotations do not; videos of the official file
        that are not in it are left out.

    Raises:
      ValueError: an unknown kind or option; a line that does not parse (names file, line and text); no records.
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
        raise FileNotFoundError(f"annotation file {path} does not exist")
    prefix = str(path.parent) if data_prefix is None else os.path.expanduser(data_prefix)
    records = KINDS[kind](path, prefix, **options)
    if not len(records):
        raise ValueError(f"{path} holds no records")
    return records


def _videos(path, prefix, *, multi_class: bool = False, num_classes: int | None = None) -> list[VideoRecord]:
    label_of = _labels(multi_class, num_classes)

    def parse(fields: dict | str) -> VideoRecord:
        if isinstance(fields, dict):
            return VideoRecord(_joined(prefix, _one_of(fields, "path", "filename")), label_of(fields))
        if multi_class:
            name, *labels = fields.split()
            return VideoRecord(_joined(prefix, name), label_of(labels))
        parts = fields.rsplit(maxsplit=1)
        return VideoRecord(_joined(prefix, parts[0].strip()), label_of([parts[1]]))

    line = "FILE LABEL LABEL ..." if multi_class else "FILE LABEL"
    return _labelled(path, parse, line=line, columns="path or filename, label")


def _rawframes(
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
    label_of = _labels(multi_class, num_classes)
    common = dict(filename_tmpl=filename_tmpl, start_index=start_index, modality=modality)

    def parse(fields: dict | str) -> RawframesRecord:
        if isinstance(fields, dict):
            folder, labels = _one_of(fields, "path", "frame_dir"), fields
            offset, num_frames = fields.get("offset") or 0, fields["total_frames"]
        else:
            folder, *numbers = fields.split()
            offset = numbers.pop(0) if with_offset else 0
            num_frames, labels = numbers.pop(0), numbers
        record = RawframesRecord(_joined(prefix, folder), int(num_frames), label_of(labels), int(offset), **common)
        if record.num_frames < 1 or record.offset < 0:
            raise ValueError("total_frames must be at least 1, offset at least 0")
        return record

    line = f"FOLDER {'OFFSET ' if with_offset else ''}TOTAL_FRAMES LABEL{' LABEL ...' if multi_class else ''}"
    return _labelled(path, parse, line=line, columns="path or frame_dir, total_frames, label")


def _activitynet(path, prefix, *, subset: str | None = None, video_info=None) -> list[ActivityNetRecord]:
    known = _video_info(to_path(video_info)) if video_info else {}

    def parse(item) -> ActivityNetRecord | None:
        name, info = item
        video = f"v_{name}" if f"v_{name}" in known else name  # the official file has ids, the table names
        info = known.get(video, {}) | info
        if subset and "subset" not in info:
            raise KeyError("subset; name a table with the columns video and subset as video_info")
        if subset and info["subset"] != subset:
            return None
        if "duration_frame" not in info and known:
            return None  # a video of the official list that nobody has features of
        fields = {name: info[name] for name in ActivityNetRecord._fields[2:] if name in info}
        check_segments("annotations", [row["segment"] for row in info["annotations"]])
        if not all(row["label"] for row in info["annotations"]):
            raise ValueError("an annotation without a label")
        return ActivityNetRecord(_joined(prefix, video), video, **fields)

    fields = '{"duration_second", "duration_frame", "feature_frame", "annotations": [{"segment", "label"}, ...]}'
    records = _parsed(path, parse, line=f'"NAME": {fields}', columns=fields)
    return [record for record in records if record is not None]


def _video_info(path: pathlib.Path) -> dict[str, dict]:
    """A table of ActivityNet's videos: name -> what an annotation file says of it but for the annotations."""

    def parse(row: dict) -> tuple[str, dict]:
        numbers = dict(duration_second="seconds", duration_frame="numFrame", feature_frame="featureFrame",
                       fps="fps", rfps="rfps")  # fmt: skip
        kinds = {name: int if name.endswith("frame") else float for name in numbers}
        return row["video"], {"subset": row["subset"]} | {n: kinds[n](row[key]) for n, key in numbers.items()}

    columns = "video, numFrame, seconds, fps, rfps, subset, featureFrame"
    return dict(_parsed(path, parse, line=columns, columns=columns))


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
) -> list:
    from actjax.data.proposals import load_ssn

    options = dict(filename_tmpl=filename_tmpl, start_index=start_index, modality=modality, suffix=suffix)
    return load_ssn(path, data_prefix=prefix, frame_counts=frame_counts, filter_gt=filter_gt, **options)


def _prepared(path, prefix, *, split: str) -> Sequence:
    from actjax.data.prepared import load_prepared

    return load_prepared(path, split)


KINDS = {
    "videos": _videos,
    "rawframes": _rawframes,
    "activitynet": _activitynet,
    "ssn": _ssn,
    "prepared": _prepared,
    "tfds": _prepared,
}


def save_annotations(records: Sequence, path: str | os.PathLike) -> None:
    """Writes records as the CSV that `load_annotations` reads, paths absolute."""
    columns = ["path", "label"]
    columns += [name for name in ("total_frames", "offset") if records and hasattr(records[0], "offset")]
    soft = any(not np.isin(record.label, (0, 1)).all() for record in records if np.ndim(record.label))
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(columns)
    for record in records:
        name = record.path if "://" in record.path else os.path.abspath(record.path)
        row = [name, _label_text(record.label, soft)]
        writer.writerow(row + ([record.num_frames, record.offset] if len(columns) > 2 else []))
    to_path(path).write_bytes(file.getvalue().encode())


def load_class_names(path: str | os.PathLike) -> list[str]:
    """One class name per line -> list; line i names class i."""
    path = to_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"class name file {path} does not exist")
    return path.read_text().splitlines()


def _labelled(path: pathlib.Path, parse: Callable, **expected: str) -> list:
    """`_parsed`, and all labels of one kind."""
    records = _parsed(path, parse, **expected)
    for record in records:
        if np.ndim(record.label) != np.ndim(records[0].label):
            raise ValueError(f"{path}: {record.path} has label {record.label}, {records[0].path} {records[0].label}; "
                             "where some labels have weights, all need them, as 3:1")  # fmt: skip
    return records


def _parsed(path: pathlib.Path, parse: Callable, *, line: str, columns: str) -> list:
    """What `parse` makes of every item; `line` and `columns` say what it expects of a text file, of CSV and JSON."""
    records = []
    for place, item in _items(path):
        try:
            records.append(parse(item))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            text = f"no {error}" if isinstance(error, KeyError) else str(error)
            detail = f" ({text})" if isinstance(error, KeyError | ValueError) else ""  # others are Python's own words
            expected = columns if isinstance(item, dict) else line
            raise ValueError(f"{path}, {place}: {item!r}: expected '{expected}'{detail}") from None
    return records


def _items(path: pathlib.Path) -> Iterator[tuple[str, object]]:
    """(place, what stands there) of a text, CSV or JSON file: a line, a row by column, an object."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    text = data.decode("utf-8-sig")  # spreadsheets put a mark before their CSV
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
                                 'names that hold commas stand in ""')  # fmt: skip
            yield f"line {rows.line_num}", row
    else:
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip():
                yield f"line {number}", line


def _joined(prefix: str, name: str) -> str:
    return name if "://" in name else os.path.join(prefix, name)


def _one_of(fields: dict, *names: str) -> str:
    for name in names:
        if fields.get(name):
            return fields[name]
    raise KeyError(names[0])


def _labels(multi_class: bool, num_classes: int | None) -> Callable:
    """What turns the labels of a line, or the label field of a row, into a `Label`."""
    if multi_class and num_classes is None:
        raise ValueError("load_annotations: multi_class needs num_classes")

    def label_of(given) -> Label:
        labels = given["label"] if isinstance(given, dict) else given
        if isinstance(labels, str):
            labels = labels.split(";")
        labels = [str(label).strip() for label in (labels if isinstance(labels, list) else [labels])]
        pairs = [label.partition(":") for label in labels]
        soft = any(colon for _, colon, _ in pairs)
        if not all(k.isdecimal() for k, _, _ in pairs):
            raise ValueError("labels are whole numbers of 0 or more")
        classes = [int(k) for k, _, _ in pairs]
        if num_classes is not None and max(classes, default=0) >= num_classes:
            raise ValueError(f"label {max(classes)} needs model.num_classes > {max(classes)}")
        if not multi_class and not soft:
            if len(classes) != 1:
                raise ValueError(f"{len(classes)} labels; one is expected without multi_class")
            return classes[0]
        if num_classes is None or not classes:
            raise ValueError("several labels need num_classes, and at least one label")
        vector = np.zeros(num_classes, np.float32)
        vector[classes] = [float(weight) for _, _, weight in pairs] if soft else 1.0
        if soft and not (len(set(classes)) == len(classes) and _weighs(vector, multi_class)):
            allowed = "each up to 1" if multi_class else "that sum to 1"
            raise ValueError(f"weights are positive numbers {allowed}, one a class")
        return vector

    return label_of


def _weighs(vector: np.ndarray, multi_class: bool) -> bool:
    """Whether weights can be the target of a sigmoid for each class, or of one softmax; NaN cannot."""
    fits = vector.max() <= 1 if multi_class else abs(vector.sum() - 1) < 1e-3
    return bool(fits and vector.min() >= 0 < vector.max())


def _label_text(label: Label, soft: bool) -> str:
    if np.ndim(label) == 0:
        return str(int(label))
    return ";".join(f"{k}:{label[k]:.6g}" if soft else str(k) for k in np.flatnonzero(label))
