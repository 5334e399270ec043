"""`python -m actjax.data.lists`: small sets, true to their publishers' formats, become lists that actjax reads."""

import csv
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys

import numpy as np
import published_sets as sets
import pytest
from cli import environment
from conftest import ROOT
from mutating import WORDS, answer, mutated

import actjax
from actjax.config.overrides import split_flags
from actjax.data.datasets.annotations import load_annotations
from actjax.data.datasets.class_names import load_class_names
from actjax.data.datasets.recognition import build_dataset
from actjax.data.datasets.untrimmed import build_untrimmed
from actjax.data.lists.__main__ import main
from actjax.data.lists.formats import FORMATS

EXTERNAL = ROOT.parent / "shared" / "external" / "thumos14"
RECOGNITION = [name for name, form in FORMATS.items() if form.kind != "untrimmed"]
FRAMES = [name for name, form in FORMATS.items() if form.kind == "frames"]

# Set -> the rows of its lists and its classes.
EXPECTED = {
    "ucf101": (
        ["ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 0", "ApplyEyeMakeup/v_ApplyEyeMakeup_g09_c01.avi 0",
         "YoYo/v_YoYo_g08_c01.avi 1", "YoYo/v_YoYo_g09_c01.avi 1"],
        ["ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi 0", "YoYo/v_YoYo_g01_c01.avi 1"],
        ["ApplyEyeMakeup", "YoYo"],
    ),
    "hmdb51": (
        ["brush_hair/a_f_cm_np1_ba_bad_0.avi 0", "wave/a_f_cm_np1_ba_bad_0.avi 1"],
        ["brush_hair/b (x)_f_cm_np1_ba_bad_1.avi 0", "wave/b (x)_f_cm_np1_ba_bad_1.avi 1"],
        ["brush_hair", "wave"],
    ),
    "sthv1": (["2 4 1", "1 3 0"], ["3 5 2"], [*sets.STHV1]),
    "jester": (["2 4 1", "1 3 0"], ["3 5 2"], ["Swiping Left", "Swiping Right", "Doing other things"]),
    "sthv2": (
        ["78687.webm 0", "9.webm 1"], ["74225.webm 1"],
        ["Holding something next to something", "Something falling, like a paper"],
    ),
    "diving48": (
        ["2x00lRzlTVQ_00001.mp4 2", "2x00lRzlTVQ_00000.mp4 1"], ["-mmq0PT-u8k_00155.mp4 0"],
        ["Back 15som 05Twis FREE", "Back 15som 15Twis FREE", "Forward Dive NoTwis PIKE"],
    ),
} | dict.fromkeys(("kinetics400", "kinetics600", "kinetics700"), (
    ["train/--Gkrd_Z9Tc_000000_000010.mp4 1", "train/a_nQbRBEz2s_000104_000114.mp4 0"],
    ["val/---QUuC4vJs_000084_000094.mp4 0"],
    ["air drumming", "washing, drying"],
))  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(name: str, *more: str, videos: str = "videos") -> None:
    main([name, "--annotations=annotations", *([f"--videos={videos}"] if videos else []), "--out=out", *more])


def fails(name: str, *more: str, **options) -> str:
    """The one line of an error; nothing was written."""
    before = sorted(pathlib.Path("out").glob("*"))
    with pytest.raises(SystemExit) as error:
        make(name, *more, **options)
    assert sorted(pathlib.Path("out").glob("*")) == before
    text = str(error.value)
    assert text.startswith("error: ") and "\n" not in text and len(text) < 500
    return text


def rows(split: str) -> list[str]:
    with open(f"out/{split}.csv", newline="") as file:
        header, *found = csv.reader(file)
    assert header[0] == "path" and header[-1] == "label"
    return [" ".join(row) for row in found]


def printed(capsys) -> tuple[list[str], list[str]]:
    """The lines, and the arguments of the command at their end."""
    *lines, line = capsys.readouterr().out.splitlines()
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "actjax.main"] and lines[-1] == "to train:"
    return lines, words[3:]


def built(arguments: list[str]):
    """The run of the command, as the door builds it from the same flags."""
    flags, changes = split_flags(arguments)
    (config,) = [flag.removeprefix("--config=") for flag in flags if flag.startswith("--config=")]
    return actjax.build(config, **changes)


