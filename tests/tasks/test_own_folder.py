"""A folder of classes becomes a trained network by one command, and its split holds, whatever happens to the folder."""

import json
import re
import shutil

import pytest
from cli import run
from ml_collections import ConfigDict

import actjax
from actjax.config.files import load_config
from actjax.data.datasets.kept_lists import load_lists
from actjax.tasks.opening import open_config, open_workdir
from actjax.tasks.recognition.settling import epochs_for, keep_split

SMALL = {
    "model.width": 8, "model.depth": 10, "loader.num_workers": 1, "run.log_every": 1, "run.batch_size": 16,
    **{f"{part}.view.{key}": side for part in ("train", "eval") for key, side in (("size", 32), ("short_side", 36))},
}  # fmt: skip


def fill(root, shapes, *, number: int = 5, first: int = 0):
    """Copies of some videos of the sample set in a folder for each of two classes."""
    names = (shapes / "classes.txt").read_text().splitlines()
    rows = [line.rsplit(maxsplit=1) for line in (shapes / "train.txt").read_text().splitlines()]
    for label in (1, 0):
        chosen = [file for file, k in rows if int(k) == label][first : first + number]
        assert len(chosen) == number
        (root / names[label]).mkdir(parents=True, exist_ok=True)
        for file in chosen:
            shutil.copy(shapes / file, root / names[label])
    return root


def flags(**more) -> list[str]:
    return [f"--config.{key}={value}" for key, value in (SMALL | more).items()]


@pytest.fixture(scope="module")
def own(shapes, tmp_path_factory):
    """The folder, the workdir of its run, and what the command said. The batch is larger than the set."""
    root = tmp_path_factory.mktemp("own")
    folder, workdir = fill(root / "videos", shapes), root / "run"
    (folder / "notes.txt").write_text("")
    return folder, workdir


@pytest.fixture(scope="module")
def said(own, cache) -> str:
    folder, workdir = own
    more = flags(**{"data.folder": folder, "data.val_share": 0.4, "data.seed": 3, "run.epochs": 4})
    return run("--config=tsm_own:scratch", f"--workdir={workdir}", *more, cache=cache)


def test_one_command_trains_and_keeps_its_split(own, said):
    folder, workdir = own
    assert "2 classes, 6 videos to train on, 4 to validate on; left out: 1 .txt" in said
    assert "train.view.flip_ratio=0: a mirror turns 'moving left' and 'moving right' into each other" in said
    split = load_lists(workdir / "lists")
    assert (len(split.train), len(split.val)) == (6, 4)
    assert (
        split.class_names == ["moving left", "moving right"] == json.loads((workdir / "class_names.json").read_text())
    )
    config = json.loads((workdir / "config.json").read_text())
    assert (config["model"]["num_classes"], config["train"]["view"]["flip_ratio"]) == (2, 0.0)
    assert config["data"]["folder"] == str(folder) and config["data"]["lists"] == ""
    results = json.loads((workdir / "results.json").read_text())
    assert results["num_videos"] == 4 and results["step"] == 2  # 4 epochs of 6 videos, 16 at a time


def test_new_files_do_not_move_the_split(own, said, shapes, cache, tmp_path, monkeypatch):
    folder, workdir = own
    before = {file.name: file.read_bytes() for file in (workdir / "lists").iterdir()}
    fill(folder, shapes, number=2, first=5)
    (folder / "third").mkdir()
    shutil.copy(next((folder / "moving left").iterdir()), folder / "third" / "new.mp4")
    more = flags(**{"data.folder": folder, "data.val_share": 0.4, "data.seed": 3, "run.epochs": 8})
    again = run("--config=tsm_own:scratch", f"--workdir={workdir}", *more, cache=cache)
    assert "resuming after step 2" in again and "6 videos to train on, 4 to validate on" in again
    assert re.search(r"5 videos in .* are in no list in .*lists and are not used, such as 'moving left/", again)
    assert {file.name: file.read_bytes() for file in (workdir / "lists").iterdir()} == before
    monkeypatch.chdir(tmp_path)
    shutil.copytree(workdir, tmp_path / "copy")  # a moved workdir
    shutil.move(str(workdir), str(workdir.with_name("away")))
    try:
        assert actjax.evaluate("copy", checkpoint="latest")["num_videos"] == 4
        with actjax.load("copy") as trained:
            assert trained.class_names == ["moving left", "moving right"]
            best = trained.predict(folder / "third" / "new.mp4", topk=1)
        assert best[0]["class"] in trained.class_names
    finally:
        shutil.move(str(workdir.with_name("away")), str(workdir))


