"""Videos and features -> prepared splits, which open fast; `actjax.data.prepared` reads them.

What is written is a tfds data set of ArrayRecord shards, one `tf.train.Example` a video, made without TensorFlow:
`tfds.builder_from_directory(folder).as_data_source(split)` reads it wherever tfds is, and the index beside it (see
`actjax.data.prepared`) lets us read single frames. A shard is read back before it gets its name, so what carries a
name is whole: a killed run goes on with the shards that are missing.
"""

import concurrent.futures
import hashlib
import itertools
import json
import multiprocessing
import os
import pathlib
import re
import shutil
import signal
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from actjax.data.prepared import Shard, index_path, load_index, load_metadata, open_shard, splits
from actjax.video import views
from actjax.video.decoding import VideoError
from actjax.video.rendering import render

PARTS = {"RGB": ("frames",), "Flow": ("flow_x", "flow_y")}
LARGEST = 2**31 - 2**20  # bytes of pictures; protocol buffers end at 2 GiB
RUN = 16  # frames decoded at a time: 100 MB of full HD


class Summary(NamedTuple):
    """What a prepared split holds. `num_frames`: of all videos, or the time steps of all features."""

    folder: str
    split: str
    num_records: int
    num_broken: int
    num_frames: int
    num_bytes: int


def without_progress(items, total: int, what: str):
    """The items; nothing is shown."""
    return items


def open_record(record, *, backend: str):
    """`record.open(backend=backend)`: how `prepare` opens videos unless told otherwise."""
    return record.open(backend=backend)


def prepare(
    records: Sequence,
    folder: str | os.PathLike,
    *,
    split: str,
    class_names: Sequence[str],
    modality: str = "RGB",
    short_side: int = 256,
    quality: int = 95,
    backend: str = "decord",
    num_shards: int | None = None,
    processes: int | None = None,
    open_video: Callable = open_record,
    progress: Callable = without_progress,
) -> Summary:
    """Writes every frame of `records` as a JPEG into a split of `folder`, or goes on where a killed run stopped.

    The same records and options give the same bytes, however many processes write and however often they were
    killed. Videos that cannot be decoded are left out and listed in `SPLIT_broken.jsonl` (`path`, `reason`). Frames
    are resized as the reference's Resize does (bilinear); the values of flow pictures are not scaled.

    Args:
      records: `path`, `label` (a class, or float32 [num_classes]) and what `open_video` needs.
      folder: may hold other splits of the same classes and modality.
      split: its name, of letters, digits and "_".
      class_names: name i is that of class i.
      modality: "RGB", or "Flow" for videos whose frames are [n, h, w, 2]: two grey JPEGs a frame.
      short_side: larger videos are brought down to it; 0: every video keeps its size.
      quality: of the JPEGs, 1..100.
      backend: handed to `open_video`.
      num_shards: files; default one for every 16 records, at most 1024.
      processes: writers at once; default one per core, 0: none, this process writes.
      open_video: `open_video(record, backend=...)` -> `actjax.video.decoding.Video`; a function of a module.
      progress: `progress(items, total, what)` gives the items, one a shard, and shows how many are done.

    Raises:
      ValueError: an option, a label or the folder's other splits do not fit; the split is there, made from other
        records or options; the frames are not of this modality. RuntimeError: not one video can be decoded, a shard
        does not read back as written, or a process died.
    """
    if modality not in PARTS:
        raise ValueError(f"prepare: modality={modality!r}; choose from {sorted(PARTS)}")
    if short_side < 0 or not 1 <= quality <= 100:
        raise ValueError(f"prepare: short_side={short_side}, quality={quality}; expected 0 or more, and 1..100")
    records, class_names = list(records), list(class_names)
    several = _check_labels(records, class_names)
    labels = [np.asarray(record.label).tolist() for record in records]
    options = dict(short_side=short_side, quality=quality, backend=backend)
    return _build(
        records,
        pathlib.Path(folder),
        split,
        names=_names([record.path for record in records]),
        labels=labels,
        encode=_Videos(modality, short_side, quality, backend, open_video),
        options=options,
        content=dict(kind="videos", modality=modality, class_names=class_names, several_labels=several),
        num_shards=num_shards,
        processes=processes,
        progress=progress,
    )


