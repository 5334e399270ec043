"""Prepared splits -> records that open fast. `actjax.data.prepared.writing` writes them.

A split is a tfds data set of ArrayRecord shards. A whole record holds every frame of a video, ten megabytes for ten
seconds, but a clip needs only eight of them. The folder `index` beside the shards therefore stores the position of each
JPEG, so that single frames can be read without parsing the record. See
`actjax.data.prepared.index` for its files.
"""

import functools
import importlib.metadata
import logging
import os
import stat
import weakref
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from actjax.data.prepared.index import (
    AGAIN,
    BLOCK,
    HEADER,
    Index,
    check_digests,
    damaged_shards,
    load_index,
    load_metadata,
    load_names,
    splits,
)
from actjax.paths import local
from actjax.video.errors import VideoError

log = logging.getLogger("actjax")


class PreparedRecord(NamedTuple):
    """One video of a prepared split; `label` is an int, or float32 [num_classes] for several labels."""

    folder: str
    split: str
    index: int
    label: int | np.ndarray
    name: str
    num_frames: int

    @property
    def path(self) -> str:
        """The record's name in error messages."""
        return f"{self.folder}/{self.split}#{self.index}"

    def open(self, *, backend: str = "") -> "PreparedVideo":
        """Opens the video; `backend` is ignored, as frames are JPEGs.

        Raises:
          VideoError: the shard is missing, its size has changed, or the index does not fit it.
        """
        return PreparedVideo(self)

    def decoder(self, backend: str | Sequence[str]) -> str:
        """The library that decodes the JPEGs and its version, whatever `backend`."""
        return f"simplejpeg {importlib.metadata.version('simplejpeg')}"


def video_name(record) -> str:
    """The path of a record's video; of a prepared record the name that the video had in its list, not its number."""
    return record.name if isinstance(record, PreparedRecord) else record.path


class PreparedFeature(NamedTuple):
    """The features of one video in a prepared split."""

    folder: str
    split: str
    index: int
    name: str

    @property
    def path(self) -> str:
        """The record's name in error messages."""
        return f"{self.folder}/{self.split}#{self.index}"

    def read(self) -> np.ndarray:
        """float32 [channels, time].

        Raises:
          VideoError: the shard is missing or damaged, or its size has changed.
        """
        index = load_index(self.folder, self.split)
        shard, start, spans = _place(index, self)
        values = _read(shard, start, spans[0, 0], self, "its features")
        length = int(index.columns["num_frames"][self.index])
        if len(values) % (4 * length):
            raise VideoError(self.path, f"{_told(self)}: {len(values)} bytes are not {length} rows; {AGAIN}")
        return np.frombuffer(values, "<f4").reshape(length, -1).T.astype(np.float32)


class PreparedVideo:
    """The `actjax.video.decoding.Video` of a prepared record: RGB [n, h, w, 3], or flow x, y [n, h, w, 2]."""

    def __init__(self, record: PreparedRecord):
        index = load_index(record.folder, record.split)
        self._record = record
        self._shard, self._start, self._spans = _place(index, record)
        self.num_frames = record.num_frames
        self.fps = float(index.columns["fps"][record.index])
        self.size = tuple(int(index.columns[side][record.index]) for side in ("height", "width"))

    def times(self, indices: np.ndarray) -> np.ndarray:
        """Raises VideoError: a prepared set has no timestamps."""
        raise VideoError(self._record.path, "a prepared set has no timestamps; read the video file instead")

    def check(self) -> str | None:
        """Decodes every frame. VideoError: the shard is damaged."""
        for k in range(self.num_frames):
            self.frames([k])

    def frames(self, indices: np.ndarray) -> np.ndarray:
        """uint8 [n, h, w, c], one per index, in the order given; repeats are fine and decoded once.

        Raises:
          IndexError: an index outside [0, num_frames). VideoError: the shard is damaged.
        """
        indices = np.asarray(indices).ravel()
        if indices.size and (indices.min() < 0 or indices.max() >= self.num_frames):
            raise IndexError(f"{self._record.path}: frames {indices} of a video with {self.num_frames} frames")
        parts = self._spans.shape[1]
        out = np.empty((len(indices), *self.size, 3 if parts == 1 else parts), np.uint8)
        first = {}
        for place, index in enumerate(indices.tolist()):
            if index in first:
                out[place] = out[first[index]]
                continue
            first[index] = place
            if parts == 1:
                self._decode(index, 0, "RGB", out[place])
            else:
                for part in range(parts):
                    out[place, ..., part] = self._decode(index, part, "GRAY")[..., 0]
        return out

    def _decode(self, index: int, part: int, kind: str, out: np.ndarray | None = None) -> np.ndarray:
        """One JPEG -> [h, w, c], decoded directly into `out`. OpenCV, also on libjpeg-turbo, gives the same pixels."""
        import simplejpeg

        data = _read(self._shard, self._start, self._spans[index, part], self._record, f"frame {index}")
        try:
            picture = simplejpeg.decode_jpeg(data, kind, buffer=out)
        except ValueError:
            picture = None
        if picture is None or picture.shape[:2] != self.size:
            raise VideoError(self._record.path, f"{_told(self._record)}, frame {index}: no JPEG of size {self.size}")
        return picture