@pytest.mark.parametrize("name", RECOGNITION)
def test_lists_are_as_published_and_the_printed_command_reads_them(name, folder, capsys):
    sets.SETS[name](folder)
    make(name)
    train, val, classes = EXPECTED[name]
    assert (rows("train"), rows("val")) == (train, val)
    assert load_class_names("out/classes.txt") == classes
    assert pathlib.Path("out/missing.txt").read_text() == ""
    run = built(printed(capsys)[1])
    dataset = build_dataset(run.data, num_classes=run.network.model.num_classes)
    assert dataset.class_names == classes and run.network.model.num_classes == len(classes)
    for records, expected in ((dataset.train, train), (dataset.val, val)):
        assert [record.label for record in records] == [int(row.rsplit(maxsplit=1)[1]) for row in expected]
        assert all(os.path.exists(record.path) for record in records)
    if name in FRAMES:
        assert [record.num_frames for record in dataset.train] == [4, 3]
        assert dataset.train[0].open().frames([0, 3]).shape[0] == 2


def test_every_set_has_a_sample_and_a_line_of_help(capsys):
    assert FORMATS.keys() == sets.SETS.keys() == EXPECTED.keys() | {"activitynet", "thumos14"}
    with pytest.raises(SystemExit):
        main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    for name, form in FORMATS.items():
        assert [line for line in lines if line.split()[:1] == [name]] == [f"  {name:12} {form.wants}"]


@pytest.mark.parametrize("name", [*FORMATS])
def test_marks_and_line_ends_of_other_systems(name, folder):
    sets.SETS[name](folder)
    for file in (folder / "annotations").rglob("*.*"):
        lines = file.read_text().splitlines()
        file.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    videos = [] if name in RECOGNITION else ["--features=features"]
    make(name, *videos)
    if name in RECOGNITION:
        assert (rows("train"), rows("val"), load_class_names("out/classes.txt")) == EXPECTED[name]
    else:
        assert json.loads(pathlib.Path("out/train.json").read_text())


def test_the_second_split(folder):
    sets.hmdb51(folder)
    file = folder / "annotations" / "testTrainMulti_7030_splits" / "wave_test_split2.txt"
    file.write_text(file.read_text().replace(".avi 1", ".avi 0"))
    make("hmdb51", "--split=2")
    assert rows("train") == ["brush_hair/a_f_cm_np1_ba_bad_0.avi 0"]
    assert "no file" not in fails("ucf101") and "trainlist03.txt is neither there" not in fails("hmdb51", "--split=3")
    assert "CLASS_test_split3.txt" in fails("hmdb51", "--split=3")


def test_what_is_in_no_list_is_told(folder, capsys):
    sets.hmdb51(folder)
    sets.empty(folder / "videos", "wave/extra.avi", "wave/notes.txt")
    make("hmdb51")
    lines, _ = printed(capsys)
    assert "1 videos in videos are in no list: 'wave/extra.avi'" in lines
    assert "2 videos are marked 0, for neither training nor testing" in lines
    assert "there are 2 classes; the whole set has 51" in lines


@pytest.mark.parametrize("name", ["sthv1", "sthv2", "jester", "kinetics400", "activitynet"])
def test_the_test_split_is_skipped_with_a_word(name, folder, capsys):
    sets.SETS[name](folder)
    make(name)
    assert any("skipped" in line for line in printed(capsys)[0])


# Where videos may be.


@pytest.mark.parametrize(
    "layout",
    ["flat", "folders per class", "underscores", "split and class", "plain names"],
)
def test_kinetics_in_any_layout(layout, folder):
    sets.kinetics(folder)
    (folder / "videos").rename(folder / "old")
    names = {"--Gkrd_Z9Tc": ("train", "washing, drying"), "a_nQbRBEz2s": ("train", "air drumming"),
             "---QUuC4vJs": ("val", "air drumming")}  # fmt: skip
    places = []
    for file in sorted((folder / "old").rglob("*.mp4")):
        if (video := file.name[:11]) in names:
            split, label = names[video]
            below = {"folders per class": label, "underscores": f"all/{label.replace(' ', '_')}",
                     "split and class": f"{split}/{label}"}.get(layout, "")  # fmt: skip
            places.append(os.path.join(below, f"{video}.MKV" if layout == "plain names" else file.name))
    sets.empty(folder / "videos", *places)
    make("kinetics400")
    expected = [next(place for place in places if name in place) for name in names]
    assert rows("train") == [f"{expected[0]} 1", f"{expected[1]} 0"] and rows("val") == [f"{expected[2]} 0"]
    dataset = load_annotations("videos", "out/train.csv", data_prefix="videos")
    assert [record.path for record in dataset] == [f"videos/{place}" for place in expected[:2]]