def prepare_features(
    paths: Sequence[str | os.PathLike],
    folder: str | os.PathLike,
    *,
    split: str,
    num_shards: int | None = None,
    processes: int | None = None,
    progress: Callable = without_progress,
) -> Summary:
    """Writes feature files into a split of `folder` as float32 [time, channels], as `prepare` does with videos.

    Args:
      paths: CSV files (comma separated, the first line is a header) or NPY files, [time, channels] as ActivityNet's;
        a record is named after its file, without the ending. Files that do not parse, or have another number of
        channels than the first one that parses, are left out and listed.
      folder, split, num_shards, processes, progress: see `prepare`.

    Raises: as `prepare`.
    """
    paths = [str(path) for path in paths]
    channels = next((array.shape[1] for array in map(_try_feature, paths) if array is not None), None)
    if channels is None:
        raise RuntimeError(f"prepare_features: not one of {len(paths)} files can be read as [time, channels]")
    return _build(
        paths,
        pathlib.Path(folder),
        split,
        names=[pathlib.Path(path).stem for path in paths],
        labels=[],
        encode=_Features(channels),
        options={},
        content=dict(kind="features", channels=channels),
        num_shards=num_shards,
        processes=processes,
        progress=progress,
    )


def check_prepared(folder: str | os.PathLike, split: str) -> None:
    """Reads every byte of a split. ValueError names the first shard that is not what was written."""
    for shard in load_metadata(folder, split)["shards"]:
        path = pathlib.Path(folder) / shard["file"]
        if not path.exists() or _checksum(path) != shard["sha256"]:
            raise ValueError(
                f"{path} is damaged or missing; delete {index_path(folder, split, '.json')}, prepare again"
            )


class _Job(NamedTuple):
    """One shard to write: `items` are (name, record); `state` is the file that says it is done."""

    path: pathlib.Path
    state: pathlib.Path
    source: str
    items: list[tuple]
    encode: Callable


class _Videos(NamedTuple):
    """A record -> the values of its example, and its row of the index."""

    modality: str
    short_side: int
    quality: int
    backend: str
    open_video: Callable

    def __call__(self, name: str, record) -> tuple[dict, dict]:
        video = self.open_video(record, backend=self.backend)
        parts = PARTS[self.modality]
        pictures, size, total = {part: [] for part in parts}, None, 0
        for begin in range(0, video.num_frames, RUN):
            frames = video.frames(np.arange(begin, min(begin + RUN, video.num_frames)))
            if frames.shape[-1] != (3 if len(parts) == 1 else len(parts)):
                raise ValueError(f"prepare: modality={self.modality!r}, but frames of {record.path} are {frames.shape}")
            if self.short_side and min(frames.shape[1:3]) > self.short_side:
                frames = render(frames, views.resize(*frames.shape[1:3], scale=(-1, self.short_side)))
            if size not in (None, frames.shape[1:3]):
                raise VideoError(record.path, f"frames of several sizes, {size} and {frames.shape[1:3]}")
            size = frames.shape[1:3]
            for frame in frames:
                planes = [frame[..., ::-1]] if len(parts) == 1 else np.moveaxis(frame, -1, 0)
                for part, plane in zip(parts, planes, strict=True):
                    pictures[part].append(_jpeg(plane, self.quality))
                    total += len(pictures[part][-1])
            if total > LARGEST:
                raise VideoError(record.path, "its JPEGs take more than 2 GiB; a smaller short_side or quality helps")
        row = dict(num_frames=video.num_frames, fps=float(video.fps), height=size[0], width=size[1])
        label = np.asarray(record.label)
        scalars = {key: np.array([row[key]]) for key in ("num_frames", "height", "width")}
        values = dict(name=[name.encode()], modality=[self.modality.encode()], label=label.reshape(-1), **scalars)
        values |= dict(fps=np.array([row["fps"]])) | pictures
        return values, row | dict(label=label.tolist())

    def spans(self, spans: dict[str, list]) -> list:
        """Those of its pictures, [frames][parts]."""
        return list(zip(*(spans[part] for part in PARTS[self.modality]), strict=True))