def load_prepared(folder: str | os.PathLike, split: str) -> list[PreparedRecord]:
    """The records of a prepared split, in the order of the annotation list it was made from.

    Raises:
      FileNotFoundError: no such folder or split (lists the splits it has). ValueError: a split of features; an index
        whose files are damaged or do not fit each other.
    """
    index, names = _open(folder, split, kind="videos", reader="load_prepared")
    labels = index.columns["label"]
    labels = labels.tolist() if labels.ndim == 1 else list(labels)
    lengths = index.columns["num_frames"].tolist()
    rows = enumerate(zip(labels, names, lengths, strict=True))
    folder = os.path.abspath(folder)
    return [PreparedRecord(folder, split, i, *row) for i, row in rows]


def load_prepared_features(folder: str | os.PathLike, split: str) -> list[PreparedFeature]:
    """The features of a prepared split, in the order of the files it was made from.

    Raises:
      FileNotFoundError: no such folder or split (lists the splits it has), or a shard is missing or incomplete.
      ValueError: a split of videos; an index whose files are damaged or do not fit each other.
    """
    check_shards(folder, split)
    _, names = _open(folder, split, kind="features", reader="load_prepared_features")
    folder = os.path.abspath(folder)
    return [PreparedFeature(folder, split, i, name) for i, name in enumerate(names)]


def check_shards(folder: str | os.PathLike, split: str, *, max_broken: float = 0.0) -> None:
    """Checks that the shards of a split are there, with the sizes that they were written with.

    Args:
      max_broken: the share of the records that may be missing; a few give a warning.

    Raises:
      FileNotFoundError: there is no such split, or more is missing.
    """
    shards, place = load_metadata(folder, split)["shards"], local(folder, "the prepared set in")
    size = lambda shard: path.stat().st_size if (path := place / shard["file"]).exists() else None
    gone = [shard for shard in shards if size(shard) != shard["bytes"]]
    count, total = (sum(shard["num_records"] for shard in some) for some in (gone, shards))
    if not gone:
        return
    told = (
        f"{folder}, split {split!r}: {len(gone)} of {len(shards)} shards with {count} of {total} videos are missing or "
        f"incomplete, such as {gone[0]['file']}"
    )
    if count > max_broken * total:
        raise FileNotFoundError(f"{told}; {AGAIN}")
    log.warning("%s; they count as broken", told)


def find_damaged(records: Sequence) -> dict[str, str]:
    """Compares the SHA-256 of all shards of prepared records, and warns of each that is damaged or missing.

    Returns:
      {path: reason} of the records in missing shards, and of those in damaged ones whose pictures have no checksums, as
      in sets of earlier versions; other pictures are compared when they are read.
    """
    found = {}
    for folder, split in dict.fromkeys((one.folder, one.split) for one in records if isinstance(one, PreparedRecord)):
        index, damaged = load_index(folder, split), damaged_shards(folder, split)
        for number, (path, _) in enumerate(index.shards):
            if (told := damaged.get(os.path.basename(path))) is None:
                continue
            rows = np.flatnonzero(index.columns["shard"] == number).tolist()
            log.warning("%s, with %d videos, %s; %s", path, len(rows), told, AGAIN)
            if told != "is damaged" or index.spans.shape[-1] == 2:
                found |= {f"{folder}/{split}#{row}": f"its shard {told}" for row in rows}
    return found


