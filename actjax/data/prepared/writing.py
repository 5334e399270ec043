"""Videos and features -> prepared splits, which open fast; `actjax.data.prepared.reading` reads them.

A split is a tfds data set of ArrayRecord shards with one `tf.train.Example` per video, written without TensorFlow.
`tfds.builder_from_directory(folder).as_data_source(split)` reads it; the index beside it (see
`actjax.data.prepared.reading`) gives access to single frames. `actjax.data.prepared.shards` writes the shards.
"""

import collections
import hashlib
import itertools
import json
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from actjax.data.datasets.features import load_feature
from actjax.data.prepared.index import (
    PARTS,
    checksum,
    damaged_shards,
    digest_of,
    index_path,
    load_index,
    load_metadata,
    splits,
)
from actjax.data.prepared.reading import open_shard
from actjax.data.prepared.shards import Job, path_of, write_shards
from actjax.errors import check_number
from actjax.paths import replace
from actjax.video import views
from actjax.video.errors import VideoError
from actjax.video.rendering import render

LARGEST = 2**31 - 2**20  # bytes of JPEGs per video; protocol buffers are limited to 2 GiB
RUN = 16  # frames decoded at a time: 100 MB of full HD


class Summary(NamedTuple):
    """Counts of a prepared split. `num_frames`: frames of all videos, or time steps of all features."""

    folder: str
    split: str
    num_records: int
    num_broken: int
    num_frames: int
    num_bytes: int


def without_progress(items, total: int, what: str):
    """The items, without a progress bar."""
    return items


def open_record(record, *, backend: str):
    """`record.open(backend=backend)`: how `prepare` opens videos by default."""
    return record.open(backend=backend)


def check_options(options: Mapping) -> None:
    """Raises ValueError if one of these options of `prepare` is out of range; None and others pass."""
    for name, bounds in (("short_side", "[0, inf)"), ("quality", "[1, 100]"), ("num_shards", "[1, inf)")):
        if options.get(name) is not None:
            check_number(name, options[name], bounds, whole=True)


def prepare(
    records: Sequence,
    folder: str | os.PathLike,
    *,
    split: str,
    class_names: Sequence[str],
    modality: str = "RGB",
    short_side: int = 256,
    quality: int = 85,
    backend: str = "pyav",
    num_shards: int | None = None,
    processes: int | None = None,
    timeout: float = 30.0,
    open_video: Callable = open_record,
    progress: Callable = without_progress,
) -> Summary:
    """Writes every frame of `records` as a JPEG into a split of `folder`, or resumes a killed run.

    The same records and options give the same bytes, however many processes write and however often they were killed.
    Videos that cannot be decoded, or that hang or crash their decoder, are left out and listed in `SPLIT_broken.jsonl`
    (`path`, `reason`). Frames are resized like MMAction2 0.6's Resize (bilinear); flow values are not scaled.

    Args:
      records: with `path`, `label` (a class, or float32 [num_classes]) and whatever `open_video` needs.
      folder: may hold other splits of the same classes and modality.
      split: its name: letters, digits and "_".
      class_names: name i is that of class i.
      modality: "RGB", or "Flow" for videos whose frames are [n, h, w, 2]: two grey JPEGs per frame.
      short_side: larger videos are scaled down to it; 0: every video keeps its size.
      quality: of the JPEGs, 1..100. Compared with 95, 85 takes 3/5 of the space and 3/4 of the decoding time, at a PSNR
        of 39 instead of 42 dB (340x256 video).
      backend: passed to `open_video`.
      num_shards: number of files; default one per 16 records, at most 1024.
      processes: number of writers; default one per core; 0: this process writes, and decoders are not guarded.
      timeout: seconds that opening a video, or decoding 16 frames, may take.
      open_video: `open_video(record, backend=...)` -> `actjax.video.decoding.Video`.
      progress: `progress(items, total, what)` yields the items, one per shard, and shows how many are done.

    Raises:
      ValueError: an option, a label or the folder's other splits do not fit; the split exists but was made from other
        records or options; the frames are not of this modality. RuntimeError: no video can be decoded, a shard does
        not read back as written, or a process was killed.
    """
    if modality not in PARTS:
        raise ValueError(f"prepare: modality={modality!r}; choose from {sorted(PARTS)}")
    check_options(dict(short_side=short_side, quality=quality, num_shards=num_shards))
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
        timeout=timeout,
        progress=progress,
    )


