"""Prepared sets of strangers, damaged or edited: the same records and pixels, or one line that names file and field."""

import json
import os
import pathlib
import shutil
import sys
from typing import NamedTuple

import numpy as np
import pytest
from mutating import WORDS, mutated

from actjax.data.datasets.features import open_features
from actjax.data.datasets.recognition import build_dataset
from actjax.data.prepared.index import AGAIN, checksum, load_index, load_metadata
from actjax.data.prepared.reading import find_damaged, load_prepared, load_prepared_features, open_shard
from actjax.data.prepared.writing import check_prepared, prepare, prepare_features
from actjax.video.errors import VideoError

NAMES = ["a", "b", "c"]
INDEX = (".json", ".names.json", ".npz", ".spans.npy")


class Noise(NamedTuple):
    """A video of smooth random pictures that follow from its label."""

    path: str
    label: int
    fps: float = 25.0

    def open(self, *, backend):
        return self

    num_frames = property(lambda self: 3 + self.label)

    def frames(self, indices):
        small = np.random.default_rng(self.label).integers(0, 256, (self.num_frames, 4, 5, 3), np.uint8)
        return small.repeat(6, 1).repeat(6, 2)[indices]


def renewed():
    """Forgets what this process has opened."""
    load_index.cache_clear()
    open_shard.cache_clear()


def content(folder):
    """Labels, names and pixels of all records."""
    records = load_prepared(folder, "train")
    videos = [record.open() for record in records]
    pixels = [video.frames(range(video.num_frames)).tobytes() for video in videos]
    return [(record.label, record.name, video.fps) for record, video in zip(records, videos, strict=True)], pixels


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    records = [Noise(f"{letter}.mp4", label) for label, letter in enumerate("xyz")]
    prepare(records, folder, split="train", class_names=NAMES, short_side=0, num_shards=2, processes=0)
    return folder


@pytest.fixture
def folder(source, tmp_path):
    renewed()
    shutil.copytree(source, tmp_path / "set")
    return tmp_path / "set"


def index_file(folder, ending, split="train"):
    return folder / "index" / f"{split}{ending}"


def edited(folder, change, split="train"):
    """Changes the metadata."""
    path = index_file(folder, ".json", split)
    metadata = json.loads(path.read_text())
    change(metadata)
    path.write_text(json.dumps(metadata))
    renewed()


def of_earlier_version(folder, split="train"):
    """Takes away what earlier versions did not write."""
    path = index_file(folder, ".spans.npy", split)
    np.save(path, np.load(path)[..., :2])
    edited(folder, lambda metadata: metadata.pop("index_sha256"), split)


def test_sets_of_earlier_versions_are_read_as_they_were(source, folder, caplog):
    expect = content(source)
    assert not caplog.records
    of_earlier_version(folder)
    assert content(folder) == expect
    assert "by an earlier version, without checksums: run --mode=check" in caplog.text


def test_class_names_that_were_edited_are_noticed(folder):
    edited(folder, lambda metadata: metadata["content"]["class_names"].reverse())
    with pytest.raises(ValueError, match="index/train.json: field 'content' is not as it was written; copy the folder"):
        load_prepared(folder, "train")


# Damage of the shards.


def damaged_pictures(folder) -> list[int]:
    """Flips a byte in the middle of each record's second picture -> the records with their shards."""
    index = load_index(str(folder), "train")
    for row, first in enumerate(index.columns["first_span"]):
        offset, length = index.spans[first + 1, 0, :2].tolist()
        path, place = index.shards[index.columns["shard"][row]][0], int(index.columns["start"][row]) + offset
        data = bytearray(pathlib.Path(path).read_bytes())
        data[24 + place + length - 60] ^= 4  # all in the first block
        pathlib.Path(path).write_bytes(data)
    renewed()


