import errno
import itertools
import json
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import pytest
from broken_records import Befallen
from hypothesis import given
from hypothesis import strategies as st

from actjax.data.datasets.annotations import load_annotations
from actjax.data.datasets.features import open_features
from actjax.data.datasets.recognition import build_dataset, check_files
from actjax.data.loading import endings, processes
from actjax.data.loading.endings import MachineError
from actjax.data.prepared.example import encode_example
from actjax.data.prepared.reading import (
    load_class_names,
    load_index,
    load_metadata,
    load_prepared,
    load_prepared_features,
)
from actjax.data.prepared.writing import check_prepared, prepare, prepare_features
from actjax.video import views
from actjax.video.decoding import open_video
from actjax.video.errors import Unreachable, VideoError
from actjax.video.rendering import render


class File(NamedTuple):
    """A video file."""

    path: str
    label: object

    def open(self, *, backend):
        return open_video(self.path, backend=backend)


class Flow(NamedTuple):
    """A flow video of smooth noise that follows from its path."""

    path: str
    label: object

    def open(self, *, backend):
        return FlowVideo(len(self.path))


class FlowVideo(NamedTuple):
    num_frames: int
    fps: float = 25.0
    size: tuple = (60, 80)

    def frames(self, indices):
        y, x, t = np.ogrid[:60, :80, : self.num_frames]
        wave = 128 + 100 * np.stack([np.sin(x / 20 + t + 0 * y), np.cos(y / 15 - t + 0 * x)], axis=-1)
        return np.moveaxis(wave, 2, 0)[np.asarray(indices)].astype(np.uint8)


def open_slowly(record, *, backend):
    time.sleep(0.1)
    return record.open(backend=backend)


NAMES = [str(number) for number in range(8)]


@pytest.fixture(scope="module")
def videos(media):
    return [File(str(media / name), label) for label, name in enumerate(["test.mp4", "part_0.mp4", "test.avi"])]


@pytest.fixture(scope="module")
def records(shapes):
    return [File(record.path, record.label) for record in load_annotations("videos", shapes / "train.txt")]


@pytest.fixture(scope="module")
def folder(videos, tmp_path_factory):
    """The real files with short side 120 and quality 95, and a text file among them."""
    folder = tmp_path_factory.mktemp("prepared")
    broken = File(str(pathlib.Path(videos[0].path).parent / "LICENSE.mmaction2.txt"), 1)
    listed = [videos[0], broken, *videos[1:]]
    options = dict(class_names=NAMES, quality=95)
    summary = prepare(listed, folder, split="train", short_side=120, num_shards=2, processes=2, **options)
    assert summary[1:5] == ("train", 3, 1, 300 + 32 + 164)
    assert prepare(videos[1:], folder, split="val", short_side=0, processes=0, **options).num_records == 2
    return folder


