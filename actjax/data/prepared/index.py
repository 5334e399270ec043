"""The index of a prepared split, checked when it is opened: what does not fit is named before a shard is read.

    index/SPLIT.json          shards with their sizes and checksums, class names, options, hash of the inputs
    index/SPLIT.names.json    the name of every record
    index/SPLIT.npz           per record: its shard, its start there, its first span, label, num_frames, fps, ...
    index/SPLIT.spans.npy     uint32 [spans, parts, 3]: offset in the record, length and CRC-32 of every JPEG

The first file has the SHA-256 of the others and of its own field `content`. Sets of earlier versions lack these, and
the CRC-32.
"""

import collections
import contextlib
import functools
import hashlib
import json
import logging
import os
import pathlib
from typing import NamedTuple

import numpy as np

from actjax.array_files import read_arrays
from actjax.errors import shown, storage_fault
from actjax.limits import limit
from actjax.paths import local, not_a_file, to_path
from actjax.text_files import read_json

log = logging.getLogger("actjax")

# ArrayRecord files are Riegeli files: a header at the start of every block interrupts the stream of bytes. Positions
# here are positions in the stream, without the headers.
BLOCK, HEADER = 1 << 16, 24
PARTS = {"RGB": ("frames",), "Flow": ("flow_x", "flow_y")}  # of a picture, each a JPEG, by modality
AGAIN = "copy the folder again, or delete index/SPLIT.json in it and prepare that split again"
_INTEGERS = ("shard", "start", "first_span", "num_spans", "num_frames")
_OF_VIDEOS = ("height", "width", "fps", "label")


class Index(NamedTuple):
    """A split's index, loaded once per process.

    shards: (file, bytes). columns: arrays with a row for each record; `end` is where its part of the shard ends.
    """

    shards: list[tuple[str, int]]
    columns: dict[str, np.ndarray]
    spans: np.ndarray


def splits(folder: str | os.PathLike) -> list[str]:
    """The names of the finished splits in a folder."""
    files = sorted(to_path(folder).glob("index/*.json"))
    return [file.stem for file in files if not file.name.endswith(".names.json")]


def index_path(folder: str | os.PathLike, split: str, ending: str) -> pathlib.Path:
    """The path of an index file."""
    return local(folder, "the prepared set in") / "index" / f"{split}{ending}"


def checksum(path: pathlib.Path) -> str:
    """SHA-256 of a file. ValueError: a folder, a pipe or a device, which may never end."""
    if told := not_a_file(path):
        raise ValueError(f"{path} {told}, not a file of a prepared set; {AGAIN}")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_metadata(folder: str | os.PathLike, split: str) -> dict:
    """The metadata of a split: `content` (with class names), `options`, `source` (hash of the inputs), `shards`, ...

    Raises:
      FileNotFoundError: no such folder or split (lists the splits it has). ValueError: a field that is malformed.
    """
    path = index_path(folder, split, ".json")
    if not path.exists():
        there = splits(folder)
        raise FileNotFoundError(
            f"{folder} holds no prepared split {split!r}; "
            + (f"it holds {there}" if there else "nothing was prepared there, or it was not finished")
        )
    metadata = _load_json(path)
    if told := _malformed(metadata):
        raise ValueError(f"{path}: {told}; {AGAIN}")
    return metadata


def _malformed(metadata: object) -> str | None:
    """What is wrong with the metadata of a split; None: nothing."""
    for field, kind in dict(source=str, options=dict, content=dict, shards=list, summary=dict).items():
        if not isinstance(metadata, dict) or not isinstance(metadata.get(field), kind):
            return f"field {field!r} is missing, or no {kind.__name__}"
    match metadata["content"]:
        case {"kind": "features", "channels": int(channels)} if channels > 0:
            pass
        case {"kind": "videos", "modality": str(modality), "class_names": list(names), "several_labels": bool()} if (
            modality in PARTS and all(isinstance(name, str) for name in names)
        ):
            pass
        case _:
            return "field 'content' is not that of videos or of features"
    for number, shard in enumerate(metadata["shards"]):
        match shard:
            case {"file": str(name), "bytes": int(size), "sha256": str(), "num_records": int(count)} if (
                0 <= size < 1 << 60 and count >= 0 and _is_plain(name)
            ):
                pass
            case _:
                return f"shard {number} is not a file in the folder with its size, SHA-256 and records: {shown(shard)}"
    counts = ("num_records", "num_broken", "num_frames", "num_bytes")
    if {*metadata["summary"]} != {*counts} or not all(type(value) is int for value in metadata["summary"].values()):
        return f"field 'summary' is not {', '.join(counts)}, each an integer"
    digests = metadata.get("index_sha256", {})
    if not isinstance(digests, dict) or not all(isinstance(value, str) for value in digests.values()):
        return "field 'index_sha256' is not a SHA-256 for each file of the index"
    return None