def test_another_split_is_refused_in_the_workdir(own, said, shapes, tmp_path):
    folder, workdir = own
    options = {"data.folder": str(folder), **SMALL}
    with pytest.raises(ValueError, match=r"data.seed=0: the split in .*lists was made with 3 and holds"):
        open_config("tsm_own:scratch", options | {"data.val_share": 0.4}, workdir=workdir)
    with pytest.raises(ValueError, match=r"data.val_share=0.2: the split in .*lists was made with 0.4 and holds"):
        open_config("tsm_own:scratch", options | {"data.seed": 3}, workdir=workdir)
    other = fill(tmp_path / "other", shapes)
    actjax_lists = {"data.lists": str(workdir / "lists")}
    opened = open_config("tsm_own:scratch", options | actjax_lists, workdir=tmp_path / "new")
    assert [len(part) for part in opened.run.split[:2]] == [6, 4] and not (tmp_path / "new").exists()
    shutil.copytree(workdir / "lists", tmp_path / "lists")
    lines = (tmp_path / "lists" / "val.csv").read_text().splitlines(keepends=True)
    (tmp_path / "lists" / "val.csv").write_text("".join(lines[:-1]))
    with pytest.raises(ValueError, match=r"data.lists=.*: .*run/lists has another split, which holds"):
        open_config("tsm_own:scratch", options | {"data.lists": str(tmp_path / "lists")}, workdir=workdir)
    with pytest.raises(FileNotFoundError, match="classes.txt does not exist"):
        open_config("tsm_own:scratch", {"data.folder": str(other), "data.lists": "nowhere"})


def test_processes_that_found_other_files_are_told(shapes, tmp_path, monkeypatch):
    folder = fill(tmp_path / "videos", shapes)
    opened = open_config("tsm_own:scratch", {"data.folder": str(folder), **SMALL}, workdir=tmp_path / "run")
    next((folder / "moving left").iterdir()).unlink()
    first = open_config("tsm_own:scratch", {"data.folder": str(folder), **SMALL}, workdir=tmp_path / "run")
    keep_split(first.run, tmp_path / "run")
    monkeypatch.setattr("jax.process_index", lambda: 1)
    with pytest.raises(ValueError, match="videos has changed while the processes of the run started; start them again"):
        keep_split(opened.run, tmp_path / "run")
    kept = open_config("tsm_own:scratch", {"data.folder": str(folder), **SMALL}, workdir=tmp_path / "run")
    assert keep_split(kept.run, tmp_path / "run").data["lists"] == str(tmp_path / "run" / "lists")


def test_a_run_without_its_lists_predicts_but_does_not_evaluate(own, said, tmp_path, media):
    _, workdir = own
    shutil.copytree(workdir, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "lists")
    with actjax.load(tmp_path / "copy") as trained:
        assert len(trained.predict(media / "test.mp4")) == 2
    with pytest.raises(FileNotFoundError, match="copy/lists/classes.txt does not exist; a run of a folder of classes"):
        actjax.evaluate(tmp_path / "copy")
    folder = dict(data=dict(folder=str(own[0])))
    with pytest.raises(FileNotFoundError, match="copy/lists/classes.txt does not exist"):
        actjax.train("tsm_own:scratch", tmp_path / "copy", **folder)


def test_a_moved_folder_is_found_where_it_is_told(own, said, tmp_path):
    folder, workdir = own
    shutil.copytree(folder, tmp_path / "there")
    opened = open_workdir(workdir, {"data.folder": str(tmp_path / "there")})
    assert all(record.path.startswith(str(tmp_path / "there")) for record in opened.run.open_dataset().val)