def prepare_features(
    paths: Sequence[str | os.PathLike],
    folder: str | os.PathLike,
    *,
    split: str = "features",
    num_shards: int | None = None,
    processes: int | None = None,
    timeout: float = 30.0,
    progress: Callable = without_progress,
) -> Summary:
    """Writes feature files into a split of `folder` as float32 [time, channels], as `prepare` does with videos.

    Args:
      paths: CSV files (comma separated, the first line is a header) or NPY files, [time, channels] like ActivityNet's.
        A record has the name of its file without the suffix. Files that do not parse, or whose number of channels
        differs from the first one that does, are left out and listed.
      folder, split, num_shards, processes, timeout, progress: see `prepare`; `timeout` is per file.

    Raises:
      ValueError: two files with the same name. Otherwise as `prepare`.
    """
    paths = [str(path) for path in paths]
    names = [pathlib.Path(path).stem for path in paths]
    if twice := repeated(names):
        raise ValueError(f"prepare_features: several files are named {twice[:5]}; names must be unique")
    channels = next((array.shape[1] for array in map(_try_feature, paths) if array is not None), None)
    if channels is None:
        raise RuntimeError(f"prepare_features: none of {len(paths)} files can be read as [time, channels]")
    return _build(
        paths,
        pathlib.Path(folder),
        split,
        names=names,
        labels=[],
        encode=_Features(channels),
        options={},
        content=dict(kind="features", channels=channels),
        num_shards=num_shards,
        processes=processes,
        timeout=timeout,
        progress=progress,
    )


def check_prepared(folder: str | os.PathLike, split: str) -> None:
    """Verifies the checksums of a split. ValueError names shards that are damaged or missing."""
    if damaged := damaged_shards(folder, split):
        (file, told), *others = damaged.items()
        more = f", and so are {len(others)} other shards" * bool(others)
        raise ValueError(
            f"{pathlib.Path(folder) / file} {told}{more}; copy the folder again, or delete "
            f"{index_path(folder, split, '.json')} and prepare again"
        )


class _Videos(NamedTuple):
    """Encoder of videos: a record -> the values of its example, and its row of the index."""

    modality: str
    short_side: int
    quality: int
    backend: str
    open_video: Callable

    def __call__(self, name: str, record, renew: Callable) -> tuple[dict, dict]:
        video = self.open_video(record, backend=self.backend)
        parts = PARTS[self.modality]
        pictures, size, total = {part: [] for part in parts}, None, 0
        for begin in range(0, video.num_frames, RUN):
            renew()
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
                raise VideoError(record.path, "its JPEGs take more than 2 GiB; use a smaller short_side or quality")
        row = dict(num_frames=video.num_frames, fps=float(video.fps), height=size[0], width=size[1])
        label = np.asarray(record.label)
        scalars = {key: np.array([row[key]]) for key in ("num_frames", "height", "width")}
        values = dict(name=[name.encode()], modality=[self.modality.encode()], label=label.reshape(-1), **scalars)
        values |= dict(fps=np.array([row["fps"]])) | pictures
        return values, row | dict(label=label.tolist())

    def spans(self, spans: dict[str, list]) -> list:
        """The spans of the JPEGs, [frames][parts]."""
        return list(zip(*(spans[part] for part in PARTS[self.modality]), strict=True))