def load_class_names(folder: str | os.PathLike) -> list[str]:
    """The class names of a prepared folder, shared by all its splits.

    Raises:
      FileNotFoundError: nothing was prepared there. ValueError: it holds features.
    """
    there = splits(folder)
    if not there:
        raise FileNotFoundError(f"{folder} holds no prepared split")
    content = load_metadata(folder, there[0])["content"]
    if "class_names" not in content:
        raise ValueError(f"load_class_names: {folder} holds {content['kind']}, which have no classes")
    return content["class_names"]


class Shard:
    """A file of records, read by position. Thread-safe."""

    def __init__(self, path: str | os.PathLike):
        self.path, self._file = str(path), os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def read(self, start: int, length: int) -> bytes:
        """Reads `length` bytes of the stream from `start`."""
        (block, place), last = divmod(start, BLOCK - HEADER), (start + length - 1) // (BLOCK - HEADER)
        data = os.pread(self._file, length + (last - block) * HEADER, block * BLOCK + HEADER + place)
        if block == last:
            return data
        rest = BLOCK - HEADER - place
        pieces = [data[:rest]]
        pieces += [data[at + HEADER : at + BLOCK] for at in range(rest, len(data), BLOCK)]
        return b"".join(pieces)


@functools.lru_cache(maxsize=128)
def open_shard(path: str, size: int) -> Shard:
    """A shard of `size` bytes; the latest 128 stay open. OSError: it is missing or has another size."""
    there = os.stat(path)
    if there.st_size != size or not stat.S_ISREG(there.st_mode):
        raise OSError(f"{path} has {there.st_size} bytes, not the {size} it was written with; {AGAIN}")
    return Shard(path)


def _told(record: PreparedRecord | PreparedFeature) -> str:
    """The name of a record for a message, cut and in one line."""
    return record.name[:100] if record.name.isprintable() else repr(record.name)[:100]


def _place(index: Index, record: PreparedRecord | PreparedFeature) -> tuple[Shard, int, np.ndarray]:
    """A record's shard, its start there, and its spans."""
    row = {
        name: int(index.columns[name][record.index]) for name in ("shard", "start", "end", "first_span", "num_spans")
    }
    spans = np.asarray(index.spans[row["first_span"] : row["first_span"] + row["num_spans"]])
    if (spans[..., 0].astype(np.int64) + spans[..., 1]).max() > row["end"] - row["start"]:
        reason = f"{_told(record)}: a span of the index lies outside the record; {AGAIN}"
        raise VideoError(record.path, reason)
    try:
        return open_shard(*index.shards[row["shard"]]), row["start"], spans
    except OSError as error:
        raise VideoError(record.path, str(error)) from error


def _read(shard: Shard, start: int, span: np.ndarray, record: PreparedRecord | PreparedFeature, what: str) -> bytes:
    """The bytes of one span, (offset, length) and from this version on their CRC-32. VideoError: they are others."""
    offset, length, *check = span.tolist()
    try:
        data = shard.read(start + offset, length)
    except OSError as error:
        raise VideoError(record.path, f"{_told(record)}, {what}: {shard.path}: {error}") from error
    if check and zlib.crc32(data) != check[0]:
        raise VideoError(record.path, f"{_told(record)}, {what}: {shard.path} is damaged; {AGAIN}")
    return data


def _open(folder, split: str, *, kind: str, reader: str) -> tuple[Index, list[str]]:
    metadata = load_metadata(folder, split)
    if metadata["content"]["kind"] != kind:
        raise ValueError(f"{reader}: {folder}, split {split!r} holds {metadata['content']['kind']}, not {kind}")
    index = load_index(os.path.abspath(folder), split)
    check_digests(folder, split)
    return index, load_names(folder, split, count=len(index.columns["start"]), unique=kind == "features")