def _is_plain(name: str) -> bool:
    return name not in ("", ".", "..") and not {"/", "\\", "\0"} & {*name} and len(os.fsencode(name)) < 256


def load_names(folder: str | os.PathLike, split: str, *, count: int, unique: bool) -> list[str]:
    """The names of the `count` records of a split. ValueError: not one text for each, or with `unique` one twice."""
    path = index_path(folder, split, ".names.json")
    names = _load_json(path)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{path}: not a list of names; {AGAIN}")
    if len(names) != count:
        raise ValueError(f"{path}: {len(names)} names for {count} records; {AGAIN}")
    if unique and len({*names}) < count:
        ((twice, _),) = collections.Counter(names).most_common(1)
        raise ValueError(f"{path}: name {shown(twice)} is there twice; {AGAIN}")
    return names


def check_digests(folder: str | os.PathLike, split: str) -> None:
    """Compares the files of the index with the digests in the metadata; warns if there are none.

    Raises:
      ValueError: a file is not as it was written.
    """
    metadata = load_metadata(folder, split)
    if (digests := metadata.get("index_sha256")) is None:
        compare = "run --mode=check to compare its shards, or " * (metadata["content"]["kind"] == "videos")
        where = f"{folder}, split {split!r}"
        log.warning("%s, was prepared by an earlier version, without checksums: %sprepare it again", where, compare)
        return
    if digests.get("content", own := digest_of(metadata["content"])) != own:
        raise ValueError(f"{index_path(folder, split, '.json')}: field 'content' is not as it was written; {AGAIN}")
    for ending in (".npz", ".spans.npy", ".names.json"):
        path = index_path(folder, split, ending)
        if checksum(path) != digests.get(ending):
            raise ValueError(f"{path} is not as it was written: its SHA-256 is another; {AGAIN}")