def test_modes_without_a_run_split_anew(own, cache, tmp_path):
    folder, _ = own
    more = [*flags(**{"data.folder": folder}), f"--workdir={tmp_path}/new"]
    said = run("--config=tsm_own:scratch", "--mode=explain", *more, cache=cache)
    assert "run.epochs = 100.0" in said and "model.num_classes = " in said
    run("--config=tsm_own:scratch", "--mode=browse", "--num=2", *more, cache=cache)
    assert (tmp_path / "new" / "browse.png").exists() and not (tmp_path / "new" / "lists").exists()


def test_folders_of_frames_are_trained_on(shapes, tmp_path):
    import cv2

    from actjax.video.decoding import open_video

    folder = fill(tmp_path / "videos", shapes, number=2)
    for file in sorted(folder.rglob("*.mp4")):
        place = tmp_path / "frames" / file.parent.name / file.stem
        place.mkdir(parents=True)
        video = open_video(file)
        for k, frame in enumerate(video.frames(range(8))):
            cv2.imwrite(str(place / f"{file.stem}_{k:03d}.jpg"), frame[..., ::-1])
    results = actjax.train(
        "tsm_own:scratch", tmp_path / "run", **SMALL, **{"data.folder": tmp_path / "frames", "run.epochs": 2.0}
    )
    assert results["num_videos"] == 2 and results["num_broken"] == 0
    assert "start_index" in (tmp_path / "run" / "lists" / "val.csv").read_text().splitlines()[0]


def test_class_names_in_lists_are_those_of_the_run(shapes, tmp_path):
    names = (shapes / "classes.txt").read_text().splitlines()
    for split, most in (("train", 16), ("val", 8)):
        rows = [line.rsplit(maxsplit=1) for line in (shapes / f"{split}.txt").read_text().splitlines()]
        lines = [f"{shapes}/{file},{names[int(k)]}" for file, k in rows][:most]
        (tmp_path / f"{split}.csv").write_text("\n".join(["path,label", *lines]))
    data = dict(name="videos", train=tmp_path / "train.csv", val=tmp_path / "val.csv")
    config = load_config("tsm_own:scratch").config.to_dict() | dict(data=data)
    results = actjax.train(config, tmp_path / "run", **SMALL, **{"run.epochs": 1.0})
    assert results["num_videos"] == 8 and len(results["confusion_matrix"]) == 8
    with actjax.load(tmp_path / "run") as trained:
        assert trained.class_names == sorted(names)


def settled(data: dict, **changes) -> ConfigDict:
    config = load_config("tsm_own:scratch").config.to_dict()
    config["data"] = data
    return open_config(config, {**SMALL, **changes}).config


def test_other_data_settle_a_config_too(shapes):
    lists = dict(name="videos", train=f"{shapes}/train.txt", val=f"{shapes}/val.txt")
    named = lists | dict(class_names=f"{shapes}/classes.txt")
    config = settled(named)
    assert (config.model.num_classes, config.train.view.flip_ratio, config.run.epochs) == (8, 0.0, 100.0)
    pairs = ((0, 1), (4, 5))
    assert settled(named, **{"train.flip_labels": pairs}).train.view.flip_ratio == 0.5
    assert settled(lists, **{"model.num_classes": 9}).train.view.flip_ratio == 0.5
    assert settled(named, **{"train.view.flip_ratio": 0.25}).train.view.flip_ratio == 0.25
    with pytest.raises(ValueError, match="model.num_classes=None: data.name='videos' does not name the classes"):
        settled(lists)
    with pytest.raises(FileNotFoundError, match="annotation file nowhere.csv does not exist"):
        settled(lists | dict(train="nowhere.csv"))
    with pytest.raises(ValueError, match="data.folder is not set"):
        open_config("tsm_own:scratch", {})
    with pytest.raises(ValueError, match="data.folder is not set"):
        open_config("tsm_own:scratch", {"data.lists": str(shapes)})
    with pytest.raises(ValueError, match="data.'val_shar' is unknown; did you mean 'val_share'"):
        settled(dict(name="folders", folder=str(shapes), val_shar=0.5))
    with pytest.raises(ValueError, match=r"run.epochs=None; must be a number in \(0, inf\)"):
        actjax.build("bmn_sample", **{"bmn.run.epochs": None})


def test_epochs_go_by_the_number_of_videos():
    assert [epochs_for(n) for n in (1, 10, 600, 1000, 2400, 10**6)] == [100.0, 100.0, 100.0, 60.0, 25.0, 25.0]