def test_one_file_of_all_splits_of_kinetics(folder):
    sets.kinetics(folder)
    texts = [(folder / "annotations" / name).read_text() for name in ("train.csv", "validate.csv")]
    lines = [*texts[0].splitlines(), *texts[1].splitlines()[1:], "air drumming,zzzzzzzzzzz,1,11,test,0"]
    (folder / "all.csv").write_text("\n".join(lines))
    main(["kinetics400", "--annotations=all.csv", "--videos=videos", "--out=out"])
    assert (rows("train"), rows("val")) == EXPECTED["kinetics400"][:2]


def test_suffixes_in_any_case_and_flat_folders(folder):
    sets.ucf101(folder)
    (folder / "flat").mkdir()
    for file in (folder / "videos").rglob("*.avi"):
        file.rename(folder / "flat" / f"{file.stem}.MP4")
    make("ucf101", videos="flat")
    assert rows("val") == ["v_ApplyEyeMakeup_g01_c01.MP4 0", "v_YoYo_g01_c01.MP4 1"]


def test_a_name_in_two_classes_is_not_taken_from_the_other(folder):
    sets.hmdb51(folder)
    os.remove("videos/wave/a_f_cm_np1_ba_bad_0.avi")
    sets.empty(folder / "videos", "x/wave/b (x)_f_cm_np1_ba_bad_1.avi")
    os.remove("videos/wave/b (x)_f_cm_np1_ba_bad_1.avi")
    make("hmdb51")
    assert rows("train") == ["brush_hair/a_f_cm_np1_ba_bad_0.avi 0"]
    assert rows("val")[1] == "x/wave/b (x)_f_cm_np1_ba_bad_1.avi 1"
    assert pathlib.Path("out/missing.txt").read_text() == "train\twave/a_f_cm_np1_ba_bad_0.avi\t\n"


def test_linked_folders_are_followed_and_a_circle_ends(folder):
    sets.ucf101(folder)
    (folder / "links").mkdir()
    for entry in (folder / "videos").iterdir():
        (folder / "links" / entry.name).symlink_to(entry)
    (folder / "videos" / "YoYo" / "back").symlink_to(folder / "links")
    make("ucf101", videos="links")
    assert rows("train") == EXPECTED["ucf101"][0]


def test_newer_names_of_something_something(folder):
    sets.sthv2(folder, prefix="")
    make("sthv2")
    assert (rows("train"), rows("val")) == EXPECTED["sthv2"][:2]


def test_frames_with_another_suffix_are_read_so(folder, capsys):
    sets.jester(folder)
    shutil.rmtree("videos")
    sets.frames(folder / "videos", 3, 4, 5, suffix=".JPG")
    make("jester")
    run = built(printed(capsys)[1])
    record = build_dataset(run.data, num_classes=3).train[0]
    assert record.filename_tmpl == "{:05d}.JPG" and record.open().frames([3]).shape[0] == 1


# What is missing.


