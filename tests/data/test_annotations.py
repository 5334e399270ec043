import itertools
import json
import os

import fsspec
import numpy as np
import pytest
from data_cases import cases

from actjax.data.datasets import annotations
from actjax.data.datasets.annotations import load_annotations, load_class_names, save_annotations
from actjax.data.datasets.existing import missing_files
from actjax.data.datasets.recognition import build_dataset, check_files, videos
from actjax.data.datasets.records import RawframesRecord, VideoRecord
from actjax.video.decoding import open_video

KINDS = {"RawframeDataset": "rawframes", "VideoDataset": "videos", "ActivityNetDataset": "activitynet"}
NO_ERROR = {
    "bad-RawframeDataset-14": "empty lines are skipped",
    "bad-VideoDataset-21": "empty lines are skipped",
    "bad-VideoDataset-19": "file names may hold blanks, so that the file here is 'a.mp4 1'",
}
ELSEWHERE = {
    "data_prefix-None": "test_video_list: without data_prefix paths start from the list's folder",
    "ActivityNetDataset-dump": "actjax.metrics.dump_results",
    "RepeatDataset-1": "test_selecting.py",
    "RepeatDataset-3": "test_selecting.py",
}
BOTH = cases("datasets", "RawframeDataset", "VideoDataset")
SOUND = [case for case in BOTH if "video_infos" in case["expect"]]
BAD = [case for case in BOTH if "file_text" in case.get("input", {})]


def test_every_golden_row_is_tested_or_has_a_reason():
    here = {case["id"] for case in SOUND + BAD} | ELSEWHERE.keys()
    here |= {"ActivityNetDataset", "offset-composition", "build_dataset-repeat", "build_dataset-bad"}
    assert {case["id"] for case in cases("datasets")} == here


@pytest.mark.parametrize("case", SOUND, ids=lambda case: case["id"])
def test_records_match_golden(case, golden):
    options = {name: value for name, value in case["args"].items() if name not in ("ann_file", "test_mode")}
    if case["fn"] == "VideoDataset":
        options.pop("start_index", None)  # frames of a video file count from 0
    file = golden / "data" / case["args"]["ann_file"]
    records = load_annotations(KINDS[case["fn"]], file, **options)
    assert len(records) == case["expect"]["length"]
    for record, info in zip(records, case["expect"]["video_infos"], strict=True):
        if isinstance(info["label"], list):
            assert record.label.dtype == np.float32
        assert np.array_equal(record.label, info["label"])
        assert record.path == info.get("frame_dir", info.get("filename"))
        if case["fn"] == "RawframeDataset":
            assert (record.num_frames, record.offset) == (info["total_frames"], info.get("offset", 0))
            for name in ("filename_tmpl", "start_index", "modality"):
                assert getattr(record, name) == case["expect"]["item0"][name]


@pytest.mark.parametrize("case", BAD, ids=lambda case: case["id"])
def test_bad_files_are_refused(case, tmp_path):
    file, text = tmp_path / "list.txt", case["input"]["file_text"]
    if text is not None:
        file.write_text(text)
    load = lambda: load_annotations(KINDS[case["fn"]], file, **case["args"])
    if case["id"] in NO_ERROR:
        assert len(load()) == len(text.split("\n")) - text.endswith("\n") - text.count("\n\n")
    elif text is None:
        with pytest.raises(FileNotFoundError, match="list.txt does not exist"):
            load()
    elif case["args"].get("multi_class") and "num_classes" not in case["args"]:
        with pytest.raises(ValueError, match="multi_class needs num_classes"):
            load()
    else:
        with pytest.raises(ValueError, match=r"list.txt, line 1: '.*': expected '(FILE|FOLDER) .*LABEL"):
            load()


def test_activitynet_matches_golden(golden):
    (case,) = cases("datasets", "ActivityNetDataset")
    file = golden / "data" / case["args"]["ann_file"]
    records = load_annotations("activitynet", file, data_prefix=case["args"]["data_prefix"])
    assert [record.video for record in records] == case["expect"]["order"]
    first = dict(case["expect"]["item0"])
    assert records[0].path == f"{first.pop('data_prefix')}/{first['video_name']}"
    assert records[0].video == first.pop("video_name")
    assert {name: getattr(records[0], name) for name in first} == first