def contents(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_records_and_frames_are_the_resized_videos(folder, videos):
    prepared = load_prepared(folder, "train")
    assert [record.name for record in prepared] == ["test.mp4", "part_0.mp4", "test.avi"]
    assert [(record.label, record.num_frames) for record in prepared] == [(0, 300), (1, 32), (2, 164)]
    assert prepared[1].path == f"{folder}/train#1"
    for record, file in zip(prepared, videos, strict=True):
        video, source = record.open(backend="pyav"), file.open(backend="pyav")
        indices = np.array([source.num_frames - 1, 0, 7, 7, 20])
        frames = source.frames(indices)
        expected = render(frames, views.resize(*frames.shape[1:3], scale=(-1, 120)))
        got = video.frames(indices)
        assert (video.num_frames, video.fps, video.size) == (source.num_frames, source.fps, expected.shape[1:3])
        assert got.dtype == np.uint8 and got.shape == expected.shape
        assert np.abs(got.astype(int) - expected).mean() < 3  # of JPEG; another frame is 5 and more away
        np.testing.assert_array_equal(got[2], got[3])
        for wrong in ([0, source.num_frames], [-1]):
            with pytest.raises(IndexError, match=f"train#.*of a video with {source.num_frames} frames"):
                video.frames(wrong)
    assert video.frames([]).shape == (0, *video.size, 3)


def test_without_short_side_the_size_stays(folder, videos):
    for record, file in zip(load_prepared(folder, "val"), videos[1:], strict=True):
        source = file.open(backend="pyav").frames([3])
        assert np.abs(record.open().frames([3]).astype(int) - source).mean() < 3


def test_broken_files_are_listed(folder):
    (line,) = map(json.loads, (folder / "train_broken.jsonl").read_text().splitlines())
    assert line["path"].endswith("LICENSE.mmaction2.txt") and line["reason"]
    assert (folder / "val_broken.jsonl").read_text() == ""
    metadata = load_metadata(folder, "train")
    assert load_class_names(folder) == NAMES
    assert metadata["options"] == dict(short_side=120, quality=95, backend="pyav")
    assert len(metadata["source"]) == 64 and metadata["source"] != load_metadata(folder, "val")["source"]


def test_tfds_reads_it_without_tensorflow(folder):
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    assert builder.info.features["label"].names == NAMES
    for split in ("train", "val"):
        prepared, source = load_prepared(folder, split), builder.as_data_source(split)
        assert len(source) == len(prepared)
        for record, example in zip(prepared, source, strict=True):
            assert (example["name"].decode(), example["label"]) == (record.name, record.label)
            assert (example["num_frames"], example["modality"]) == (record.num_frames, b"RGB")
            video = record.open()
            assert (example["height"], example["width"]) == video.size
            assert example["fps"] == pytest.approx(video.fps)
            np.testing.assert_array_equal(
                np.stack(example["frames"][::9]), video.frames(range(0, record.num_frames, 9))
            )
    assert "tensorflow" not in sys.modules


def test_records_travel_to_other_processes(folder):
    record = load_prepared(folder, "train")[2]
    data = pickle.dumps(record)
    assert len(data) < 1000
    code = (
        "import pickle, sys, zlib; record = pickle.loads(sys.stdin.buffer.read());"
        "print(zlib.crc32(record.open().frames([5])));"
        "assert not {'tensorflow_datasets', 'array_record', 'google.protobuf', 'jax'} & set(sys.modules)"
    )
    import zlib

    output = subprocess.run([sys.executable, "-c", code], input=data, stdout=subprocess.PIPE, check=True, timeout=60)
    assert int(output.stdout) == zlib.crc32(record.open().frames([5]))


def test_neither_processes_nor_a_kill_change_a_byte(records, tmp_path, root):
    options = dict(split="train", class_names=NAMES, num_shards=16)
    whole = prepare(records, tmp_path / "whole", processes=0, **options)
    assert (whole.num_records, whole.num_broken) == (64, 0)
    job = dict(records=[tuple(record) for record in records], folder=str(tmp_path / "killed"), options=options)
    (tmp_path / "job.json").write_text(json.dumps(job))
    code = (
        "import json, sys; from actjax.data.prepared.writing import prepare; import test_prepared as t;"
        "job = json.load(open(sys.argv[1])); records = [t.File(*r) for r in job['records']];"
        "prepare(records, job['folder'], processes=2, open_video=t.open_slowly, **job['options'])"
    )
    path = os.pathsep.join(map(str, (root, root / "tests" / "data", root / "tests" / "helpers")))
    environment = os.environ | {"PYTHONPATH": path}
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "job.json")], env=environment)
    building = tmp_path / "killed" / "index" / "train.building"
    for _ in range(600):
        if len(list(building.glob("*.json"))) >= 3:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.5)  # the writers follow
    done = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "killed").glob("*.array_record-*")}
    assert 3 <= len(done) < 16
    with pytest.raises(FileNotFoundError, match="was not finished"):
        load_prepared(tmp_path / "killed", "train")
    shown = []
    progress = lambda items, total, what: (shown.append((item, total, what)) or item for item in items)
    assert prepare(records, tmp_path / "killed", processes=2, progress=progress, **options)[1:] == whole[1:]
    assert [row[1:] for row in shown] == [(16, "prepare train")] * 16
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    kept = [name for name, stamp in done.items() if (tmp_path / "killed" / name).stat().st_mtime_ns == stamp]
    assert len(kept) >= 3
    assert prepare(records, tmp_path / "killed", processes=2, **options)[1:] == whole[1:]  # nothing left to do
    assert [(r.name, r.label) for r in load_prepared(tmp_path / "killed", "train")] == [
        (os.path.basename(record.path), record.label) for record in records
    ]


def open_dangerously(record, *, backend):
    """Hangs, crashes or raises as the file's name says; the hanging one first gives frames."""
    name = os.path.basename(record.path)
    if name == "crash.mp4":
        os.abort()
    if name == "exit.mp4":
        os._exit(3)
    if name == "hang.mp4":
        return Hanging()
    return record.open(backend=backend)