class _Features(NamedTuple):
    """Encoder of features: a file -> the values of its example, and its row of the index."""

    channels: int

    def __call__(self, name: str, path: str, renew: Callable) -> tuple[dict, dict]:
        feature = _read_feature(path)
        if feature.shape[1] != self.channels:
            raise VideoError(path, f"{feature.shape[1]} channels; the first file has {self.channels}")
        return dict(name=[name.encode()], feature=feature), dict(num_frames=len(feature))

    def spans(self, spans: dict[str, list]) -> list:
        """The span of the values."""
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
    timeout,
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
                f"prepare: {folder} holds split {other!r} with different {', '.join(wrong)}; use a new folder"
            )
    paths = [path_of(record) for record in records]
    source = hashlib.sha256(json.dumps([paths, labels, options, content, num_shards]).encode()).hexdigest()
    building = index_path(folder, split, ".building")
    if split in splits(folder):
        metadata = load_metadata(folder, split)
        if metadata["source"] != source:
            raise ValueError(
                f"prepare: {folder} holds split {split!r}, made from other records or options {metadata['options']}; "
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
        jobs.append(Job(path, building / f"{number:05d}.json", source, items))
    missing = [job for job in jobs if not job.done]
    keep = {job.path for job in jobs} - {job.path for job in missing}
    for path in folder.glob(f"{content['kind']}-{split}.array_record-*"):
        if path not in keep:
            path.unlink()
    show = lambda finished: progress(itertools.chain(keep, finished), len(jobs), f"prepare {split}")
    write_shards(missing, encode, processes=processes, timeout=timeout, show=show)
    summary = _finish(jobs, folder, split, dict(source=source, options=options, content=content))
    shutil.rmtree(building)
    load_index.cache_clear()  # in case the folder held another set before
    open_shard.cache_clear()
    return summary


def _finish(jobs: list[Job], folder: pathlib.Path, split: str, metadata: dict) -> Summary:
    """Joins the shards' states into the index. Writes the metadata file last: it marks the split as complete."""
    states = [json.loads(job.state.read_text()) for job in jobs]
    rows = [row for state in states for row in state["rows"]]
    broken = [line for state in states for line in state["broken"]]
    lines = "".join(json.dumps(line) + "\n" for line in broken)
    replace(folder / f"{split}_broken.jsonl", lambda file: file.write(lines.encode()))
    if not rows:
        raise RuntimeError(f"prepare: none of {len(broken)} files can be read; see {folder / f'{split}_broken.jsonl'}")
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    if "label" in columns and columns["label"].ndim == 2:
        columns["label"] = columns["label"].astype(np.float32)
    columns["shard"] = np.repeat(np.arange(len(states)), [len(state["rows"]) for state in states])
    columns["first_span"] = np.cumsum(columns["num_spans"]) - columns["num_spans"]
    replace(index_path(folder, split, ".npz"), lambda file: np.savez(file, **columns))
    spans = np.concatenate(
        [np.load(job.state.with_suffix(".npy")) for job, s in zip(jobs, states, strict=True) if s["rows"]]
    )
    replace(index_path(folder, split, ".spans.npy"), lambda file: np.save(file, spans))
    names = json.dumps([name for state in states for name in state["names"]])
    replace(index_path(folder, split, ".names.json"), lambda file: file.write(names.encode()))
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
    endings = (".npz", ".spans.npy", ".names.json")
    metadata["index_sha256"] = {ending: checksum(index_path(folder, split, ending)) for ending in endings}
    metadata["index_sha256"]["content"] = digest_of(metadata["content"])
    others = {other: load_metadata(folder, other) for other in splits(folder)}
    _write_tfds_metadata(folder, metadata["content"], others | {split: metadata})
    text = json.dumps(metadata, indent=1)
    replace(index_path(folder, split, ".json"), lambda file: file.write(text.encode()))
    return Summary(str(folder), split, **metadata["summary"])


def _write_tfds_metadata(folder: pathlib.Path, content: dict, metadata: dict[str, dict]) -> None:
    """Writes dataset_info.json and features.json, which make the folder a tfds data set."""
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


def _jpeg(plane: np.ndarray, quality: int) -> bytes:
    import cv2

    done, data = cv2.imencode(".jpg", np.ascontiguousarray(plane), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise RuntimeError(f"OpenCV cannot write a JPEG of shape {plane.shape}")
    return data.tobytes()


def _read_feature(path: str) -> np.ndarray:
    """float32 [time, channels]; VideoError if it cannot be read."""
    try:
        return load_feature(path).T
    except (OSError, ValueError) as error:
        raise VideoError(path, str(error).removeprefix(f"{path}: ")) from error


def _try_feature(path: str) -> np.ndarray | None:
    try:
        return _read_feature(path)
    except VideoError:
        return None


def _check_labels(records, class_names: list[str]) -> bool:
    """Whether records have several labels each. ValueError: labels do not fit the names or each other."""
    if twice := repeated(class_names):
        raise ValueError(f"prepare: class_names holds {twice} more than once")
    several = bool(records) and np.ndim(records[0].label) == 1
    for record in records:
        label, number = np.asarray(record.label), len(class_names)
        if several and label.shape != (number,):
            raise ValueError(
                f"prepare: label of {record.path} has shape {label.shape}; expected ({number},), one per class"
            )
        if not several and (label.ndim or label.dtype.kind not in "iu" or not 0 <= label < number):
            raise ValueError(
                f"prepare: label {record.label!r} of {record.path}; expected 0..{number - 1}, by class_names"
            )
    return several


def repeated(names: list[str]) -> list[str]:
    """The names that occur more than once."""
    return sorted(name for name, count in collections.Counter(names).items() if count > 1)


def _names(paths: list[str]) -> list[str]:
    """The paths relative to their common folder."""
    folders = {os.path.dirname(path) for path in paths}
    try:
        common = os.path.commonpath(folders)
    except ValueError:  # absolute and relative paths, or no paths
        return paths
    return [os.path.relpath(path, common) if common else path for path in paths]