def test_real_activitynet_counts(root):
    """All that could be had of the 10,024 training and 4,926 validation videos of the official lists."""
    folder = root / "tests" / "annotations"
    count = lambda records: (len(records), sum(len(record.annotations) for record in records))
    options = dict(video_info=folder / "video_info_new.csv.gz")
    load = lambda subset: load_annotations("activitynet", folder / "anet_anno_action.json.gz", subset=subset, **options)
    splits = {subset: load(subset) for subset in ("training", "validation", "testing")}
    counts = {subset: count(records) for subset, records in splits.items()}
    assert counts == {"training": (9649, 14859), "validation": (4728, 7293), "testing": (4851, 0)}
    assert len({row["label"] for record in splits["training"] for row in record.annotations}) == 200
    official = load_annotations(
        "activitynet", folder / "activitynet_validation.json.gz", subset="validation", **options
    )
    by_name = {record.video: record for record in splits["validation"]}
    assert count(official) == (4728, 7293) and by_name.keys() == {record.video for record in official}
    for record in official:
        assert record.duration_frame == by_name[record.video].duration_frame


def test_subsets_of_activitynet_need_a_table(root, tmp_path):
    folder = root / "tests" / "annotations"
    with pytest.raises(ValueError, match="subset; set video_info to a table"):
        load_annotations("activitynet", folder / "anet_anno_action.json.gz", subset="training")
    with pytest.raises(ValueError, match="holds no records"):
        load_annotations(
            "activitynet",
            folder / "anet_anno_action.json.gz",
            subset="train",
            video_info=folder / "video_info_new.csv.gz",
        )
    (tmp_path / "info.csv").write_text("video,subset\nv_a,training\n")
    with pytest.raises(ValueError, match="info.csv, line 2: .*featureFrame"):
        load_annotations("activitynet", folder / "anet_anno_action.json.gz", video_info=tmp_path / "info.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", r"entry 1: 1: expected '\"NAME\": {\"duration_second\""),
        ("{", "line 1, column 2: not JSON"),
        ("7", "7; expected a list or an object"),
        ('{"v_a": {"duration_second": 1}}', "video 'v_a' is .*expected {'annotations'"),
        ('{"v_a": {"annotations": []}}', "video 'v_a' has no duration_second"),
        ('{"v_a": {"annotations": [{"segment": [2, 1], "label": "x"}]}}', "annotation 1 .* end is before"),
        ('{"v_a": {"annotations": [{"segment": [0, 1], "label": ""}]}}', "label ''; a class is a name"),
    ],
)
def test_activitynet_files_that_do_not_parse(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=f"a.json.*{message}"):
        load_annotations("activitynet", tmp_path / "a.json")


def test_offset_reaches_the_files_of_golden(media, tmp_path):
    (case,) = cases("datasets", "RawframeDataset+SampleFrames+RawFrameDecode")
    given, numbers = case["input"], case["expect"]["opened_file_numbers"]
    (tmp_path / "list.txt").write_text(f"imgs {given['offset']} {given['total_frames']} 0\n")
    options = dict(data_prefix=str(media), with_offset=True, start_index=given["start_index"])
    (record,) = load_annotations("rawframes", tmp_path / "list.txt", **options)
    frames = record.open(backend="pyav").frames(np.array(case["expect"]["frame_inds"]) - given["start_index"])
    whole = open_video(media / "imgs", backend="rawframes").frames(np.array(numbers) - 1)
    np.testing.assert_array_equal(frames, whole)
    assert VideoRecord(str(media / "test.mp4")).open().num_frames == 300