def test_missing_videos_are_told_and_left_out_or_kept(folder, capsys):
    sets.ucf101(folder)
    os.remove("videos/YoYo/v_YoYo_g08_c01.avi")
    os.remove("videos/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi")
    make("ucf101")
    lines, _ = printed(capsys)
    assert "missing: 1 videos of train, 'YoYo/v_YoYo_g08_c01.avi'; all are in out/missing.txt" in lines
    assert "out/val.csv: 1 videos" in lines
    train, val, _ = EXPECTED["ucf101"]
    assert (rows("train"), rows("val")) == ([*train[:2], train[3]], val[1:])
    assert pathlib.Path("out/missing.txt").read_text().splitlines() == [
        "train\tYoYo/v_YoYo_g08_c01.avi\t", "val\tApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi\t"
    ]  # fmt: skip
    make("ucf101", "--keep_missing")
    assert (rows("train"), rows("val")) == (train, val)
    assert "missing but kept: 1 videos of train" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name, example",
    [
        ("ucf101", "other/ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi"),
        ("kinetics400", "other/train/--Gkrd_Z9Tc_000000_000010.mp4"),
        ("sthv1", "other/2/00001.jpg"),
        ("activitynet", "v_-fjVaqkG0ws"),
    ],
)
def test_the_wrong_folder(name, example, folder):
    sets.SETS[name](folder)
    (folder / "other").mkdir()
    text = fails(name, videos="other")
    assert "are not in --videos=other; an example is" in text and example in text
    assert not pathlib.Path("out").exists()
    assert "--videos=none" not in fails(name, videos="none") and "none does not exist" in fails(name, videos="none")
    assert "--annotations=none does not exist" in fails(name, "--annotations=none")


def test_frames_with_gaps_count_as_missing(folder, capsys):
    sets.jester(folder)
    os.remove("videos/2/00002.jpg")
    make("jester")
    assert rows("train") == ["1 3 0"]
    assert "of these 1 are there but cannot be used, such as '2': has no 00002.jpg of 3 frames" in printed(capsys)[0]
    os.remove("videos/2/00001.jpg")
    for file in (folder / "videos" / "1").iterdir():
        file.rename(file.with_name(f"img_{file.name}"))
    assert "videos/2/00001.jpg: has no 00001.jpg" in fails("jester")


# What is wrong in published files.

WRONG = {
    "a number of another class": ("ucf101", "trainlist01.txt", "avi 2", "avi 1", "this folder has number 2"),
    "an unknown folder": ("ucf101", "testlist01.txt", "YoYo/v", "Yo/v", "line 2: class 'Yo' is unknown"),
    "a mark of none": ("hmdb51", "wave_test_split1.txt", "avi 2", "avi 3", "wave_test_split1.txt, line 2"),
    "an unknown class": ("jester", "jester-v1-train.csv", "Left", "Leftt", "train.csv, line 2: class 'Swiping Leftt'"),
    "no class": ("jester", "jester-v1-train.csv", ";Swiping Left", "", "train.csv, line 2: '1'; expected id;class"),
    "a path for an id": ("sthv1", "something-something-v1-train.csv", "1;", "../1;", "line 2: '../1;"),
    "a class twice": ("jester", "jester-v1-labels.csv", "Right", "Left", "'Swiping Left' is there twice"),
    "an unknown template": ("sthv2", "something-something-v2-validation.json", "falling", "flying",
                            "validation.json, entry 1: class 'Something flying, like a paper' is unknown"),
    "no template": ("sthv2", "something-something-v2-train.json", "template", "text", "train.json, entry 1"),
    "no list": ("sthv2", "something-something-v2-train.json", "[{", "{", "train.json, line 1, column"),
    "a class of validation alone": ("kinetics400", "validate.csv", "air", "hair",
                                    "validate.csv, line 2: class 'hair drumming' is unknown"),
    "no seconds": ("kinetics400", "train.csv", "104", "10.4", "train.csv, line 3: '10.4' is no whole number"),
    "another split": ("kinetics400", "validate.csv", ",validate,", ",train,", "split 'train'; expected val"),
    "another header": ("kinetics400", "train.csv", "youtube_id", "id", "train.csv, line 2"),
    "a label too large": ("diving48", "Diving48_V2_train.json", '"label": 2', '"label": 3', "entry 1: label 3"),
    "a label as text": ("diving48", "Diving48_V2_train.json", '"label": 2', '"label": "2"', "train.json, entry 1"),
    "a word that is a number": ("diving48", "Diving48_vocab.json", '"FREE"', "3", "Diving48_vocab.json"),
    "another subset": ("activitynet", "activity_net.v1-3.min.json", '"validation"', '"val"', "subset 'val'; expected"),
    "no length": ("activitynet", "activity_net.v1-3.min.json", "4.0", "0", "duration 0; it must be a positive number"),
    "a reversed segment": ("activitynet", "activity_net.v1-3.min.json", "0.01, 1.0", "1.5, 1.0", "end is before"),
    "a class that training lacks": ("activitynet", "activity_net.v1-3.min.json",
                                    '"label": "Fun sliding down", "segment": [0.5', '"label": "No", "segment": [0.5',
                                    "class 'No' is unknown"),
    "a row of two": ("thumos14", "test/Diving_test.txt", "1.0 2.0", "1.0", "Diving_test.txt:1"),
    "a class that is not listed": ("thumos14", "val/detclasslist.txt", "26 Diving\n", "", "list different classes"),
    "a class without number": ("thumos14", "val/detclasslist.txt", "26 ", "", "detclasslist.txt, line 1: 'Diving'"),
}  # fmt: skip