class _Features(NamedTuple):
    """A file -> the values of its example, and its row of the index."""

    channels: int

    def __call__(self, name: str, path: str) -> tuple[dict, dict]:
        feature = _read_feature(path)
        if feature.shape[1] != self.channels:
            raise VideoError(path, f"{feature.shape[1]} channels; the first file has {self.channels}")
        return dict(name=[name.encode()], feature=feature), dict(num_frames=len(feature))

    def spans(self, spans: dict[str, list]) -> list:
        """That of its values."""
        return [spans["feature"]]


def _build(
    records,
    folder: pathlib.Path,
    split: str,
    *,
    names,
    labels,
    encode,
    options,
    content,
    num_shards,
    processes,
    progress,
) -> Summary:
    if not records:
        raise ValueError("prepare: no records")
    if not re.fullmatch(r"\w+", split, re.ASCII):
        raise ValueError(f"prepare: split={split!r}; letters, digits and '_' only")
    num_shards = min(1024, -(-len(records) // 16)) if num_shards is None else num_shards
    if not 1 <= num_shards <= len(records):
        raise ValueError(f"prepare: num_shards={num_shards}; expected 1..{len(records)}, the number of records")
    for other in splits(folder):
        if other != split and (there := load_metadata(folder, other)["content"]) != content:
            wrong = [key for key in content if there.get(key) != content[key]]
            raise ValueError(
                f"prepare: {folder} holds split {other!r} with another {', '.join(wrong)}; use a new folder"
            )
    paths = [str(getattr(record, "path", record)) for record in records]
    source = hashlib.sha256(json.dumps([paths, labels, options, content, num_shards]).encode()).hexdigest()
    building = index_path(folder, split, ".building")
    if split in splits(folder):
        metadata = load_metadata(folder, split)
        if metadata["source"] != source:
            raise ValueError(
                f"prepare: {folder} holds split {split!r} of other records or options {metadata['options']}; "
                f"use a new folder, or delete {index_path(folder, split, '.json')} to replace it"
            )
        shutil.rmtree(building, ignore_errors=True)
        return Summary(str(folder), split, **metadata["summary"])
    building.mkdir(parents=True, exist_ok=True)
    jobs = []
    for number in range(num_shards):
        part = slice(number * len(records) // num_shards, (number + 1) * len(records) // num_shards)
        path = folder / f"{content['kind']}-{split}.array_record-{number:05d}-of-{num_shards:05d}"
        items = list(zip(names[part], records[part], strict=True))
        jobs.append(_Job(path, building / f"{number:05d}.json", source, items, encode))
    missing = [job for job in jobs if not _done(job)]
    keep = {job.path for job in jobs} - {job.path for job in missing}
    for path in folder.glob(f"{content['kind']}-{split}.array_record-*"):
        if path not in keep:
            path.unlink()
    _write_shards(
        missing, processes, lambda items: progress(itertools.chain(keep, items), len(jobs), f"prepare {split}")
    )
    summary = _finish(jobs, folder, split, dict(source=source, options=options, content=content))
    shutil.rmtree(building)
    load_index.cache_clear()  # should another set have been there before
    open_shard.cache_clear()
    return summary


def _done(job: _Job) -> bool:
    if not job.state.exists() or not job.path.exists():
        return False
    state = json.loads(job.state.read_text())
    return state["source"] == job.source and state["bytes"] == job.path.stat().st_size


def _write_shards(jobs: list[_Job], processes: int | None, show: Callable) -> None:
    if processes == 0:
        for _ in show(map(_write_shard, jobs)):
            pass
        return
    context = multiprocessing.get_context("spawn")
    processes = min(processes or os.cpu_count(), max(len(jobs), 1))
    try:
        with concurrent.futures.ProcessPoolExecutor(processes, context, initializer=_start_process) as pool:
            for _ in show(pool.map(_write_shard, jobs)):
                pass
    except concurrent.futures.process.BrokenProcessPool:
        raise RuntimeError(
            "prepare: a writing process died, killed for its memory or by a decoder; what is finished stays, "
            "run again with fewer processes"
        ) from None


def _start_process() -> None:
    """In a fresh process: one core, and no life after the parent's, even if that is killed."""
    import cv2

    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    def follow_parent():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=follow_parent, daemon=True).start()


def _write_shard(job: _Job) -> None:
    from array_record.python.array_record_module import ArrayRecordWriter

    temporary = job.state.with_suffix(f".{os.getpid()}")
    names, rows, spans, broken = [], [], [], []
    writer = ArrayRecordWriter(str(temporary), "group_size:1,uncompressed")
    try:
        for name, record in job.items:
            try:
                values, row = job.encode(name, record)
            except VideoError as error:
                broken.append(dict(path=error.path, reason=error.reason))
                continue
            data, places = encode_example(values)
            writer.write(data)
            names.append(name)
            spans.append(job.encode.spans(places))
            rows.append(row | dict(num_spans=len(spans[-1])))
    finally:
        writer.close()
    for row, start in zip(rows, _read_back(temporary, names, rows, spans), strict=True):
        row["start"] = start
    size, checksum = temporary.stat().st_size, _checksum(temporary)
    os.replace(temporary, job.path)
    parts = len(spans[0][0]) if spans else 1
    flat = [span for record in spans for span in record]
    _replace(job.state.with_suffix(".npy"), lambda file: np.save(file, np.array(flat, np.uint32).reshape(-1, parts, 2)))
    state = dict(source=job.source, bytes=size, sha256=checksum, names=names, rows=rows, broken=broken)
    _replace(job.state, lambda file: file.write(json.dumps(state).encode()))


def _read_back(path: pathlib.Path, names: list[str], rows: list[dict], spans: list) -> list[int]:
    """Where each record starts in the stream, after comparing all of them with what was written."""
    import cv2
    from array_record.python.array_record_module import ArrayRecordReader
    from tensorflow_datasets.proto import tf_example_pb2

    def same(what, got, expected):
        if got != expected:
            raise RuntimeError(f"{path} does not read back as written ({what}): is the disk full or failing?")

    reader = ArrayRecordReader(str(path))
    same("number of records", reader.num_records(), len(names))
    shard = Shard(path)
    starts = _record_starts(shard, len(names))
    for number, (name, row, start) in enumerate(zip(names, rows, starts, strict=True)):
        data = reader.read([number])[0]
        same(f"position of {name}", shard.read(start, len(data)), data)
        feature = tf_example_pb2.Example.FromString(data).features.feature
        same(f"name of {name}", feature["name"].bytes_list.value[0].decode(), name)
        if "label" in row:
            values = feature["label"].float_list.value or feature["label"].int64_list.value
            same(f"label of {name}", list(values), np.ravel(row["label"]).tolist())
            same(f"frames of {name}", feature["num_frames"].int64_list.value[0], row["num_frames"])
            parts = [
                list(feature[part].bytes_list.value) for part in PARTS[feature["modality"].bytes_list.value[0].decode()]
            ]
            stored = [[data[at : at + length] for at, length in part] for part in zip(*spans[number], strict=True)]
            same(f"pictures of {name}", stored, parts)
            picture = cv2.imdecode(np.frombuffer(parts[0][0], np.uint8), cv2.IMREAD_UNCHANGED)
            same(f"picture of {name}", picture is not None and picture.shape[:2], (row["height"], row["width"]))
    reader.close()
    return starts


def _record_starts(shard: Shard, count: int) -> list[int]:
    """Where the first `count` records start in the stream.

    A Riegeli file is a list of chunks: a header of 40 bytes (at 8 the length of what follows, at 24 the type "r" of
    records, at 32 their length when decoded), then the data, which end with the record, as nothing is compressed.
    """
    starts, place = [], 0
    while len(starts) < count:
        header = shard.read(place, 40)
        if len(header) < 40:
            raise RuntimeError(f"{shard.path} ends after {len(starts)} of {count} records: is the disk full?")
        place += 40 + int.from_bytes(header[8:16], "little")
        if header[24:25] == b"r":
            starts.append(place - int.from_bytes(header[32:40], "little"))
    return starts


def _finish(jobs: list[_Job], folder: pathlib.Path, split: str, metadata: dict) -> Summary:
    """Joins what the shards say into the index; the metadata file comes last and says that all is there."""
    states = [json.loads(job.state.read_text()) for job in jobs]
    rows = [row for state in states for row in state["rows"]]
    broken = [line for state in states for line in state["broken"]]
    lines = "".join(json.dumps(line) + "\n" for line in broken)
    _replace(folder / f"{split}_broken.jsonl", lambda file: file.write(lines.encode()))
    if not rows:
        raise RuntimeError(
            f"prepare: not one of {len(broken)} files can be read; see {folder / f'{split}_broken.jsonl'}"
        )
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    if "label" in columns and columns["label"].ndim == 2:
        columns["label"] = columns["label"].astype(np.float32)
    columns["shard"] = np.repeat(np.arange(len(states)), [len(state["rows"]) for state in states])
    columns["first_span"] = np.cumsum(columns["num_spans"]) - columns["num_spans"]
    _replace(index_path(folder, split, ".npz"), lambda file: np.savez(file, **columns))
    spans = np.concatenate(
        [np.load(job.state.with_suffix(".npy")) for job, s in zip(jobs, states, strict=True) if s["rows"]]
    )
    _replace(index_path(folder, split, ".spans.npy"), lambda file: np.save(file, spans))
    names = json.dumps([name for state in states for name in state["names"]])
    _replace(index_path(folder, split, ".names.json"), lambda file: file.write(names.encode()))
    metadata["shards"] = [
        dict(file=job.path.name, bytes=state["bytes"], sha256=state["sha256"], num_records=len(state["rows"]))
        for job, state in zip(jobs, states, strict=True)
    ]
    metadata["summary"] = dict(
        num_records=len(rows),
        num_broken=len(broken),
        num_frames=int(columns["num_frames"].sum()),
        num_bytes=sum(state["bytes"] for state in states),
    )
    others = {other: load_metadata(folder, other) for other in splits(folder)}
    _write_tfds_metadata(folder, metadata["content"], others | {split: metadata})
    text = json.dumps(metadata, indent=1)
    _replace(index_path(folder, split, ".json"), lambda file: file.write(text.encode()))
    return Summary(str(folder), split, **metadata["summary"])


def _write_tfds_metadata(folder: pathlib.Path, content: dict, metadata: dict[str, dict]) -> None:
    """dataset_info.json and features.json, by which tfds knows the folder."""
    import tensorflow_datasets as tfds

    types = tfds.features
    if content["kind"] == "features":
        shapes = dict(name=types.Text(), feature=types.Tensor(shape=(None, content["channels"]), dtype=np.float32))
    else:
        names = content["class_names"]
        channels = 3 if content["modality"] == "RGB" else 1
        picture = types.Image(shape=(None, None, channels), encoding_format="jpeg")
        several = content["several_labels"]
        shapes = dict(
            name=types.Text(),
            modality=types.Text(),
            label=types.Tensor(shape=(len(names),), dtype=np.float32) if several else types.ClassLabel(names=names),
            num_frames=types.Scalar(np.int64),
            height=types.Scalar(np.int64),
            width=types.Scalar(np.int64),
            fps=types.Scalar(np.float32),
            **{part: types.Sequence(picture) for part in PARTS[content["modality"]]},
        )
    template = tfds.core.ShardedFileTemplate(
        data_dir=folder, dataset_name=content["kind"], filetype_suffix="array_record"
    )
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=types.FeaturesDict(shapes),
        split_infos=[
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=[shard["num_records"] for shard in known["shards"]],
                num_bytes=known["summary"]["num_bytes"],
                filename_template=template.replace(split=split),
            )
            for split, known in metadata.items()
        ],
        check_data=False,
    )