def test_three_kinds_of_files_say_the_same(tmp_path):
    (tmp_path / "a.txt").write_text("one 7 3\ntwo 8 0\n")
    (tmp_path / "a.csv").write_text("\ufefflabel,path,total_frames\n3,one,7\n\n0,two,8\n", encoding="utf-8")
    (tmp_path / "a.json").write_text(
        '[{"frame_dir": "one", "total_frames": 7, "label": [3]}, {"frame_dir": "two", "total_frames": 8, "label": [0]}]'
    )
    read = [load_annotations("rawframes", tmp_path / f"a.{suffix}") for suffix in ("txt", "csv", "json")]
    assert read[0] == read[1] == read[2]
    assert read[0][0] == RawframesRecord(f"{tmp_path}/one", 7, 3)
    (tmp_path / "b.csv").write_text('filename,label\n"a, b.mp4",1\n')
    assert load_annotations("videos", tmp_path / "b.csv") == [VideoRecord(f"{tmp_path}/a, b.mp4", 1)]


def test_urls_stay_urls(tmp_path):
    (tmp_path / "list.txt").write_text("s3://bucket/one.mp4 0\ntwo.mp4 1\n")
    records = load_annotations("videos", tmp_path / "list.txt", data_prefix="gs://other/folder")
    assert [record.path for record in records] == ["s3://bucket/one.mp4", "gs://other/folder/two.mp4"]
    save_annotations(records, tmp_path / "saved.csv")
    assert load_annotations("videos", tmp_path / "saved.csv") == records


@pytest.mark.parametrize(
    ("options", "labels", "expected"),
    [
        (dict(num_classes=4), ("3", "0"), [3, 0]),
        (dict(num_classes=4, multi_class=True), ("3;1", "0"), [[0, 1, 0, 1], [1, 0, 0, 0]]),
        (dict(num_classes=4), ("1:0.25; 3:0.75", "0:1"), [[0, 0.25, 0, 0.75], [1, 0, 0, 0]]),
        (dict(num_classes=3, multi_class=True), ("0:0.5;2:1", "1:1"), [[0.5, 0, 1], [0, 1, 0]]),
        (dict(num_classes=3, multi_class=True), ("", "1"), [[0, 0, 0], [0, 1, 0]]),
        (dict(num_classes=3, multi_class=True), (" ", "1:0.5"), [[0, 0, 0], [0, 0.5, 0]]),
    ],
)
def test_labels_of_csv_survive_saving(tmp_path, options, labels, expected):
    (tmp_path / "a.csv").write_text("path,label\n" + "".join(f"{k}.mp4,{label}\n" for k, label in enumerate(labels)))
    records = load_annotations("videos", tmp_path / "a.csv", **options)
    save_annotations(records, tmp_path / "b.csv")
    for read in (records, load_annotations("videos", tmp_path / "b.csv", **options)):
        np.testing.assert_array_equal([record.label for record in read], np.float32(expected))
        assert [record.path for record in read] == [f"{tmp_path}/0.mp4", f"{tmp_path}/1.mp4"]


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("videos", "a.txt", "none.mp4\nboth.mp4 2 0\n"),
        ("videos", "a.json", '[{"filename": "none.mp4", "label": []}, {"filename": "both.mp4", "label": [0, 2]}]'),
        ("rawframes", "a.txt", "none 7\nboth 5 2 0\n"),
        (
            "rawframes",
            "a.json",
            '[{"frame_dir": "none", "total_frames": 7, "label": []},'
            ' {"frame_dir": "both", "total_frames": 5, "label": [0, 2]}]',
        ),
    ],
)
def test_videos_of_no_class_are_data_with_several_labels(tmp_path, kind, name, text):
    (tmp_path / name).write_text(text)
    records = load_annotations(kind, tmp_path / name, num_classes=3, multi_class=True)
    np.testing.assert_array_equal([record.label for record in records], np.float32([[0, 0, 0], [1, 0, 1]]))
    assert records[0].label.dtype == np.float32
    with pytest.raises(ValueError, match=f"{name}, (line|entry) 1"):
        load_annotations(kind, tmp_path / name, num_classes=3)