class Hanging:
    num_frames, fps, size = 40, 25.0, (48, 64)

    def frames(self, indices):
        if indices[0] > 0:
            time.sleep(60)
        return np.zeros((len(indices), 48, 64, 3), np.uint8)


def test_decoders_that_hang_or_crash_cost_their_record(records, tmp_path):
    names = {1: "crash.mp4", 2: "hang.mp4", 5: "exit.mp4"}
    listed = [File(names[k], 0) if k in names else record for k, record in enumerate(records[:8])]
    options = dict(split="train", class_names=NAMES, num_shards=2)
    summary = prepare(listed, tmp_path / "a", processes=2, timeout=2.0, open_video=open_dangerously, **options)
    assert (summary.num_records, summary.num_broken) == (5, 3)
    rows = [json.loads(line) for line in (tmp_path / "a" / "train_broken.jsonl").read_text().splitlines()]
    assert {row["path"]: row["reason"] for row in rows} == {
        "crash.mp4": "the decoder crashed its process (SIGABRT)",
        "hang.mp4": "decoding took more than 2 s",
        "exit.mp4": "the decoder crashed its process (status 3)",
    }
    prepare(listed, tmp_path / "b", processes=0, **options)  # there they are missing files
    for folder in ("a", "b"):
        (tmp_path / folder / "train_broken.jsonl").unlink()
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_killed_writer_is_no_broken_video(records, tmp_path, monkeypatch):
    """As by the system when memory is short: the shard is written again, and memory is named if that does not help."""
    monkeypatch.setattr(processes, "TICK", 0.25)
    monkeypatch.setattr(processes, "GRACE", 0.5)
    options = dict(split="train", class_names=NAMES, num_shards=2, timeout=2.0)
    prepare(records[:6], tmp_path / "quiet", processes=0, **options)
    befallen = list(records[:6])
    for k, (what, after) in {1: ("SIGKILL", None), 2: ("SIGKILL", 1), 4: ("SIGSTOP", 0)}.items():
        (tmp_path / str(k)).mkdir()
        befallen[k] = Befallen(*records[k], str(tmp_path / str(k)), what, times=2, after=after)
    prepare(befallen, tmp_path / "befallen", processes=2, **options)
    assert contents(tmp_path / "befallen") == contents(tmp_path / "quiet")
    killed = [Befallen(*record, str(tmp_path), "SIGKILL", times=10**6) for record in records[:2]]
    with pytest.raises(
        MachineError, match=r"was killed \(SIGKILL\), 3 times at the same place: probably memory is short"
    ):
        prepare(killed, tmp_path / "killed", processes=1, **options)


def test_a_file_server_that_is_gone_leaves_no_video_out(records, tmp_path, monkeypatch):
    monkeypatch.setattr(endings, "PAUSES", (0.1, 0.1))
    options = dict(split="train", class_names=NAMES, num_shards=1, processes=1)
    faults = tmp_path / "faults"

    def open_stale(record, *, backend):
        if record.path == records[2].path and (not faults.exists() or len(faults.read_text()) < limit):
            with faults.open("a") as file:
                file.write(".")
            raise VideoError(record.path, "stale") from OSError(errno.ESTALE, "Stale file handle")
        return record.open(backend=backend)

    for limit in (2, 100):
        faults.unlink(missing_ok=True)
        if limit == 2:
            summary = prepare(records[:4], tmp_path / "a", open_video=open_stale, **options)
            assert (summary.num_records, summary.num_broken) == (4, 0)
        else:
            with pytest.raises(Unreachable, match="cannot be reached .*Stale file handle; tried 3 times"):
                prepare(records[:4], tmp_path / "b", open_video=open_stale, **options)


def test_errors_of_a_writer_are_raised_here(records, tmp_path):
    def fail(record, *, backend):
        raise KeyError("a fault in the code")

    with pytest.raises(KeyError, match="a fault in the code") as caught:
        prepare(records[:4], tmp_path, split="train", class_names=NAMES, processes=1, open_video=fail)
    assert "in another process" in caught.value.__notes__[0]