def encode_example(values: dict[str, list[bytes] | np.ndarray]) -> tuple[bytes, dict[str, list[tuple[int, int]]]]:
    """A serialized `tf.train.Example`, and where in it the payloads of each feature are: (offset, length).

    Written here, as a protocol buffer library says neither where it puts a picture nor in which order. Lists of bytes
    have a payload an item; arrays, whole numbers from 0 on as int64 and others as float32, have one.
    """
    body, spans, place = [], {}, 0
    for name, value in values.items():
        kind, payloads = _payloads(value)
        heads = [_head(1, len(payload)) for payload in payloads]
        size = sum(map(len, heads)) + sum(map(len, payloads))
        entry = _head(1, len(name)) + name.encode() + _nested(size, 2, kind)
        body.append(_head(1, len(entry) + size) + entry)
        place += len(body[-1])
        spans[name] = []
        for head, payload in zip(heads, payloads, strict=True):
            body += [head, payload]
            spans[name].append((place + len(head), len(payload)))
            place += len(head) + len(payload)
    start = _head(1, place)
    moved = {name: [(len(start) + at, length) for at, length in places] for name, places in spans.items()}
    return b"".join([start, *body]), moved


def _payloads(value) -> tuple[int, list[bytes]]:
    """The field of `tf.train.Feature` for a value, and its contents."""
    if isinstance(value, list):
        return 1, value
    if value.dtype.kind == "f":
        return 2, [value.astype("<f4").tobytes()]
    return 3, [b"".join(map(_varint, value.tolist()))]