def digest_of(content: dict) -> str:
    """SHA-256 of the metadata's field `content`, which has the class names."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def damaged_shards(folder: str | os.PathLike, split: str) -> dict[str, str]:
    """The shards of a split that are not as they were written -> "is missing" or "is damaged", by the SHA-256."""
    place, found = local(folder, "the prepared set in"), {}
    for shard in load_metadata(folder, split)["shards"]:
        path = place / shard["file"]
        if not path.is_file():
            found[shard["file"]] = not_a_file(path) or "is missing"
        elif checksum(path) != shard["sha256"]:
            found[shard["file"]] = "is damaged"
    return found


@functools.lru_cache(maxsize=16)
def load_index(folder: str, split: str) -> Index:
    """The index of a split, cached per process.

    Raises:
      FileNotFoundError: no such folder, split or file. ValueError: files that do not fit each other.
    """
    metadata = load_metadata(folder, split)
    path, spans_path = (index_path(folder, split, ending) for ending in (".npz", ".spans.npy"))
    if told := not_a_file(spans_path):
        raise ValueError(f"{spans_path} {told}; {AGAIN}")
    with _damage_named(spans_path):
        spans = np.lib.format.open_memmap(spans_path, mode="r")
    content, columns = metadata["content"], _load_columns(path)
    parts = len(PARTS[content["modality"]]) if content["kind"] == "videos" else 1
    if spans.dtype != np.uint32 or spans.shape[1:] not in ((parts, 2), (parts, 3)):
        raise ValueError(f"{spans_path}: {spans.dtype} {spans.shape}; expected uint32 [spans, {parts}, 3]; {AGAIN}")
    if told := _unfit(columns, metadata, len(spans)):
        raise ValueError(f"{path}: {told}; {AGAIN}")
    shards = [(os.path.join(folder, shard["file"]), shard["bytes"]) for shard in metadata["shards"]]
    return Index(shards, columns | {"end": _ends(columns, [size for _, size in shards])}, spans)


def _load_columns(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        return read_arrays(path, what="an index of a prepared set")
    except ValueError as error:
        raise ValueError(f"{error}; {AGAIN}") from None


@contextlib.contextmanager
def _damage_named(path: pathlib.Path):
    """Turns whatever NumPy and zipfile raise for a damaged file into a ValueError in one line."""
    try:
        yield
    except Exception as error:
        if isinstance(error, FileNotFoundError) or storage_fault(error):
            raise
        told = " ".join(str(error).split())[:100]
        raise ValueError(f"{path}: damaged ({told}); {AGAIN}") from None


def _unfit(columns: dict, metadata: dict, num_spans: int) -> str | None:
    """What in the columns does not fit the metadata or the number of spans; None: all fits."""
    content, shards = metadata["content"], metadata["shards"]
    videos, total = content["kind"] == "videos", sum(shard["num_records"] for shard in shards)
    for name in (*_INTEGERS, *(_OF_VIDEOS if videos else ())):
        column, kinds = columns.get(name), "fiu" if name in ("fps", "label") else "iu"
        if column is None or column.dtype.kind not in kinds or column.shape[:1] != (total,):
            found = "is missing" if column is None else f"is {column.dtype} {list(column.shape)}"
            return f"column {name!r} {found}; the metadata has {total} records"
        if column.ndim != 1 and name != "label":
            return f"column {name!r} has {column.ndim} axes"
    wide = {name: columns[name].astype(np.int64) for name in _INTEGERS}
    shard, start, spans = wide["shard"], wide["start"], wide["num_spans"]
    sizes = np.array([stream_size(one["bytes"]) for one in shards])
    expected = np.repeat(np.arange(len(shards)), [one["num_records"] for one in shards])
    faults = dict(
        shard=shard != expected,
        start=(start < 0) | (start >= sizes[expected]) | np.r_[False, (np.diff(start) <= 0) & (np.diff(expected) == 0)],
        num_spans=(spans != (wide["num_frames"] if videos else 1)) | (spans > num_spans),
        num_frames=wide["num_frames"] < 1,
        first_span=wide["first_span"] != np.cumsum(spans) - spans,
    )
    if videos:
        area = columns["height"].astype(float) * columns["width"]
        largest = 1e6 * limit("ACTJAX_MAX_FRAME_MPIXELS")
        faults |= {side: (columns[side] < 1) | (area > largest) for side in ("height", "width")}
        faults["fps"] = ~(np.isfinite(columns["fps"]) & (columns["fps"] >= 0))
    for name, wrong in faults.items():
        if wrong.any():
            row = int(np.argmax(wrong))
            return f"column {name!r} has {columns[name][row]} for record {row}, which does not fit the other columns"
    if spans.sum() != num_spans:
        return f"column 'num_spans' counts {spans.sum()} spans; the file of spans has {num_spans}"
    return _unfit_labels(columns["label"], content) if videos else None


def _unfit_labels(labels: np.ndarray, content: dict) -> str | None:
    number = len(content["class_names"])
    if content["several_labels"]:
        if labels.shape[1:] != (number,) or not np.isfinite(labels).all():
            return (
                f"column 'label' is {labels.dtype} {list(labels.shape)}; expected finite numbers for {number} classes"
            )
        return None
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        return f"column 'label' is {labels.dtype} {list(labels.shape)}; expected one whole number for each record"
    if wrong := labels[(labels < 0) | (labels >= number)].tolist():
        return f"label {wrong[0]} is none of the {number} classes"
    return None


def _ends(columns: dict, sizes: list[int]) -> np.ndarray:
    """Where the part of each record in its shard ends at the latest: at the next one, or with the file."""
    shard = columns["shard"].astype(np.int64)
    ends = np.array([stream_size(size) for size in sizes])[shard]
    same = np.flatnonzero(np.diff(shard) == 0)
    ends[same] = columns["start"][same + 1]
    return ends


def stream_size(size: int) -> int:
    """The length of the stream in a file of `size` bytes."""
    return size - HEADER * -(-size // BLOCK)


def _load_json(path: pathlib.Path) -> object:
    try:
        return read_json(path, what="an index of a prepared set")
    except ValueError as error:
        raise ValueError(f"{error}; {AGAIN}") from None
