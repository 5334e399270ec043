"""Names of classes in place of their numbers, in CSV and JSON lists."""

import json

import numpy as np
import pytest

from actjax.data.datasets.annotations import load_annotations
from actjax.data.datasets.recognition import build_dataset, found_names, load_list, load_names


def write(path, rows, *, columns="path,label"):
    path.write_text("".join(f"{row}\n" for row in (columns, *rows)))
    return str(path)


def labels(records) -> list:
    return [np.asarray(record.label).tolist() for record in records]


@pytest.fixture()
def lists(tmp_path) -> dict:
    train = write(tmp_path / "train.csv", ["a.mp4,run", "b.mp4,jump", "c.mp4,walk", 'd.mp4,"left; then right"'])
    val = write(tmp_path / "val.csv", ["e.mp4,walk", "f.mp4,jump"])
    return dict(name="videos", train=train, val=val)


def test_names_are_sorted_and_those_of_the_run(lists):
    dataset = build_dataset(lists, num_classes=4)
    assert dataset.class_names == ["jump", "left; then right", "run", "walk"] == found_names(lists)
    assert (labels(dataset.train), labels(dataset.val)) == ([2, 0, 3, 1], [3, 0])
    assert load_names(lists, num_classes=4) == dataset.class_names
    assert labels(load_list(lists, [lists["val"]], num_classes=4)) == [3, 0]
    with pytest.raises(ValueError, match=r"data.train=.*train.csv has 4 names, but model.num_classes=3"):
        load_names(lists, num_classes=3)


def test_class_names_give_the_order(lists, tmp_path):
    names = ["walk", "run", "left; then right", "jump"]
    (tmp_path / "classes.txt").write_text("\n".join(names))
    for given in (names, f"{tmp_path}/classes.txt"):
        dataset = build_dataset(lists | dict(class_names=given), num_classes=4)
        assert dataset.class_names == names and labels(dataset.train) == [1, 3, 0, 2]


def test_a_name_that_is_no_class_is_one_error(lists, tmp_path):
    write(tmp_path / "val.csv", ["e.mp4,walk", "f.mp4,Jmup"])
    with pytest.raises(
        ValueError, match=r"val.csv, line 3: .*'Jmup' is no class; did you mean 'jump'\? there are 4"
    ) as e:
        build_dataset(lists, num_classes=4)
    assert "\n" not in str(e.value)
    write(tmp_path / "val.csv", ["e.mp4,walk", "f.mp4,3"])  # "3" is a name here, and no class has it
    with pytest.raises(ValueError, match=r"val.csv, line 3: .*'3' is no class; there are 4"):
        build_dataset(lists, num_classes=4)


def test_numbers_stay_numbers(tmp_path):
    numbers = dict(name="videos", train=write(tmp_path / "n.csv", ["a.mp4,1", "b.mp4,0"]), val=f"{tmp_path}/n.csv")
    assert found_names(numbers) is None and build_dataset(numbers, num_classes=2).class_names == ["0", "1"]
    called = build_dataset(numbers | dict(class_names=["1", "0"]), num_classes=2)
    assert labels(called.train) == [1, 0]  # numbers of classes, whatever these are called
    mixed = dict(name="videos", train=write(tmp_path / "m.csv", ["a.mp4,7", "b.mp4,run"]), val=f"{tmp_path}/m.csv")
    assert labels(build_dataset(mixed | dict(class_names=["run", "7"]), num_classes=2).train) == [1, 0]
    with pytest.raises(ValueError, match=r"m.csv, line 2: label '7' is a number, others are names of classes"):
        build_dataset(mixed, num_classes=2)
    with pytest.raises(
        ValueError, match=r"m.csv has names of classes as labels, .*n.csv has numbers; set data.class_names"
    ):
        build_dataset(mixed | dict(train=[mixed["train"], numbers["train"]]), num_classes=2)
    write(tmp_path / "v.csv", ["a.mp4,run"])
    with pytest.raises(ValueError, match=r"v.csv, line 2: .*'run': labels are names here, but no names are known"):
        build_dataset(numbers | dict(val=f"{tmp_path}/v.csv"), num_classes=2)
    (tmp_path / "t.txt").write_text("a.mp4 run\n")
    with pytest.raises(ValueError, match="labels must be whole numbers, 0 or more; names of classes need CSV or JSON"):
        load_annotations("videos", tmp_path / "t.txt")


def test_several_classes(tmp_path):
    rows = ["a.mp4,run;jump", "b.mp4,", "c.mp4, walk ;run", "d.mp4,jump:0.5"]
    train = write(tmp_path / "several.csv", rows[:3])
    data = dict(name="videos", train=train, val=train, multi_class=True)
    assert labels(build_dataset(data, num_classes=3).train) == [[1, 1, 0], [0, 0, 0], [0, 1, 1]]
    assert found_names(data) == ["jump", "run", "walk"]
    soft = write(tmp_path / "soft.csv", ["a.mp4,run:0.25;jump:0.75", "b.mp4,walk:1"])
    records = build_dataset(dict(name="videos", train=soft, val=soft), num_classes=3).train
    assert np.allclose(labels(records), [[0.75, 0.25, 0], [0, 0, 1]])
    wrong = write(tmp_path / "wrong.csv", ["a.mp4,run:0.25;jump:0.5"])
    with pytest.raises(ValueError, match="weights must be positive numbers that sum to 1"):
        load_annotations("videos", wrong)


def test_names_with_colons_are_names_if_they_are_given(tmp_path):
    file = write(tmp_path / "x.csv", ["a.mp4,at 10:30", "b.mp4,noon"])
    assert labels(load_annotations("videos", file, names=["noon", "at 10:30"])) == [1, 0]


@pytest.mark.parametrize("label", ["run", ["run"]])
def test_json(tmp_path, label):
    file = tmp_path / "x.json"
    file.write_text(json.dumps([dict(filename="a.mp4", label=label), dict(filename="b.mp4", label=["jump"])]))
    assert labels(load_annotations("videos", file)) == [1, 0]
    file.write_text(json.dumps([dict(filename="a.mp4", label=label), dict(filename="b.mp4", label=None)]))
    with pytest.raises(ValueError, match="x.json, entry 2: .*label None is no name of a class"):
        load_annotations("videos", file)


def test_folders_of_frames(tmp_path):
    file = write(tmp_path / "x.csv", ["a,3,run", "b,4,jump"], columns="path,total_frames,label")
    dataset = build_dataset(dict(name="rawframes", train=file, val=file), num_classes=2)
    assert labels(dataset.train) == [1, 0] and dataset.class_names == ["jump", "run"]