def test_a_damaged_picture_is_a_broken_video(source, folder):
    damaged_pictures(folder)
    for record, sound in zip(load_prepared(folder, "train"), load_prepared(source, "train"), strict=True):
        np.testing.assert_array_equal(record.open().frames([0, 2]), sound.open().frames([0, 2]))
        match = (
            rf"train#{record.index}.*{record.name}, frame 1: .*videos-train.array_record-0000[01]-of-00002 is damaged;"
        )
        for read in (lambda video: video.frames([1]), lambda video: video.check()):
            with pytest.raises(VideoError, match=match) as error:
                read(record.open())
        assert len(str(error.value)) < 400 + 2 * len(str(folder))


def test_what_is_damaged_in_a_set_of_an_earlier_version_is_found_by_check(folder, caplog):
    of_earlier_version(folder)
    assert find_damaged(load_prepared(folder, "train")) == {}
    damaged_pictures(folder)
    shard = sorted(folder.glob("videos-train.array_record-*"))[0]
    shutil.copy(shard.with_name(shard.name), folder / "kept")
    faults = find_damaged(load_prepared(folder, "train"))
    assert {*faults} == {f"{folder}/train#{row}" for row in range(3)}
    assert caplog.text.count(" videos, is damaged; copy the folder again, or delete index/SPLIT.json in it") == 2
    with pytest.raises(ValueError, match=r"00000-of-00002 is damaged, and so are 1 other shards; copy the"):
        check_prepared(folder, "train")


def test_check_names_damaged_shards_of_which_no_picture_is_damaged(folder, caplog):
    shard = sorted(folder.glob("videos-train.array_record-*"))[1]
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    assert find_damaged(load_prepared(folder, "train")) == {}  # the pictures have checksums of their own
    assert f"{shard}, with 2 videos, is damaged; copy the folder again" in caplog.text
    caplog.clear()
    shard.unlink()
    assert find_damaged(load_prepared(folder, "train")) == {
        f"{folder}/train#{row}": "its shard is missing" for row in (1, 2)
    }
    assert [record.getMessage() for record in caplog.records] == [f"{shard}, with 2 videos, is missing; {AGAIN}"]


