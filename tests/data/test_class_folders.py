"""Folders of classes: what is found in them, how they are split, and the lists that keep the split."""

import json
import os
import pathlib

import cv2
import numpy as np
import pytest

from actjax.data.datasets.annotations import load_annotations, save_annotations
from actjax.data.datasets.class_folders import find_videos, told, unlisted
from actjax.data.datasets.class_names import class_names_text, load_class_names
from actjax.data.datasets.folders import split_folder
from actjax.data.datasets.frame_folders import check_template, frames_of
from actjax.data.datasets.kept_lists import has_lists, load_lists, save_lists
from actjax.data.datasets.recognition import build_dataset, check_files


def make(root: pathlib.Path, *names: str) -> pathlib.Path:
    """Empty files, which are videos by their names alone."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def clips(folder: str, number: int, suffix: str = ".mp4") -> list[str]:
    return [f"{folder}/v{k:02d}{suffix}" for k in range(number)]


def relative(records, root) -> list[str]:
    return [os.path.relpath(record.path, root) for record in records]


def frames(root: pathlib.Path, folder: str, names: list[str]) -> None:
    (root / folder).mkdir(parents=True)
    for name in names:
        cv2.imwrite(str(root / folder / name), np.full((8, 8, 3), 90, np.uint8))


def test_classes_are_the_sorted_sub_folders(tmp_path):
    make(tmp_path, *clips("run", 5), *clips("Jump", 10), *clips("a/deep/er", 4, ".AVI"), "a/notes.txt", "readme.md")
    make(tmp_path, ".hidden/x.mp4", "run/.x.mp4", "run/thumbs.DB", "run/more.db", "run/LICENSE")
    split = split_folder(tmp_path)
    assert split.class_names == ["Jump", "a", "run"]
    assert (len(split.train), len(split.val)) == (8 + 3 + 4, 2 + 1 + 1)
    paths = relative([*split.train, *split.val], tmp_path)
    assert "a/deep/er/v00.AVI" in paths and len({*paths}) == 19
    for record in (*split.train, *split.val):
        assert split.class_names[record.label] == os.path.relpath(record.path, tmp_path).split("/")[0]
    assert "3 classes, 15 videos to train on, 4 to validate on" in split.summary
    assert "left out: 2 .db, 1 .md, 1 .txt, 1 no suffix" in split.summary and not split.warnings


def test_the_split_is_drawn_by_the_seed_and_stratified(tmp_path):
    make(tmp_path, *clips("a", 20), *clips("b", 7), *clips("c", 2), *clips("d", 3))
    first, again, other = split_folder(tmp_path), split_folder(tmp_path), split_folder(tmp_path, seed=1)
    assert first == again and relative(first.val, tmp_path) != relative(other.val, tmp_path)
    counts = lambda records: np.bincount([record.label for record in records], minlength=4).tolist()
    assert counts(first.val) == counts(other.val) == [4, 1, 1, 1]
    assert counts(split_folder(tmp_path, val_share=0.5).val) == [10, 4, 1, 2]
    assert counts(split_folder(tmp_path, val_share=0.99).train) == [1, 1, 1, 1]


def test_a_class_with_one_video_is_trained_on_and_told(tmp_path):
    make(tmp_path, *clips("a", 4), *clips("one", 1))
    split = split_folder(tmp_path)
    assert [record.label for record in split.val] == [0] and [r.label for r in split.train] == [0, 0, 0, 1]
    assert split.warnings == (f"{tmp_path}: class 'one' has one video, to train on; the validation has none",)
    make(tmp_path / "alone", *clips("a", 1), *clips("b", 1))
    with pytest.raises(ValueError, match="alone: every class has one video"):
        split_folder(tmp_path / "alone")


@pytest.mark.parametrize("val", ["val", "Validation", "valid", "test"])
def test_a_split_that_is_there_is_taken(tmp_path, val):
    make(tmp_path, *clips("train/a", 3), *clips("train/b", 2), *clips(f"{val}/a", 1), *clips(f"{val}/b", 2))
    split = split_folder(tmp_path, val_share=0.9)
    assert (len(split.train), len(split.val), split.class_names) == (5, 3, ["a", "b"])
    assert all(path.startswith(f"{val}/") for path in relative(split.val, tmp_path))
    assert split.origin == dict(folder=str(tmp_path), val_share=None, seed=None)


def test_test_is_left_out_beside_val(tmp_path):
    make(tmp_path, *(name for part in ("train", "val", "test") for c in "ab" for name in clips(f"{part}/{c}", 2)))
    split = split_folder(tmp_path)
    assert len(split.val) == 4 and split.summary.endswith("'test' is not used")


def test_train_without_val_is_a_class(tmp_path):
    make(tmp_path, *clips("train", 3), *clips("val", 3), *clips("car", 3))
    assert split_folder(tmp_path).class_names == ["car", "train", "val"]


def test_classes_of_given_splits_are_compared(tmp_path):
    make(tmp_path, *clips("train/Run", 2), *clips("train/b", 2), *clips("val/b", 1))
    assert split_folder(tmp_path).warnings == (f"{tmp_path}: class 'Run' has no video to validate on",)
    make(tmp_path, *clips("val/run", 1))
    with pytest.raises(
        ValueError, match="class 'run' has videos to validate on, but none to train on; did you mean 'Run'"
    ):
        split_folder(tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (clips("a", 2), r"has one class, 'a'"),
        (["x.mp4", "y.mp4"], r"holds 2 videos, but no sub-folders; make one for each class"),
        ([".x/a.mp4"], r"holds nothing of use, but no sub-folders"),
        ([*clips("a", 2), "b/notes.txt"], r"/b holds no video, only 1 .txt; move it, or begin its name with a dot"),
        ([*clips("a", 2), *clips("b", 2), "c/img_1.jpg"], r"/c directly holds 1 pictures, such as 'img_1.jpg'"),
        ([*clips("a", 2), *clips("b", 2), "b/f/img_1.jpg"], r"video files, such as .* and pictures, .* keep one kind"),
        (["a/x/1.jpg", "b/y/1.jpg", "b/y/z/1.jpg"], r"y/z' holds pictures, and so does '.*/b/y'"),
        (["a/x/1.jpg", "b/y/cover.jpg"], r"b/y: 'cover.jpg' has no number at its end"),
        (["a/x/1.jpg", "b/y/1.jpg", "b/y/3.jpg"], r"b/y: frame number 2 is missing; there are 2, 1 to 3"),
        (["a/x/1.jpg", "b/y/1.jpg", "b/y/2.png"], r"b/y: frames are named alike"),
        (["a/x/1.jpg", "b/y/img1.jpg", "b/y/pic2.jpg"], r"b/y: frames are named alike"),
        ([*clips("a", 2), *clips("b\nc", 2)], r"b\\nc': a name that is no UTF-8 or has line ends; rename it"),
        ([*clips("a", 2), *clips(" b", 2)], r"/ b': the name of a class begins or ends with a space"),
        (
            [*clips("train/a", 2), *clips("val/a", 2), *clips("car/x", 1)],
            "beside them 'car', which is neither; move it, or begin its name with a dot",
        ),
        (
            [*clips("train/a", 2), *clips("val/a", 2), *clips("valid/a", 1)],
            "'val' and 'valid' are the same split; keep one of them",
        ),
    ],
)  # fmt: skip
def test_what_is_no_folder_of_classes_is_refused(tmp_path, names, message):
    with pytest.raises(ValueError, match=message) as caught:
        split_folder(make(tmp_path, *names))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400 + len(str(tmp_path)) * 2


@pytest.mark.parametrize(
    ("folder", "options", "error", "message"),
    [
        ("", {}, ValueError, "data.folder is not set; give a folder"),
        ("nowhere", {}, FileNotFoundError, "data.folder=.*nowhere does not exist"),
        ("gs://bucket/x", {}, ValueError, "data.folder gs://bucket/x must be a local path"),
        ("file", {}, ValueError, "file is a file, not a folder of classes"),
        (".", dict(val_share=0.0), ValueError, r"data.val_share=0.0; must be a number in \(0, 1\)"),
        (".", dict(val_share=1.0), ValueError, "data.val_share=1.0; must be"),
        (".", dict(seed=-1), ValueError, "data.seed=-1; must be a whole number"),
    ],
)
def test_options_are_checked(tmp_path, monkeypatch, folder, options, error, message):
    monkeypatch.chdir(make(tmp_path, "file", *clips("a", 2), *clips("b", 2)))
    with pytest.raises(error, match=message):
        split_folder(folder, **options)


def test_names_that_are_no_text_are_refused(tmp_path):
    os.makedirs(os.fsencode(tmp_path) + b"/b\xff")
    with pytest.raises(ValueError, match="no UTF-8"):
        find_videos(str(tmp_path))


def test_links_are_followed_and_loops_end(tmp_path):
    make(tmp_path / "store", *clips("x", 2))
    make(tmp_path / "set", *clips("b", 2))
    (tmp_path / "set" / "a").symlink_to(tmp_path / "store" / "x", target_is_directory=True)
    (tmp_path / "set" / "b" / "up").symlink_to(tmp_path / "set" / "b", target_is_directory=True)
    (tmp_path / "set" / "b" / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    os.mkfifo(tmp_path / "set" / "b" / "pipe.mp4")
    found = find_videos(str(tmp_path / "set" / "b"))
    assert len(found.videos) == 2  # once, though the link leads back to them
    assert told(found.left_out) == "2 no file"
    assert sorted(found.items) == found.items and split_folder(tmp_path / "set").class_names == ["a", "b"]
    (tmp_path / "set" / "b" / "again").symlink_to(tmp_path / "store" / "x", target_is_directory=True)
    with pytest.raises(ValueError, match="are one file, by a link; remove one of them"):
        split_folder(tmp_path / "set")


@pytest.mark.parametrize(
    ("names", "template", "start"),
    [
        (["img_00001.jpg", "img_00002.jpg"], "img_{:05d}.jpg", 1),
        (["frame_9.png", "frame_10.png", "frame_11.png"], "frame_{:01d}.png", 9),
        (["000000.JPEG", "000001.JPEG"], "{:06d}.JPEG", 0),
        (["a{b}_1.jpg"], "a{{b}}_{:01d}.jpg", 1),
        (["take2_098.png", "take2_099.png", "take2_100.png"], "take2_{:03d}.png", 98),
    ],
)
def test_the_names_of_frames(names, template, start):
    found = frames_of(names[::-1], folder="clip")
    assert found == (len(names), template, start)
    assert [found.filename_tmpl.format(start + k) for k in range(len(names))] == names


def test_templates_of_lists_are_checked():
    for fine in ("img_{:05d}.jpg", "{}_{:05d}.jpg", "{{x}}{:d}.png", "{0}_{1:05}.jpg"):
        assert check_template(fine) == fine
    for wrong in ("img.jpg", "{:9999d}.jpg", "{0.__class__}.jpg", "{:05d}}.jpg", "{x}.jpg"):
        with pytest.raises(ValueError, match="expected the like of"):
            check_template(wrong)


def test_folders_of_frames_are_read(tmp_path):
    frames(tmp_path, "a/x", ["img_00001.png", "img_00002.png"])
    frames(tmp_path, "a/deep/y", [f"y_{k}.png" for k in range(9, 12)])
    frames(tmp_path, "b/x", ["000.png", "001.png", "002.png", "003.png"])
    frames(tmp_path, "b/z", ["5.png"])
    split = split_folder(tmp_path)
    save_lists(split, tmp_path / "lists")
    loaded = load_lists(tmp_path / "lists", videos=tmp_path)
    assert (loaded.train, loaded.val) == (split.train, split.val)
    for record in (*loaded.train, *loaded.val):
        video = record.open()
        assert video.num_frames == record.num_frames == len(os.listdir(record.path))
        assert video.frames(np.arange(video.num_frames)).shape == (video.num_frames, 8, 8, 3)
    (ordinary,) = [load_annotations("rawframes", tmp_path / "lists" / "train.csv", num_classes=2)]
    assert ordinary == split.train
    save_annotations(split.train, tmp_path / "again.csv")
    assert load_annotations("rawframes", tmp_path / "again.csv") == split.train


def test_a_list_with_a_wrong_template_names_the_line(tmp_path):
    (tmp_path / "x.csv").write_text("path,total_frames,label,filename_tmpl\na,3,0,{0.__class__}.jpg\n")
    with pytest.raises(ValueError, match=r"x.csv, line 2: .*filename_tmpl '\{0.__class__\}.jpg'; expected the like of"):
        load_annotations("rawframes", tmp_path / "x.csv")


@pytest.mark.parametrize(
    "names",
    [["run", "jump"], ["1. run", "10 jump", "2 go"], ["id name", "x"], ["7", "8"], ["a,b", "c;d"], ["7 a", "b"]],
)
def test_class_names_are_read_as_they_were_written(tmp_path, names):
    (tmp_path / "classes.txt").write_text(class_names_text(names))
    assert load_class_names(tmp_path / "classes.txt") == names


def test_a_class_name_that_would_be_read_as_another_is_refused():
    with pytest.raises(ValueError, match="class ', 1 x': a name must not begin with"):
        class_names_text(["id name", ", 1 x"])


def test_lists_are_kept_and_move_with_the_folder(tmp_path):
    root = make(tmp_path / "set", *clips("1 a", 5), *clips("10 b,c", 5), *clips("2 d", 2))
    split = split_folder(root)
    assert not has_lists(tmp_path / "lists")
    save_lists(split, tmp_path / "lists")
    make(root, *clips("1 a", 30))
    loaded = load_lists(tmp_path / "lists", videos=root)
    assert (loaded.train, loaded.val, loaded.class_names) == split[:3] and loaded.origin == dict(split.origin)
    assert json.loads((tmp_path / "lists" / "split.json").read_text())["folder"] == str(root)
    ordinary = build_dataset(
        dict(
            name="videos",
            train=f"{tmp_path}/lists/train.csv",
            val=f"{tmp_path}/lists/val.csv",
            class_names=f"{tmp_path}/lists/classes.txt",
        ),
        num_classes=3,
    )
    assert (ordinary.train, ordinary.val, ordinary.class_names) == split[:3]
    root.rename(tmp_path / "moved")
    moved = load_lists(tmp_path / "lists", videos=tmp_path / "moved")
    assert relative(moved.train, tmp_path / "moved") == relative(split.train, root)
    known = {record.path for record in (*moved.train, *moved.val)}
    assert len(unlisted(str(tmp_path / "moved"), known)) == 25


def test_missing_lists_and_files_are_told(tmp_path):
    root = make(tmp_path / "set", *clips("a", 4), *clips("b", 4))
    with pytest.raises(FileNotFoundError, match="lists/classes.txt does not exist; a run of a folder of classes keeps"):
        load_lists(tmp_path / "lists")
    save_lists(split_folder(root), tmp_path / "lists")
    config = dict(name="folders", folder=str(root), lists=f"{tmp_path}/lists")
    dataset = build_dataset(config, num_classes=2)
    check_files(config, dataset, max_broken=0.0)
    os.remove(dataset.val[0].path)
    with pytest.raises(
        FileNotFoundError, match=r"val of .*lists: 1 of 2 files do not exist: .*loader.max_broken=0 allows"
    ):
        check_files(config, dataset, max_broken=0.0)
    (tmp_path / "lists" / "val.csv").unlink()
    with pytest.raises(FileNotFoundError, match="val.csv does not exist"):
        build_dataset(config, num_classes=2)
    with pytest.raises(ValueError, match=r"set has 2 names, but model.num_classes=3; set model.num_classes=2"):
        build_dataset(dict(name="folders", folder=str(root)), num_classes=3)
    (tmp_path / "lists" / "split.json").write_text("[1]")
    with pytest.raises(ValueError, match="split.json: expected an object with folder"):
        load_lists(tmp_path / "lists")