def test_shards_of_other_inputs_are_not_kept(records, tmp_path):
    class Stop(Exception):
        pass

    opened = itertools.count()

    def stop(record, *, backend):
        if next(opened) == 5:
            raise Stop
        return record.open(backend=backend)

    options = dict(split="train", class_names=NAMES, processes=0, num_shards=4)
    with pytest.raises(Stop):
        prepare(records[:8], tmp_path / "a", open_video=stop, **options)
    assert len(list((tmp_path / "a").glob("*.array_record-*"))) == 2
    prepare(records[8:16], tmp_path / "a", **options | dict(num_shards=3))
    prepare(records[8:16], tmp_path / "b", **options | dict(num_shards=3))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_finished_split_is_not_replaced(folder, videos):
    with pytest.raises(ValueError, match="holds split 'val', made from other records or options"):
        prepare(videos, folder, split="val", class_names=NAMES)
    with pytest.raises(ValueError, match="with different class_names; use a new folder"):
        prepare(videos, folder, split="test", class_names=["a", "b", "c"])


def test_damage_is_found(records, tmp_path):
    prepare(records[:4], tmp_path, split="train", class_names=NAMES, processes=0, num_shards=2)
    check_prepared(tmp_path, "train")
    shard = tmp_path / "videos-train.array_record-00001-of-00002"
    data = bytearray(shard.read_bytes())
    data[1000] ^= 1
    shard.write_bytes(data)
    with pytest.raises(ValueError, match="00001-of-00002 is damaged; copy the folder again"):
        check_prepared(tmp_path, "train")
    shard.write_bytes(data[:-100])
    prepared = load_prepared(tmp_path, "train")
    prepared[0].open().frames([0])
    with pytest.raises(VideoError, match=f"train#2: .*00001-of-00002 has {len(data) - 100} bytes, not the {len(data)}"):
        prepared[2].open()
    shard.unlink()
    with pytest.raises(VideoError, match="No such file"):
        prepared[3].open()


def test_zeros_in_place_of_pictures_are_an_error(records, tmp_path):
    prepare(records[:1], tmp_path, split="train", class_names=NAMES, processes=0)
    shard = tmp_path / "videos-train.array_record-00000-of-00001"
    shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(VideoError, match="frame 2: .*videos-train.array_record-00000-of-00001 is damaged"):
        load_prepared(tmp_path, "train")[0].open().frames([2])


def test_several_labels_a_video(records, tmp_path):
    import tensorflow_datasets as tfds

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (3, 8)).astype(np.float32)
    several = [record._replace(label=label) for record, label in zip(records, labels, strict=False)]
    prepare(several, tmp_path, split="train", class_names=NAMES, processes=0)
    prepared = load_prepared(tmp_path, "train")
    np.testing.assert_array_equal([record.label for record in prepared], labels)
    assert prepared[0].label.dtype == np.float32
    source = tfds.builder_from_directory(tmp_path).as_data_source("train")
    np.testing.assert_array_equal([example["label"] for example in source], labels)


@pytest.mark.parametrize(
    ("labels", "multi_class", "message"),
    [
        ([[1, 1, 0], [0, 0, 0]], True, ""),
        ([[1, 0, 0], [0, 1, 0]], True, ""),
        ([[1, 1, 0], [0, 0, 0]], False, "a video may have several classes there; set data.multi_class=True"),
        ([[1, 0, 0], [0, 1, 0]], False, "set data.multi_class=True"),  # several in other videos, perhaps
        ([[0.5, 0, 0.2], [0, 1, 0]], False, "set data.multi_class=True"),
        ([[0.5, 0.5, 0], [0, 1, 0]], False, ""),  # distributions
        ([2, 0], False, ""),
        ([2, 0], True, "every video has one class; remove data.multi_class"),
    ],
)
def test_a_prepared_set_knows_whether_videos_have_several_classes(records, tmp_path, labels, multi_class, message):
    given = [np.float32(label) if isinstance(label, list) else label for label in labels]
    for split in ("train", "val"):
        both = [record._replace(label=label) for record, label in zip(records, given, strict=False)]
        prepare(both, tmp_path, split=split, class_names=NAMES[:3], processes=0)
    config = dict(name="prepared", folder=str(tmp_path), multi_class=multi_class)
    with pytest.raises(ValueError, match=f"^data.folder={tmp_path}: .*{message}") if message else nullcontext():
        dataset = build_dataset(config, num_classes=3)
        np.testing.assert_array_equal([record.label for record in dataset.val], np.float32(labels))