@pytest.mark.parametrize("case", [*WRONG])
def test_faults_name_file_and_place(case, folder):
    name, file, before, after, told = WRONG[case]
    sets.SETS[name](folder)
    (path,) = [path for path in (folder / "annotations").rglob("*.*") if str(path).endswith(file)]
    assert before in (text := path.read_text())
    path.write_text(text.replace(before, after, 1))
    assert told in fails(name) and file.rpartition("/")[2] in fails(name)


@pytest.mark.parametrize("name, file", [("ucf101", "trainlist01.txt"), ("jester", "jester-v1-train.csv"),
                                        ("kinetics400", "train.csv")])  # fmt: skip
def test_a_row_that_is_there_twice(name, file, folder):
    sets.SETS[name](folder)
    path = folder / "annotations" / file
    path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")
    last, first = len(path.read_text().splitlines()), 2
    text = fails(name)
    assert f"{file}, line {last}: " in text and f"there twice, first in annotations/{file}, line {first}" in text


def test_files_that_are_missing_or_no_text(folder):
    sets.ucf101(folder)
    shutil.copytree("annotations", "annotations/b")
    os.rename("annotations/testlist01.txt", "annotations/other.txt")
    shutil.copytree("annotations/b", "annotations/c")
    assert "annotations/b/testlist01.txt and annotations/c/testlist01.txt: which one?" in fails("ucf101")
    shutil.rmtree("annotations/c")
    make("ucf101")  # the list is in a folder below
    shutil.rmtree("annotations/b")
    assert "testlist01.txt is neither there nor in a folder there" in fails("ucf101")
    (folder / "annotations" / "testlist01.txt").write_bytes(b"PK\x03\x04rest")
    assert "testlist01.txt is not text" in fails("ucf101")
    assert "is a file; give the folder" in fails("ucf101", "--annotations=annotations/classInd.txt")


def test_two_files_of_one_video_or_one_of_two(folder):
    sets.kinetics(folder)
    sets.empty(folder / "videos", "again/---QUuC4vJs_000084_000094.webm")
    text = fails("kinetics400")
    assert "validate.csv, line 2: its video is both 'again/---QUuC4vJs" in text and "'val/---QUuC4vJs" in text
    shutil.rmtree("videos/again")
    file = folder / "annotations" / "train.csv"
    file.write_text(file.read_text() + "air drumming,--Gkrd_Z9Tc,20,30,train,0\n")
    os.rename("videos/train/--Gkrd_Z9Tc_000000_000010.mp4", "videos/train/--Gkrd_Z9Tc.mp4")
    assert "line 4: 'train/--Gkrd_Z9Tc.mp4' is also the file of annotations/train.csv, line 2" in fails("kinetics400")


def test_published_files_are_never_replaced(folder):
    sets.kinetics(folder)
    before = (folder / "annotations" / "train.csv").read_bytes()
    assert "train.csv would replace the published file annotations/train.csv" in fails(
        "kinetics400", "--out=annotations"
    )
    assert (folder / "annotations" / "train.csv").read_bytes() == before


def test_names_with_commas_and_quotes_come_back_from_lists_and_commands(folder, capsys):
    sets.kinetics(folder)
    odd = 'my, "own" [videos]'
    os.rename("videos", odd)
    os.rename(f"{odd}/train", f'{odd}/ train, "1"')
    main(["kinetics400", "--annotations=annotations", f"--videos={odd}", "--out='my' lists"])
    run = built(printed(capsys)[1])
    dataset = build_dataset(run.data, num_classes=2)
    assert dataset.class_names == ["air drumming", "washing, drying"]
    assert dataset.train[0].path == f'{odd}/ train, "1"/--Gkrd_Z9Tc_000000_000010.mp4'
    assert all(os.path.exists(record.path) for record in [*dataset.train, *dataset.val])
    assert "--out=a,b: a config takes" in fails("kinetics400", "--out=a,b", videos=odd)