def test_saved_offsets_are_read(tmp_path):
    records = [RawframesRecord("/a", 7, 1, offset=3), RawframesRecord("/b", 8, 0)]
    save_annotations(records, tmp_path / "a.csv")
    assert load_annotations("rawframes", tmp_path / "a.csv") == records


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        ("a.mp4", {}, "line 2: .*labels must be whole numbers"),
        ("a.mp4", dict(num_classes=3, multi_class=True), "whole numbers, 0 or more"),
        ("a.mp4,0.7", {}, "whole numbers, 0 or more"),
        (",1", {}, "line 2: .*no 'path'"),
        ("a.mp4,", {}, "0 labels; one is expected without multi_class"),
        ("a.mp4,1;2", {}, "2 labels; one is expected without multi_class"),
        ("a.mp4,1,7", {}, "line 2: 3 fields, .*the header has 2, .'path', 'label'.; put names with commas"),
        ("a.mp4,3", dict(num_classes=3), "label 3 needs model.num_classes > 3"),
        ("a.mp4,-1", dict(num_classes=3, multi_class=True), "whole numbers, 0 or more"),
        ("a.mp4,1:1", {}, "several labels need num_classes"),
        ("a.mp4,0:0.5;1:0.6", dict(num_classes=3), "weights must be positive numbers that sum to 1"),
        ("a.mp4,0:-1;1:2", dict(num_classes=3), "weights must be"),
        ("a.mp4,0:0", dict(num_classes=3), "weights must be"),
        ("a.mp4,0:nan", dict(num_classes=3), "weights must be"),
        ("a.mp4,0:0.5;0:0.5", dict(num_classes=3), "one per class"),
        ("a.mp4,0:2", dict(num_classes=3, multi_class=True), "positive numbers each up to 1"),
        ("a.mp4,1\nb.mp4,1:1", dict(num_classes=3), "if any label has a weight, all need one"),
    ],
)
def test_rows_that_do_not_parse(tmp_path, row, options, message):
    (tmp_path / "a.csv").write_text(f"path,label\n{row}\n")
    with pytest.raises(ValueError, match=f"a.csv.*{message}"):
        load_annotations("videos", tmp_path / "a.csv", **options)


def test_whole_numbers_may_have_a_point_as_tables_of_pandas_have_them(tmp_path):
    (tmp_path / "a.csv").write_text("path,total_frames,label,note\na,5.0,1.0\n")
    (record,) = load_annotations("rawframes", tmp_path / "a.csv")
    assert (record.num_frames, record.label) == (5, 1)
    for entry in (
        '"total_frames": 120.9',
        '"total_frames": true',
        '"total_frames": 1e999',
        '"total_frames": 5, "offset": 1.9',
    ):
        (tmp_path / "a.json").write_text(f'[{{"frame_dir": "a", "label": 0, {entry}}}]')
        with pytest.raises(ValueError, match="a.json, entry 1: .* is no whole number"):
            load_annotations("rawframes", tmp_path / "a.json")


def test_csv_in_a_list_of_lines_is_told(tmp_path):
    (tmp_path / "a.txt").write_text("a.mp4, 0\n")
    with pytest.raises(ValueError, match="a.txt, line 1: .*this looks like CSV: name the file .csv, with a first line"):
        load_annotations("videos", tmp_path / "a.txt")


@pytest.mark.parametrize("line", ["a 0 1", "a 5", "a", "a 5 1.5"])
def test_folders_that_do_not_parse(tmp_path, line):
    (tmp_path / "a.txt").write_text(f"fine 5 0\n\n{line}\n")
    with pytest.raises(ValueError, match=f"a.txt, line 3: '{line}': expected 'FOLDER TOTAL_FRAMES LABEL'"):
        load_annotations("rawframes", tmp_path / "a.txt")


def test_options_of_another_kind(golden):
    with pytest.raises(ValueError, match=r"kind 'videos' does not take \['with_offset'\]; it takes \['multi_class'"):
        load_annotations("videos", golden / "data" / "ann" / "video.txt", with_offset=True)
    assert annotations.KINDS.keys() >= set(KINDS.values())