def test_missing_shards_are_found_at_launch(records, tmp_path, caplog):
    for split in ("train", "val"):
        prepare(records[:4], tmp_path, split=split, class_names=NAMES, num_shards=4, processes=0)
    config = dict(name="prepared", folder=str(tmp_path))
    dataset = build_dataset(config, num_classes=8)
    check_files(config, dataset, max_broken=0.0)
    shards = sorted(tmp_path.glob("videos-val*"))
    shards[1].unlink()
    message = (
        f"^{tmp_path}, split 'val': 1 of 4 shards with 1 of 4 videos are missing or .* such as {shards[1].name}; copy"
    )
    with pytest.raises(FileNotFoundError, match=message):
        check_files(config, dataset, max_broken=0.05)
    assert not caplog.records
    check_files(config, dataset, max_broken=0.25)
    assert "1 of 4 shards" in caplog.text and "count as broken" in caplog.text
    shards[2].write_bytes(shards[2].read_bytes()[:-1])
    with pytest.raises(FileNotFoundError, match="2 of 4 shards"):
        check_files(config, dataset, max_broken=0.25)


def test_labels_of_an_edited_index_are_checked(records, tmp_path):
    for split in ("train", "val"):
        prepare(records[:2], tmp_path, split=split, class_names=NAMES, processes=0)
    file = tmp_path / "index" / "val.npz"
    columns = dict(np.load(file)) | dict(label=np.array([0, 99]))
    np.savez(file, **columns)
    load_index.cache_clear()
    with pytest.raises(
        ValueError, match="val.npz: label 99 is none of the 8 classes; copy the folder again, or delete index"
    ):
        build_dataset(dict(name="prepared", folder=str(tmp_path)), num_classes=8)


def test_flow(tmp_path):
    import tensorflow_datasets as tfds

    records = [Flow("abc", 0), Flow("a longer one", 1)]
    prepare(records, tmp_path, split="train", class_names=NAMES, modality="Flow", short_side=30, processes=0)
    source = tfds.builder_from_directory(tmp_path).as_data_source("train")
    for record, flow, example in zip(load_prepared(tmp_path, "train"), records, source, strict=True):
        video, every = record.open(), np.arange(record.num_frames)
        assert (video.num_frames, video.size) == (len(flow.path), (30, 40))
        expected = render(flow.open(backend="").frames(every), views.resize(60, 80, scale=(-1, 30)))
        got = video.frames(every)
        assert got.shape == (len(every), 30, 40, 2) and np.abs(got.astype(int) - expected).max() <= 12
        for channel, part in enumerate(("flow_x", "flow_y")):
            np.testing.assert_array_equal(np.stack(example[part])[..., 0], got[..., channel])
    with pytest.raises(ValueError, match=r"modality='RGB', but frames of abc are \(3, 60, 80, 2\)"):
        prepare(records, tmp_path / "rgb", split="train", class_names=NAMES, processes=0)


def test_features(tmp_path):
    import tensorflow_datasets as tfds

    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(length, 6)).astype(np.float32) for length in (5, 1, 9)]
    paths = [tmp_path / f"v_{number}.{ending}" for number, ending in enumerate(("csv", "csv", "npy"))]
    for path, array in zip(paths, arrays, strict=True):
        if path.suffix == ".csv":
            np.savetxt(path, array, delimiter=",", header="a,b,c,d,e,f", comments="")
        else:
            np.save(path, array)
    (tmp_path / "text.csv").write_text("f0,f1\none,two\n")
    np.save(tmp_path / "narrow.npy", np.zeros((4, 5)))
    wrong = [tmp_path / "text.csv", tmp_path / "narrow.npy", tmp_path / "missing.csv", tmp_path / "what.txt"]
    summary = prepare_features([wrong[0], *paths, *wrong[1:]], tmp_path / "out", split="train", processes=0)
    assert summary[2:5] == (3, 4, 15)
    prepared = load_prepared_features(tmp_path / "out", "train")
    assert [record.name for record in prepared] == ["v_0", "v_1", "v_2"]
    source = tfds.builder_from_directory(tmp_path / "out").as_data_source("train")
    for record, array, example in zip(prepared, arrays, source, strict=True):
        feature = record.read()
        assert feature.dtype == np.float32 and feature.shape == array.T.shape
        np.testing.assert_array_equal(feature.T, example["feature"])
        np.testing.assert_allclose(feature.T, array, rtol=1e-6)
    reasons = [
        json.loads(line)["reason"] for line in (tmp_path / "out" / "train_broken.jsonl").read_text().splitlines()
    ]
    for reason, words in zip(
        reasons,
        ("could not convert", "5 channels; the first file has 6", "does not exist", "features are .csv or .npy"),
        strict=True,
    ):
        assert words in reason
    with pytest.raises(ValueError, match="load_prepared: .* holds features, not videos"):
        load_prepared(tmp_path / "out", "train")
    with pytest.raises(ValueError, match="holds features, which have no classes"):
        load_class_names(tmp_path / "out")
    with pytest.raises(RuntimeError, match="none of 2 files"):
        prepare_features(wrong[2:], tmp_path / "none", split="train")
    with pytest.raises(ValueError, match=r"several files are named \['v_0'\]"):
        prepare_features([*paths, tmp_path / "v_0.npy"], tmp_path / "none")
    both = open_features(tmp_path / "out", split="train"), open_features(tmp_path)
    for name in ("v_0", "v_2"):
        np.testing.assert_array_equal(*(features.read(name) for features in both))
    for features in both:
        with pytest.raises(FileNotFoundError, match="v_9"):
            features.read("v_9")