# Localization.


def test_activitynet_with_lengths_of_the_videos(folder, capsys):
    sets.activitynet(folder)
    make("activitynet", "--features=features")
    train = json.loads(pathlib.Path("out/train.json").read_text())
    assert train == {
        "v_-fjVaqkG0ws": {
            "duration_second": 3.02, "duration_frame": 30, "fps": 10.0, "feature_frame": 30,
            "annotations": [{"segment": [0.01, 1.0], "label": "Long jump"},
                            {"segment": [2, 3], "label": "Fun sliding down"}],
        },
        "v_v_UmAH95xls": {
            "duration_second": 2.0, "duration_frame": 20, "fps": 10.0, "feature_frame": 20,
            "annotations": [{"segment": [0, 2.0], "label": "Long jump"}],
        },
    }  # fmt: skip
    assert load_class_names("out/classes.txt") == ["Fun sliding down", "Long jump"]
    lines, arguments = printed(capsys)
    assert "the 1 videos for testing are skipped: their annotations are not published" in lines
    run = built(arguments)
    dataset = build_untrimmed(run.data)
    assert [record.video for record in dataset.val] == ["v_sJFgo9H6zNo"] and not dataset.left_out
    assert dataset.val[0].annotations == [{"segment": [0.5, 3.5], "label": "Fun sliding down"}]


def test_activitynet_with_a_table_of_lengths(folder, capsys):
    sets.activitynet(folder)
    table = "video,numFrame,seconds,fps,rfps,subset,featureFrame\nv_sJFgo9H6zNo,120,4.0,30.0,29.9,validation,112\n"
    (folder / "features" / "video_info.csv").write_text(table + "v_v_UmAH95xls,60,2.0,30.0,29.9,training,64\n")
    make("activitynet", "--features=features", videos="")
    assert json.loads(pathlib.Path("out/val.json").read_text())["v_sJFgo9H6zNo"] == {
        "duration_second": 4.0, "duration_frame": 120, "fps": 30.0, "rfps": 29.9, "feature_frame": 112,
        "annotations": [{"segment": [0.5, 3.5], "label": "Fun sliding down"}],
    }  # fmt: skip
    assert pathlib.Path("out/missing.txt").read_text() == "train\tv_-fjVaqkG0ws\t\n"
    assert len(build_untrimmed(built(printed(capsys)[1]).data).train) == 1
    (folder / "table.csv").write_text(table)
    text = fails("activitynet", "--video_info=table.csv", videos="")
    assert "2 of the 2 videos of train are not in --video_info=table.csv" in text
    assert "give --videos, or --video_info" in fails("activitynet", videos="")


def test_activitynet_names_follow_the_files(folder, capsys):
    sets.activitynet(folder)
    os.rename("videos/v_v_UmAH95xls.mp4", "videos/v_UmAH95xls.mkv")
    (folder / "videos" / "v_-fjVaqkG0ws.mp4").write_text("<html>gone</html>")
    sets.clip(folder / "videos" / "v_sJFgo9H6zNo.mp4", seconds=1)
    make("activitynet")
    assert [*json.loads(pathlib.Path("out/train.json").read_text())] == ["v_UmAH95xls"]
    lines, arguments = printed(capsys)
    assert any("'v_-fjVaqkG0ws': not a video file: a web page" in line for line in lines)
    assert "1 videos have another length than published: 'v_sJFgo9H6zNo' has 1.0 s, not 4.0; " in "".join(lines)
    assert "--config.data.features=FEATURES" in arguments and any("--mode=extract makes" in line for line in lines)
    assert "train\tv_-fjVaqkG0ws\tnot a video file" in pathlib.Path("out/missing.txt").read_text()


def test_videos_without_features_are_missing(folder):
    sets.activitynet(folder)
    os.remove("features/v_v_UmAH95xls.npy")
    make("activitynet", "--features=features")
    assert [*json.loads(pathlib.Path("out/train.json").read_text())] == ["v_-fjVaqkG0ws"]
    assert pathlib.Path("out/missing.txt").read_text() == "train\tv_v_UmAH95xls\tno features in features\n"