def test_class_names(tmp_path):
    (tmp_path / "names.txt").write_text("riding a bike\nyoga\n")
    assert load_class_names(tmp_path / "names.txt") == ["riding a bike", "yoga"]
    (tmp_path / "edited.txt").write_text("\ufeffriding a bike\r\nyoga\r\n\r\n", encoding="utf-8")
    assert load_class_names(tmp_path / "edited.txt") == ["riding a bike", "yoga"]
    with pytest.raises(FileNotFoundError, match="class name file .*none.txt does not exist"):
        load_class_names(tmp_path / "none.txt")


def test_build_dataset_matches_golden(golden):
    repeated, bad = cases("datasets", "build_dataset")
    file = str(golden / "data" / "ann" / "raw_plain.txt")
    config = dict(name="rawframes", train=file, val=file, filename_tmpl="{}.png", select=dict(repeat_times=2))
    dataset = build_dataset(config, num_classes=3)
    assert len(dataset.train) == repeated["expect"]["length"] == 2 * len(dataset.val)
    assert {record.filename_tmpl for record in itertools.chain(*dataset[:2])} == {"{}.png"}
    assert set(bad["expect"]) == {"unknown_type", "no_type"}
    with pytest.raises(ValueError, match="data.name='rawframe' is unknown"):
        build_dataset(config | dict(name="rawframe"), num_classes=3)
    config.pop("name")
    with pytest.raises(ValueError, match="data.name is missing"):
        build_dataset(config, num_classes=3)


def test_video_list(tmp_path):
    (tmp_path / "list.txt").write_text("a/one.mp4 0\n\n two words.mp4\t12 \n/abs/three.avi 3\n")
    records = load_annotations("videos", tmp_path / "list.txt")
    assert [(r.path, r.label) for r in records] == [
        (f"{tmp_path}/a/one.mp4", 0), (f"{tmp_path}/two words.mp4", 12), ("/abs/three.avi", 3),
    ]  # fmt: skip
    assert load_annotations("videos", tmp_path / "list.txt", data_prefix="/data")[0].path == "/data/a/one.mp4"


@pytest.mark.parametrize("line", ["one.mp4", "one.mp4 -1", "one.mp4 cat", "one.mp4 1.5", "7"])
def test_a_line_that_does_not_parse(tmp_path, line):
    (tmp_path / "list.txt").write_text(f"fine.mp4 0\n{line}\n")
    with pytest.raises(ValueError, match=f"list.txt, line 2: '{line}': expected 'FILE LABEL, or with data.multi_"):
        load_annotations("videos", tmp_path / "list.txt")