def test_what_is_not_there(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no prepared split 'test'; it holds \['train', 'val'\]"):
        load_prepared(folder, "test")
    with pytest.raises(FileNotFoundError, match="nothing was prepared there"):
        load_prepared(tmp_path / "nowhere", "train")
    with pytest.raises(FileNotFoundError, match="holds no prepared split"):
        load_class_names(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("options", "label", "match"),
    [
        (dict(split="train/1"), 0, "split='train/1'; letters"),
        (dict(modality="Depth"), 0, r"modality='Depth'; choose from \['Flow', 'RGB'\]"),
        (dict(quality=0), 0, r"quality=0; must be a whole number in \[1, 100\]"),
        (dict(short_side=-1), 0, "short_side=-1"),
        (dict(num_shards=3), 0, r"num_shards=3; expected 1\.\.2"),
        (dict(class_names=["a", "b", "a"]), 0, r"class_names holds \['a'\] more than once"),
        ({}, 8, r"label 8 of a.mp4; expected 0\.\.7"),
        ({}, 1.5, "label 1.5 of a.mp4"),
        ({}, np.zeros(7, np.float32), r"shape \(7,\); expected \(8,\)"),
    ],
)
def test_bad_input(tmp_path, options, label, match):
    with pytest.raises(ValueError, match=match):
        prepare([File("a.mp4", label)] * 2, tmp_path, **dict(split="train", class_names=NAMES) | options)


def test_files_that_came_late_are_found(records, tmp_path):
    options = dict(split="train", class_names=NAMES, processes=0)
    (tmp_path / "a").symlink_to(tmp_path / "not_mounted")
    late = [record._replace(path=f"{tmp_path}/a/{os.path.basename(record.path)}") for record in records[:4]]
    with pytest.raises(RuntimeError, match="none of 4 files can be read"):
        prepare(late, tmp_path / "out", **options)
    (tmp_path / "a").unlink()
    (tmp_path / "a").symlink_to(os.path.dirname(records[0].path))
    assert prepare(late, tmp_path / "out", **options).num_records == 4


def test_nothing_to_prepare(tmp_path):
    with pytest.raises(ValueError, match="no records"):
        prepare([], tmp_path, split="train", class_names=NAMES)
    with pytest.raises(RuntimeError, match="none of 2 files can be read"):
        prepare([File("a.mp4", 0)] * 2, tmp_path, split="train", class_names=NAMES, processes=0)


VALUES = st.one_of(
    st.lists(st.binary(max_size=300), min_size=1, max_size=5),
    st.lists(st.integers(0, 2**62), min_size=1, max_size=5).map(np.array),
    st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=5).map(np.float32),
)


@given(st.dictionaries(st.text("abcdefgh_", min_size=1, max_size=9), VALUES, min_size=1, max_size=5))
def test_examples_are_those_of_protocol_buffers(values):
    from tensorflow_datasets.proto import tf_example_pb2

    data, spans = encode_example(values)
    feature = tf_example_pb2.Example.FromString(data).features.feature
    assert set(feature) == set(values) == set(spans)
    for name, value in values.items():
        kind = feature[name].WhichOneof("kind")
        assert list(getattr(feature[name], kind).value) == list(value)
        if kind == "bytes_list":
            assert [data[at : at + length] for at, length in spans[name]] == value
        elif kind == "float_list":
            ((at, length),) = spans[name]
            assert data[at : at + length] == value.tobytes()