def test_thumos14(folder, capsys):
    sets.thumos14(folder)
    make("thumos14", "--features=features")
    assert json.loads(pathlib.Path("out/train.json").read_text()) == {
        "video_validation_0000051": {
            "duration_second": 2.0, "duration_frame": 20, "fps": 10.0, "feature_frame": 20,
            "annotations": [{"segment": [0.2, 0.9], "label": "CliffDiving"}, {"segment": [0.2, 0.9], "label": "Diving"},
                            {"segment": [1.0, 1.5], "label": "Diving"}],
        }
    }  # fmt: skip
    assert load_class_names("out/classes.txt") == ["Diving", "CliffDiving"]  # in the order of detclasslist.txt
    lines, arguments = printed(capsys)
    assert "rows of Ambiguous are left out; --ambiguous makes them a class" in lines
    assert [record.video for record in build_untrimmed(built(arguments).data).val] == ["video_test_0000004"]
    make("thumos14", "--features=features", "--ambiguous")
    assert [*json.loads(pathlib.Path("out/val.json").read_text())] == ["video_test_0000005", "video_test_0000004"]
    assert load_class_names("out/classes.txt") == ["Diving", "CliffDiving", "Ambiguous"]
    shutil.rmtree("annotations/val")
    assert "CLASS_val.txt" in fails("thumos14")


@pytest.mark.skipif(not EXTERNAL.is_dir(), reason="needs the published files of THUMOS14 in ../shared/external")
@pytest.mark.parametrize("ambiguous, instances, videos", [(False, 3358, 212), (True, 3457, 213)])
def test_thumos14_as_published(ambiguous, instances, videos, folder):
    """Lengths are made up: a table of all videos that the annotations name."""
    names = {
        line.split()[0]
        for file in EXTERNAL.glob("temporal_annotations_*/*.txt")
        for line in file.read_text().splitlines()
    }
    table = "".join(f"{name},90000,3000,30,30,,90000\n" for name in sorted(names))
    (folder / "table.csv").write_text(f"video,numFrame,seconds,fps,rfps,subset,featureFrame\n{table}")
    options = ["--video_info=table.csv", "--out=out", *(["--ambiguous"] if ambiguous else [])]
    main(["thumos14", f"--annotations={EXTERNAL}", *options])
    records = load_annotations("activitynet", "out/val.json")
    assert (len(records), sum(len(record.annotations) for record in records)) == (videos, instances)
    assert len(load_annotations("activitynet", "out/train.json")) == 200
    assert len(load_class_names("out/classes.txt")) == 20 + ambiguous


def test_command_line(folder, cache):
    """As a user types it, then the command that it prints, which looks at the videos."""
    sets.ucf101(folder)
    for file in (folder / "videos").rglob("*.avi"):
        sets.clip(file, seconds=1)
    call = lambda *words: subprocess.run(
        [sys.executable, "-m", *words], env=environment(cache) | {"PYTHONPATH": str(ROOT)},
        text=True, timeout=300, capture_output=True,
    )  # fmt: skip
    done = call("actjax.data.lists", "ucf101", "--annotations=annotations", "--videos=videos")
    assert (done.returncode, done.stderr) == (0, "")
    _, _, *words = shlex.split(done.stdout.splitlines()[-1])
    checked = call(*words, "--mode=check")
    assert checked.returncode == 0 and "train: 4 of 4 videos are sound" in checked.stdout
    failed = call("actjax.data.lists", "ucf101", "--annotations=videos", "--videos=videos")
    assert failed.returncode == 1 and failed.stderr.startswith("error: --annotations=videos: classInd.txt")


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in ("kinetics600", "kinetics700")])
def test_mutated_files_are_read_or_refused_in_one_line(name, folder):
    sets.SETS[name](folder)
    files = {path: path.read_bytes() for path in sorted((folder / "annotations").rglob("*.*"))}
    rng, told = np.random.default_rng(0), []
    for _ in range(600 // len(files)):
        for path, content in files.items():
            path.write_bytes(mutated(content, rng, words=WORDS))
            told.append(answer(lambda _: FORMATS[name].published(folder / "annotations"), path))
            path.write_bytes(content)
    assert 15 < sum(map(bool, told)) < len(told)