def _nested(size: int, outer: int, inner: int) -> bytes:
    head = _head(inner, size)
    return _head(outer, len(head) + size) + head


def _head(field: int, size: int) -> bytes:
    return bytes([field << 3 | 2]) + _varint(size)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _jpeg(plane: np.ndarray, quality: int) -> bytes:
    import cv2

    done, data = cv2.imencode(".jpg", np.ascontiguousarray(plane), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise RuntimeError(f"OpenCV cannot write a JPEG of shape {plane.shape}")
    return data.tobytes()


def _read_feature(path: str) -> np.ndarray:
    try:
        if path.endswith(".npy"):
            feature = np.load(path)
        elif path.endswith(".csv"):
            feature = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
        else:
            raise ValueError("expected a name that ends in .csv or .npy")
        if feature.ndim != 2 or not feature.size:
            raise ValueError(f"shape {feature.shape}; expected [time, channels]")
        return feature.astype(np.float32)
    except (OSError, ValueError, EOFError) as error:
        raise VideoError(path, str(error)) from error


def _try_feature(path: str) -> np.ndarray | None:
    try:
        return _read_feature(path)
    except VideoError:
        return None


def _check_labels(records, class_names: list[str]) -> bool:
    """Whether records have several labels each. ValueError if they do not fit the names or each other."""
    if len(set(class_names)) < len(class_names):
        twice = sorted({name for name in class_names if class_names.count(name) > 1})
        raise ValueError(f"prepare: class_names holds {twice} more than once")
    several = bool(records) and np.ndim(records[0].label) == 1
    for record in records:
        label, number = np.asarray(record.label), len(class_names)
        if several and label.shape != (number,):
            raise ValueError(
                f"prepare: label of {record.path} has shape {label.shape}; expected ({number},), one a class"
            )
        if not several and (label.ndim or label.dtype.kind not in "iu" or not 0 <= label < number):
            raise ValueError(
                f"prepare: label {record.label!r} of {record.path}; expected 0..{number - 1}, by class_names"
            )
    return several


def _names(paths: list[str]) -> list[str]:
    """The paths without the folder that all have in common."""
    folders = {os.path.dirname(path) for path in paths}
    try:
        common = os.path.commonpath(folders)
    except ValueError:  # some absolute, some not, or no paths
        return paths
    return [os.path.relpath(path, common) if common else path for path in paths]


def _checksum(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _replace(path: pathlib.Path, write: Callable) -> None:
    """Writes a file that is there completely or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        write(file)
    os.replace(temporary, path)