def test_missing_and_empty(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.txt does not exist"):
        load_annotations("videos", tmp_path / "nothing.txt")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(ValueError, match="holds no records"):
        load_annotations("videos", tmp_path / "empty.txt")
    with pytest.raises(ValueError, match="choose from"):
        load_annotations("movies", tmp_path / "empty.txt")


def test_a_folder_and_a_file_that_is_elsewhere(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=f"^{tmp_path} is a folder, not an annotation file"):
        load_annotations("videos", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"^annotation file lists/a.txt does not exist in {tmp_path}$"):
        load_annotations("videos", "lists/a.txt")
    with pytest.raises(FileNotFoundError, match="^class name file /no/names.txt does not exist$"):
        load_class_names("/no/names.txt")


@pytest.fixture
def lists(tmp_path) -> dict:
    """Lists of 300 and 100 videos that all exist."""
    for split, count in (("train", 300), ("val", 100)):
        names = [f"{split}{k}.mp4" for k in range(count)]
        (tmp_path / f"{split}.txt").write_text("".join(f"{name} 0\n" for name in names))
        for name in names:
            (tmp_path / name).touch()
    return dict(name="videos", train=str(tmp_path / "train.txt"), val=[str(tmp_path / "val.txt")])


def checked(config, **options) -> None:
    check_files(config, build_dataset(config, num_classes=1), **dict(max_broken=0.05) | options)


def test_missing_files_are_found_at_launch(lists, tmp_path, caplog):
    checked(lists)
    assert not caplog.records
    for k in range(250, 265):  # far behind the first hundred
        (tmp_path / f"train{k}.mp4").unlink()
    checked(lists)
    (record,) = caplog.records
    told = f"data.train={tmp_path}/train.txt: 15 of 300 files do not exist, such as '{tmp_path}/train250.mp4', "
    assert told in record.message and "count as broken, which loader.max_broken=0.05 allows" in record.message
    for k in range(6):
        (tmp_path / f"val{k}.mp4").unlink()
    message = (
        f"15 of 300 .*; data.val={tmp_path}/val.txt: 6 of 100 files do not exist, such as '{tmp_path}/val0.mp4', "
        f"'{tmp_path}/val1.mp4', '{tmp_path}/val2.mp4'; relative paths start from the list's folder, "
        "unless data.data_prefix is set. This is more than loader.max_broken=0.05 allows; --mode=check --config.loader."
    )
    with pytest.raises(FileNotFoundError, match=message):
        checked(lists)
    checked(lists, max_broken=0.06)
    skipped = [json.dumps({"path": f"{tmp_path}/val{k}.mp4", "reason": "gone"}) for k in range(2)]
    (tmp_path / "skip.jsonl").write_text("\n".join(skipped))
    checked(lists, skip=str(tmp_path / "skip.jsonl"))  # 19 of 398
    with pytest.raises(
        FileNotFoundError,
        match="relative paths start from data.data_prefix=/no. A list of which no file exists is an err",
    ):
        checked(lists | dict(data_prefix="/no"), max_broken=1.0)  # all of a list


def test_a_url_that_cannot_be_read_is_named_with_its_list(lists, tmp_path):
    (tmp_path / "val.txt").write_text("ftp://host/a.mp4 0\n")
    with pytest.raises(ValueError, match=f"^data.val={tmp_path}/val.txt: ftp://host/a.mp4: must be a local path, or "):
        checked(lists)


def test_what_is_no_file_is_named_at_launch(lists, tmp_path):
    for k, (make, kind) in enumerate({os.mkfifo: "named pipe", os.mkdir: "folder", None: "device"}.items()):
        (path := tmp_path / f"val{k}.mp4").unlink()
        make(path) if make else path.symlink_to("/dev/zero")
        with pytest.raises(FileNotFoundError, match=rf"{k + 1} of 100 files do not exist: .*'{path}' \(is a {kind}\)"):
            checked(lists, max_broken=0)
    os.mkfifo(tmp_path / "pipe")
    assert missing_files(map(str, [tmp_path, tmp_path / "pipe"]), folders=True) == ([f"{tmp_path}/pipe"], 2)


def test_two_labels_in_a_line_are_noticed(lists, tmp_path):
    (tmp_path / "val.txt").write_text("val0.mp4 0 0\nval1.mp4 0\n")
    with pytest.raises(
        FileNotFoundError, match="/val0.mp4 0'; lines with several labels need data.multi_class=True; rel"
    ):
        checked(lists, max_broken=0)


def test_all_lists_are_looked_at(lists, tmp_path, monkeypatch):
    """A list of an evaluator, folders of frames, and a list that repeats its files."""
    dataset = build_dataset(lists | dict(select=dict(repeat_times=30)), num_classes=1)
    (tmp_path / "train0.mp4").unlink()
    check_files(lists, dataset, max_broken=0.0025)  # 1 of 400
    further = dataset._replace(lists={("hard.txt", "harder.txt"): [VideoRecord("/no/hard.mp4")]})
    with pytest.raises(
        FileNotFoundError, match="; list hard.txt,harder.txt of an evaluator: 1 of 1 files do not exist"
    ):
        check_files(lists, further, max_broken=0.5)
    (tmp_path / "frames.txt").write_text("here 5 0\ngone 5 0\n")
    (tmp_path / "here").mkdir()
    frames = dict(name="rawframes", train=str(tmp_path / "frames.txt"), val=str(tmp_path / "frames.txt"))
    with pytest.raises(FileNotFoundError, match=f"1 of 2 files do not exist: '{tmp_path}/gone'; data.val"):
        checked(frames, max_broken=0.4)
    monkeypatch.chdir(tmp_path)
    frames = dict(name="rawframes", train="frames.txt", val="frames.txt")
    with pytest.raises(FileNotFoundError, match=f"1 of 2 files do not exist: './gone' in {tmp_path}; data.val"):
        checked(frames, max_broken=0.4)


def test_of_remote_lists_the_first_thousand_are_looked_for(monkeypatch):
    store = fsspec.filesystem("memory")
    for k in range(0, 1200, 2):
        store.pipe(f"/looked/{k}.mp4", b"")
    paths = [f"memory://looked/{k}.mp4" for k in range(1200)]
    missing, count = missing_files(paths + paths)
    assert count == 1000 and missing == paths[1:1000:2]
    store.pipe("/frames/a/img_00001.jpg", b"")
    folders = ["memory://frames/a", "memory://frames/b", "https://no.where/frames/a"]
    assert missing_files(folders, folders=True) == ([folders[1]], 2)
    asked = []

    def unreachable(self, path):
        asked.append(path)
        raise ConnectionError("no route to host")

    monkeypatch.setattr(type(store), "exists", unreachable)
    with pytest.raises(FileNotFoundError, match="^memory://looked/0.mp4 cannot be reached: ConnectionError: no route"):
        missing_files(paths)
    assert len(asked) == 1
    with pytest.raises(ValueError, match="nothing://a.mp4: must be a local path, or .*'https'.*; copy it first"):
        missing_files(["nothing://a.mp4"])


def test_labels_and_names_must_fit_the_model(tmp_path):
    (tmp_path / "list.txt").write_text("one.mp4 3\n")
    (tmp_path / "names.txt").write_text("a\nb\n")
    lists = dict(train=str(tmp_path / "list.txt"), val=str(tmp_path / "list.txt"))
    with pytest.raises(ValueError, match="list.txt, line 1: .*label 3 needs model.num_classes > 3"):
        videos(**lists, num_classes=3)
    message = r"names.txt has 2 names, but model.num_classes=4; set model.num_classes=2, or correct the names"
    with pytest.raises(ValueError, match=message):
        videos(**lists, num_classes=4, class_names=str(tmp_path / "names.txt"))
    with pytest.raises(ValueError, match="^data.class_names has 3 names, but model.num_classes=4"):
        videos(**lists, num_classes=4, class_names=["a", "b", "c"])
    assert videos(**lists, num_classes=4, class_names=("a", "b", "c", "d")).class_names == ["a", "b", "c", "d"]
    with pytest.raises(ValueError, match="^data.class_names has the name 'a' more than once"):
        videos(**lists, num_classes=4, class_names=["a", "b", "a", "d"])
    assert videos(**lists, num_classes=4).class_names == ["0", "1", "2", "3"]


def test_a_video_in_place_of_a_list_is_one_line(media):
    with pytest.raises(ValueError, match="test.mp4 is not UTF-8 text, as an annotation file must be"):
        load_annotations("videos", media / "test.mp4", num_classes=3)
    with pytest.raises(ValueError, match="test.mp4 is not UTF-8 text, as a class name file must be"):
        load_class_names(media / "test.mp4")


@pytest.mark.parametrize(
    ("template", "modality", "expected"),
    [
        ("{}_{:03d}.png", "RGB", "modality='RGB'"),
        ("img_{:03d}.png", "Flow", "modality='Flow'"),
        ("{name}", "RGB", "name"),
    ],
)
def test_a_template_that_does_not_fit_the_modality_is_refused(template, modality, expected, tmp_path):
    """The other one reads two pictures a frame, or one."""
    (tmp_path / "list.txt").write_text("folder 8 0\n")
    with pytest.raises(ValueError, match=f"data.filename_tmpl=.*{expected}"):
        load_annotations("rawframes", tmp_path / "list.txt", filename_tmpl=template, modality=modality)