@pytest.fixture
def features(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("v_0", "v_1", "v_2"):
        np.save(tmp_path / f"{name}.npy", rng.normal(size=(4, 6)).astype(np.float32))
    paths = [tmp_path / f"v_{number}.npy" for number in range(3)]
    prepare_features(paths, tmp_path / "set", split="train", processes=0, num_shards=1)
    renewed()
    return tmp_path / "set"


def test_a_damaged_shard_of_features_is_named(features):
    (shard,) = features.glob("features-train.array_record-*")
    place = load_index(str(features), "train").columns["start"][1] + 24 + 60
    data = bytearray(shard.read_bytes())
    data[place] ^= 1
    shard.write_bytes(data)
    renewed()
    opened = open_features(features, split="train")
    opened.read("v_0"), opened.read("v_2")
    with pytest.raises(VideoError, match=f"v_1, its features: {shard} is damaged; copy the folder again"):
        opened.read("v_1")
    shard.write_bytes(data[:-1])
    with pytest.raises(
        FileNotFoundError, match="1 of 1 shards with 3 of 3 .* are missing or incomplete, such as features-t"
    ):
        open_features(features, split="train")


def test_features_of_one_name_are_refused(features):
    index_file(features, ".names.json").write_text('["v_0", "v_1", "v_0"]')
    edited(features, lambda metadata: metadata.pop("index_sha256"))
    with pytest.raises(ValueError, match="train.names.json: name 'v_0' is there twice"):
        load_prepared_features(features, "train")


def test_features_that_are_not_whole_rows_are_named(features):
    of_earlier_version(features)
    columns = dict(np.load(index_file(features, ".npz")))
    np.savez(index_file(features, ".npz"), **columns | dict(num_frames=np.array([5, 4, 4])))
    with pytest.raises(VideoError, match="v_0: 96 bytes are not 5 rows"):
        open_features(features, split="train").read("v_0")


# Edits of the index. Without digests, as in sets of earlier versions, these are all that stands in the way.


def test_an_edited_index_is_not_what_was_written(folder):
    for ending in INDEX[1:]:
        path = index_file(folder, ending)
        before = path.read_bytes()
        if ending == ".npz":
            np.savez(path, **dict(np.load(path)) | dict(label=np.array([0, 1, 0])))
        else:
            path.write_bytes(before[:-3] + before[-3:].replace(b'"', b'" ') + b"\0" * (ending == ".spans.npy"))
        renewed()
        with pytest.raises(ValueError, match=f"train{ending} (is not as it was written|.*as it was written)"):
            load_prepared(folder, "train")
        path.write_bytes(before)


def column(name, values):
    return lambda columns: {name: np.array(values)}


COLUMNS = {
    "label behind the classes": (column("label", [0, 99, 2]), "label 99 is none of the 3 classes"),
    "negative label": (column("label", [0, -3, 2]), "label -3 is none of the 3 classes"),
    "fraction of a label": (column("label", [0, 0.7, 2]), "column 'label' is float64 .*; expected one whole number"),
    "label for each class": (column("label", np.eye(3)), "column 'label' is float64 .*; expected one whole number"),
    "label of text": (column("label", ["a", "b", "c"]), "column 'label' is <U1"),
    "objects": (column("label", [None, 1, {}]), "objects of Python"),
    "fewer rows": (column("num_frames", [3, 4]), r"column 'num_frames' is int64 \[2\]; the metadata has 3 records"),
    "other frames": (column("num_frames", [4, 4, 5]), "column 'num_spans' has 3 for record 0, which does not fit"),
    "no frames": (lambda c: dict(num_frames=0 * c["shard"], num_spans=0 * c["shard"]), "column 'num_frames' has 0 for"),
    "no shard": (column("shard", [0, 1, 2]), "column 'shard' has 2 for record 2"),
    "negative shard": (column("shard", [-1, 1, 1]), "column 'shard' has -1 for record 0"),
    "other shard": (column("shard", [0, 0, 1]), "column 'shard' has 0 for record 1"),
    "start behind the end": (column("start", [10**9, 64, 10**4]), "column 'start' has 1000000000 for record 0"),
    "negative start": (column("start", [-64, 64, 10**4]), "column 'start' has -64 for record 0"),
    "starts out of order": (lambda c: dict(start=c["start"][[0, 2, 1]]), "column 'start' has [0-9]+ for record 2"),
    "first span": (column("first_span", [0, 4, 7]), "column 'first_span' has 4 for record 1"),
    "spans behind the end": (
        lambda c: dict(num_spans=c["num_spans"] + 1, num_frames=c["num_frames"] + 1, first_span=[0, 4, 9]),
        "column 'num_spans' counts 15 spans; the file of spans has 12",
    ),
    "spans beyond number": (
        lambda c: dict(num_spans=np.array([2**62, 4, 5]), num_frames=np.array([2**62, 4, 5])),
        "column 'num_spans' has 4611686018427387904 for record 0",
    ),
    "no height": (column("height", [24, 0, 24]), "column 'height' has 0 for record 1"),
    "giant pictures": (
        lambda c: dict(height=np.full(3, 10**6), width=np.full(3, 10**6)),
        "column 'height' has 1000000",
    ),
    "no rate": (column("fps", [25, np.nan, 25]), "column 'fps' has nan for record 1"),
    "endless rate": (column("fps", [25, 25, np.inf]), "column 'fps' has inf for record 2"),
    "rate of text": (column("fps", ["25", "25", "25"]), "column 'fps' is <U2"),
    "two axes": (lambda c: dict(start=c["start"][:, None]), "column 'start' has 2 axes"),
    "no column": (lambda c: dict(height=None), "column 'height' is missing"),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_that_do_not_fit_are_named_before_training(folder, name):
    change, match = COLUMNS[name]
    of_earlier_version(folder)
    path = index_file(folder, ".npz")
    columns = dict(np.load(path))
    columns |= change(columns)
    np.savez(path, **{key: value for key, value in columns.items() if value is not None})
    config = dict(name="prepared", folder=str(folder), val="train")
    with pytest.raises(ValueError, match=f"^{folder}/index/train.npz: .*{match}") as error:
        build_dataset(config, num_classes=3)
    assert len(str(error.value)) < 400 + len(str(folder)) and "\n" not in str(error.value)


def field(*keys, to):
    def change(metadata):
        for key in keys[:-1]:
            metadata = metadata[key]
        metadata[keys[-1]] = to

    return change


METADATA = {
    "climbing name": (field("shards", 0, "file", to="../secret"), "shard 0 is not a file in the folder"),
    "absolute name": (field("shards", 1, "file", to="/etc/passwd"), "shard 1 is not a file in the folder"),
    "name with a zero": (field("shards", 1, "file", to="a\0b"), "shard 1 is not a file in the folder"),
    "no name": (field("shards", 1, "file", to=""), "shard 1 is not a file in the folder"),
    "long name": (field("shards", 1, "file", to="a" * 10**6), "shard 1 is not a file in the folder"),
    "size of text": (field("shards", 0, "bytes", to="10"), "shard 0 is not a file in the folder with its size"),
    "negative size": (field("shards", 0, "bytes", to=-1), "shard 0 is not a file in the folder with its size"),
    "no shards": (field("shards", to={}), "field 'shards' is missing, or no list"),
    "other records": (
        field("shards", 0, "num_records", to=10**15),
        r"'shard' is int64 \[3\]; the metadata has 10000000",
    ),
    "no content": (field("content", to=None), "field 'content' is missing, or no dict"),
    "other content": (field("content", "kind", to="sounds"), "field 'content' is not that of videos or of features"),
    "names of numbers": (field("content", "class_names", to=[1, 2, 3]), "field 'content' is not that of videos"),
    "fewer classes": (field("content", "class_names", to=["a"]), "label 1 is none of the 1 classes"),
    "other modality": (field("content", "modality", to="Flow"), r"spans.npy: uint32 \(12, 1, 3\); expected"),
    "several labels": (field("content", "several_labels", to=True), "column 'label' is int64 .*finite numbers for 3"),
    "no summary": (field("summary", to={"num_records": 3}), "field 'summary' is not num_records"),
    "digests of numbers": (field("index_sha256", to={".npz": 3}), "field 'index_sha256' is not a SHA-256"),
    "other digests": (field("index_sha256", to={}), "npz is not as it was written"),
}


@pytest.mark.parametrize("name", METADATA)
def test_metadata_that_do_not_fit_are_named(folder, name):
    change, match = METADATA[name]
    edited(folder, change)
    with pytest.raises(ValueError, match=f"^{folder}/index/train.*{match}") as error:
        load_prepared(folder, "train")
    assert len(str(error.value)) < 400 + len(str(folder)) and "\n" not in str(error.value)


TEXTS = {
    "no JSON": b"{",
    "no UTF-8": b'{"a": "\xff"}',
    "deep": b"[" * 100_000,
    "long number": b"1" * 10_000,
    "key twice": b'{"source": "a", "source": "b"}',
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("ending", [".json", ".names.json"])
def test_json_that_cannot_be_read_is_named(folder, name, ending):
    of_earlier_version(folder)
    index_file(folder, ending).write_bytes(TEXTS[name])
    with pytest.raises(
        ValueError, match=f"^{folder}/index/train{ending}.*; copy the folder again, or delete index"
    ) as error:
        load_prepared(folder, "train")
    assert len(str(error.value)) < 400 + len(str(folder)) and "\n" not in str(error.value)


def test_large_files_are_not_read(folder, monkeypatch):
    monkeypatch.setenv("ACTJAX_MAX_ARRAY_MB", "1")
    np.savez_compressed(index_file(folder, ".npz"), label=np.zeros(10**6))
    with pytest.raises(ValueError, match="train.npz .* is more than ACTJAX_MAX_ARRAY_MB=1 allows"):
        load_prepared(folder, "train")
    monkeypatch.setenv("ACTJAX_MAX_VALUES", "5")
    with pytest.raises(ValueError, match="train.json: .* is more than ACTJAX_MAX_VALUES=5 allows"):
        load_metadata(folder, "train")
    monkeypatch.setenv("ACTJAX_MAX_TEXT_MB", "0.0001")
    with pytest.raises(ValueError, match="train.json is larger .*ACTJAX_MAX_TEXT_MB=0.0001"):
        load_metadata(folder, "train")


def test_a_span_outside_its_record_is_a_broken_video(folder):
    """A span in the next record, or behind the file; nothing is read there."""
    of_earlier_version(folder)
    for offset, length in ((2**32 - 1, 10), (0, 2**32 - 1), (2**31, 2**31)):
        spans = np.load(index_file(folder, ".spans.npy"))
        spans[4] = offset, length  # of the second record
        np.save(index_file(folder, ".spans.npy"), spans)
        renewed()
        with pytest.raises(VideoError, match="train#1: y.mp4: a span of the index lies outside the record"):
            load_prepared(folder, "train")[1].open()


def test_names_are_cut_in_messages(folder):
    of_earlier_version(folder)
    index_file(folder, ".names.json").write_text(json.dumps(["a\n" * 10**5, "b" * 10**6, "[c]"]))
    damaged_pictures(folder)
    edited(folder, lambda metadata: None)
    spans = np.load(index_file(folder, ".spans.npy"))
    np.save(index_file(folder, ".spans.npy"), spans * np.array([1, 0], np.uint32))
    for record in load_prepared(folder, "train"):
        with pytest.raises(VideoError, match="no JPEG of size") as error:
            record.open().frames([1])
        assert len(str(error.value)) < 400 + len(str(folder)) and "\n" not in str(error.value)


def test_a_pipe_in_place_of_a_shard_does_not_wait(folder):
    shard = sorted(folder.glob("videos-train.array_record-*"))[0]
    shard.unlink()
    os.mkfifo(shard)
    edited(folder, field("shards", 0, "bytes", to=0))
    with pytest.raises(ValueError, match="column 'start' has"):
        load_prepared(folder, "train")
    with pytest.raises(OSError, match="has 0 bytes, not the 0"):
        open_shard(str(shard), 0)


@pytest.mark.parametrize("ending", [".json", ".npz", ".spans.npy", ".names.json"])
def test_a_pipe_in_place_of_an_index_does_not_wait(folder, ending):
    path = index_file(folder, ending)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ValueError, match=f"train{ending}.* is a named pipe"):
        load_prepared(folder, "train")
    with pytest.raises(ValueError, match=" is a named pipe, not a file of a prepared set; copy the folder"):
        checksum(path)


# Mutations.

_opened: list[str] = []
_watched = False


def _watch(event, arguments):
    if _watched and event == "open" and not str(arguments[0]).startswith("<"):  # of the compiler
        _opened.append(str(arguments[0]))


sys.addaudithook(_watch)


OWN = ("3", "0", "videos-train", "../videos", "/etc/", "false")


@pytest.mark.parametrize("earlier", [False, True], ids=["new", "earlier"])
def test_mutations_are_read_or_refused(folder, earlier):
    """With checksums a set gives the same records and pixels or an error; one of an earlier version at least no other.

    Nothing but files of the folder is opened.
    """
    global _watched
    if earlier:
        of_earlier_version(folder)
    expect, rng, refused = content(folder), np.random.default_rng(0), 0
    files = [index_file(folder, ending) for ending in INDEX] + sorted(folder.glob("videos-train.array_record-*"))
    before = {file: file.read_bytes() for file in files}
    places = sorted(path for path in folder.parent.rglob("*"))
    for number in range(2000):
        file = files[number % len(files)]
        file.write_bytes(mutated(before[file], rng, words=(*WORDS, *OWN) if file.suffix == ".json" else ()))
        renewed()
        _opened.clear()
        _watched = True
        try:
            found = content(folder)
        except (ValueError, FileNotFoundError, VideoError) as error:
            refused += 1
            assert type(error) in (ValueError, FileNotFoundError, VideoError)
            assert len(str(error).replace(str(folder), "")) < 400 and "\n" not in str(error)
        else:
            assert earlier or found == expect, (number, file)
        finally:
            _watched = False
        assert all(pathlib.Path(path).resolve().is_relative_to(folder.resolve()) for path in _opened), _opened
        file.write_bytes(before[file])
    assert places == sorted(path for path in folder.parent.rglob("*"))
    assert refused > (400 if earlier else 800)
