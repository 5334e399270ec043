"""Own untrimmed videos and annotations become a trained localizer by one command, which may be killed."""

import json
import pathlib
import shutil

import jax
import numpy as np
import pytest
import tiny_runs

import actjax
from actjax.config.files import saved_config
from actjax.data.datasets.annotations import load_annotations
from actjax.data.datasets.records import VideoRecord
from actjax.door import run_mode
from actjax.localization import load_localize_proposal_file
from actjax.tasks.localizing import on_the_clock
from actjax.tasks.opening import open_config, open_workdir
from actjax.tasks.own import modes
from actjax.tasks.own.annotated import Annotated, open_annotated, write_annotations, write_proposals
from actjax.tasks.own.config import OwnData
from actjax.tasks.recognition import extracting
from actjax.tasks.recognition.calibrating import clip_seconds
from actjax.timelines import read_results
from actjax.video.clock import Clock


def numbers(file: pathlib.Path) -> dict:
    content = json.loads(file.read_text())
    content.pop("seconds")
    return content


def test_the_workdir_is_an_ordinary_run(detector, tmp_path):
    """It is evaluated, loaded and used without more words."""
    config = saved_config(detector)
    assert config.task == "bmn" and config.bmn.model.feat_dim == 8 and config.data.name == "activitynet"
    workdir = tiny_runs.copied(detector, tmp_path / "run")
    found = actjax.evaluate(workdir)
    expected = numbers(detector / "results.json")
    assert {name: found[name] for name in expected} == expected
    assert numbers(workdir / "results_eval.json") == expected
    videos = {
        split: load_annotations("activitynet", detector / "lists" / f"{split}.json") for split in ("train", "val")
    }
    assert [len(records) for records in videos.values()] == [8, 4]
    truth = json.loads((tiny_runs.videos_of_the_sample_set().parent / "annotations.json").read_text())["database"]
    for record in (*videos["train"], *videos["val"]):
        assert record.annotations == truth[record.video]["annotations"]


@pytest.mark.slow
def test_killed_and_resumed_is_uninterrupted(recogniser, detector, tmp_path, monkeypatch):
    """In the extraction; features that were there are not made again."""
    workdir, appended, append_row = tmp_path / "run", [], extracting.append_row

    def killed(*arguments, **options):
        if len(appended) == 5:
            raise KeyboardInterrupt
        appended.append(arguments)
        append_row(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(extracting, "append_row", killed)
        with pytest.raises(KeyboardInterrupt):
            tiny_runs.train_bmn(workdir, recogniser)
    assert not (workdir / "lists").exists() and not (workdir / "bmn").exists()
    made = {file: file.stat().st_mtime_ns for file in (workdir / "features").glob("*.csv")}
    actjax.train("bmn_own", workdir, data=tiny_runs.own(recogniser), bmn=tiny_runs.BMN)
    kept = [file for file, when in made.items() if file.stat().st_mtime_ns == when]
    assert len(kept) >= 5
    assert numbers(workdir / "results.json") == numbers(detector / "results.json")
    one, other = (open_workdir(each, {}).run.restored("bmn", each) for each in (workdir, detector))
    jax.tree.map(np.testing.assert_array_equal, one, other)
    for name in ("train", "val"):
        files = [json.loads((each / "lists" / f"{name}.json").read_text()) for each in (workdir, detector)]
        assert files[0] == files[1]
    again = actjax.train("bmn_own", workdir, data=tiny_runs.own(recogniser), bmn=tiny_runs.BMN)
    expected = numbers(workdir / "results.json")
    assert {name: again[name] for name in expected} == expected  # nothing is left to train


def recipe(tmp_path, **changes) -> str:
    """A config file of a tiny TSM."""
    file = tmp_path / "tiny.py"
    given = {"data.num_train": 16, "data.num_val": 8, "model.width": 8, "loader.num_workers": 1, "run.batch_size": 8}
    given |= {"run.epochs": 1.0} | changes
    lines = ["from actjax.config.files import load_config", "", "def get_config():"]
    lines += ['    config = load_config("tsm_shapes").config', f"    config.update_from_flattened_dict({given!r})"]
    file.write_text("\n".join([*lines, "    return config", ""]))
    return str(file)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (dict(bmn=dict(model=dict(feat_dim=3))), "bmn.model.feat_dim=3; the videos and the network decide it: 8"),
        (dict(bmn=dict(model=dict(depth=3))), "bmn.model.'depth' is unknown"),
        (dict(bmn=dict(nms=dict(alpha="x"))), "bmn.nms.alpha"),
        (dict(detect=dict(top_classes=1, classes=2)), "detect.'classes' is unknown"),
        (dict(data=dict(video="x")), "data.'video' is unknown; did you mean 'videos'"),
        (dict(data=dict(what="logits")), "data.what='logits' is unknown"),
        (dict(data=dict(interval=0)), "data.interval=0; must be a whole number"),
        (dict(data=dict(max_missing=2)), "data.max_missing=2; must be"),
        (dict(data=dict(videos="somewhere")), "data.videos is set; own videos need all of data.videos, data.train and"),
        (dict(data=dict(network="bmn_sample")), "data.network=bmn_sample is a recipe of bmn; it must be one of TSN or"),
        (dict(data=dict(network="tsm_shape")), "tsm_shape"),
        (dict(localizer="tem"), "config.localizer='tem' is unknown"),
    ],
)
def test_faults_are_found_before_anything_is_trained(changes, told, tmp_path, cached):
    changes = changes | {"data": tiny_runs.own(recipe(tmp_path)) | changes.get("data", {})}
    with pytest.raises((ValueError, FileNotFoundError), match=told):
        actjax.train("bmn_own", tmp_path / "run", **changes)
    assert not (tmp_path / "run" / "network").exists() and not (tmp_path / "run" / "features").exists()


def test_a_run_of_another_task_does_not_look_at_videos(detector, tmp_path):
    with pytest.raises(ValueError, match="detector is a run of bmn; features come from a run of TSN or TSM"):
        actjax.train("bmn_own", tmp_path / "run", data=tiny_runs.own(detector))


@pytest.fixture
def folder(tmp_path, cached) -> pathlib.Path:
    """Videos `run/0.mp4`, `walk/0.mp4`, `v_b.mp4`, `c.mp4` and `d.mp4`, and a text."""
    source = tiny_runs.videos_of_the_sample_set() / "val_0003.mp4"
    root = tmp_path / "videos"
    for name in ("run/0.mp4", "walk/0.mp4", "v_b.mp4", "c.mp4", "d.mp4"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, root / name)
    (root / "notes.txt").write_text("")
    return root


def entry(label="jump", subset=None, segment=(2.0, 9.0)) -> dict:
    subset = {} if subset is None else {"subset": subset}
    return subset | {"annotations": [{"segment": list(segment), "label": label}]}


def data_of(folder, train, val=None, **more) -> OwnData:
    """The section `data` with these entries of both files, or of one for both."""
    files = []
    for name, entries in (("train", train), ("val", val)):
        file = folder.parent / f"{name if val is not None else 'both'}.json"
        if entries is not None:
            file.write_text(json.dumps({"database": entries}))
        files.append(str(file))
    return OwnData(videos=str(folder), train=files[0], val=files[1], **more)


def paths(splits, folder) -> dict:
    return {
        split: {video.video: str(pathlib.Path(video.record.path).relative_to(folder)) for video in videos}
        for split, videos in splits.items()
    }


def test_videos_are_found_by_their_names(folder):
    """With folders and suffixes, with and without "v_"; one file for both splits, or one for each."""
    train = {"run/0": entry(), "walk/0.mp4": entry(), "b": entry()}
    found = paths(open_annotated(data_of(folder, train, {"v_c": entry(), "d.mp4": entry()})), folder)
    assert found["train"] == {"run/0": "run/0.mp4", "walk/0.mp4": "walk/0.mp4", "b": "v_b.mp4"}
    assert found["val"] == {"v_c": "c.mp4", "d.mp4": "d.mp4"}
    both = {"b": entry(subset="training"), "c": entry(subset="validation"), "e": entry(subset="testing")}
    found = paths(open_annotated(data_of(folder, both)), folder)
    assert found == {"train": {"b": "v_b.mp4"}, "val": {"c": "c.mp4"}}
    found = paths(open_annotated(data_of(folder, both, subsets=("validation", "training"))), folder)
    assert found == {"train": {"c": "c.mp4"}, "val": {"b": "v_b.mp4"}}
    data = data_of(folder, {"0": entry()}, {"0": entry()})._replace(videos=f"{folder}/run/*.mp4")
    assert paths(open_annotated(data), folder) == {"train": {"0": "run/0.mp4"}, "val": {"0": "run/0.mp4"}}


def test_names_that_several_files_have(folder):
    with pytest.raises(ValueError, match="video '0' may be .*run/0.mp4.* or .*walk/0.mp4.*; name it with its folder"):
        open_annotated(data_of(folder, {"0": entry()}, {"c": entry()}))
    shutil.copy(folder / "c.mp4", folder / "c.avi")
    with pytest.raises(ValueError, match="video 'c' may be .*c.avi.* or .*c.mp4.*; name it with its folder and suffix"):
        open_annotated(data_of(folder, {"d": entry()}, {"c": entry()}))
    found = paths(open_annotated(data_of(folder, {"c.avi": entry()}, {"c.mp4": entry()})), folder)
    assert found == {"train": {"c.avi": "c.avi"}, "val": {"c.mp4": "c.mp4"}}
    with pytest.raises(ValueError, match="videos 'd' and 'd.mp4' are both .*d.mp4"):
        open_annotated(data_of(folder, {"d": entry(), "d.mp4": entry()}, {"c.mp4": entry()}))


@pytest.mark.parametrize(
    ("train", "val", "told"),
    [
        (
            {"c": entry(subset="training"), "d": entry()},
            None,
            "video 'd' has no subset; one file for both splits needs it",
        ),
        (
            {"c": entry(subset="train")},
            None,
            r"no video of subset 'training'; it has \['train'\]: set data.subsets=train,v",
        ),
        ({"c": {"annotations": [{"segment": [3, 1], "label": "x"}]}}, {"d": entry()}, "train.json: .*'c'"),
        ({"c": {"annotations": [{"segment": [1, 2]}]}}, {"d": entry()}, "train.json: video 'c': .* has no label"),
        ({"c": {"annotations": "none"}}, {"d": entry()}, "train.json: video 'c'"),
        ({}, {"d": entry()}, 'train.json is empty; expected {"VIDEO": {"annotations"'),
    ],
)
def test_annotations_that_do_not_parse(folder, train, val, told):
    with pytest.raises((ValueError, KeyError, TypeError), match=told):
        open_annotated(data_of(folder, train, val))


def test_videos_that_are_missing(folder, caplog, capsys):
    entries = {name: entry() for name in ("b", "c", "d", "gone")}
    with pytest.raises(
        FileNotFoundError, match="1 of its 4 videos are not in .*, 'gone' the first; data.max_missing=0.05"
    ):
        open_annotated(data_of(folder, entries, {"b": entry()}))
    found = paths(open_annotated(data_of(folder, entries, {"b": entry()}, max_missing=0.25)), folder)
    assert list(found["train"]) == ["b", "c", "d"]
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_annotated(data_of(folder, entries, entries)._replace(videos=str(folder / "nowhere")))


def test_a_class_that_is_only_validated(folder):
    splits = open_annotated(data_of(folder, {"c": entry("jump")}, {"d": entry("junp")}))
    with pytest.raises(ValueError, match="class 'junp' is in no training video; correct its name, or leave it out"):
        modes.classes_of(splits)
    splits = open_annotated(data_of(folder, {"c": entry("run"), "b": entry("jump")}, {"d": entry("run")}))
    assert modes.classes_of(splits) == ["jump", "run"]


@pytest.mark.parametrize(("segment", "told"), [((0.1, 0.6), "not fractions"), ((24, 108), "in seconds, not in frames")])
def test_times_in_another_unit_are_found_before_anything_is_trained(folder, segment, told, tmp_path):
    data = data_of(folder, {"b": entry(segment=segment), "c": entry(segment=segment)}, {"d": entry(segment=segment)})
    given = dict(network=recipe(tmp_path), videos=data.videos, train=data.train, val=data.val)
    for config in ("bmn_own", "ssn_own"):
        with pytest.raises(ValueError, match=f"train.json: .*{told}"):
            actjax.train(config, tmp_path / "run", data=given)
    assert not (tmp_path / "run" / "network").exists()


def test_unreadable_videos_are_left_out_or_too_many(folder, recogniser, tmp_path):
    (folder / "d.mp4").write_text("no video")
    data = data_of(folder, {"b": entry(), "c": entry()}, {"run/0": entry(), "d": entry()}, max_missing=0.1)
    given = dict(network=str(recogniser), videos=data.videos, train=data.train, val=data.val)
    told = "1 of 2 videos of the split val cannot be read; data.max_missing=0.1 allows fewer"
    with pytest.raises(ValueError, match=told):
        actjax.train("bmn_own", tmp_path / "run", data=given | dict(max_missing=0.1), bmn=tiny_runs.BMN)


UNEVEN = Clock(5, 1.25, np.array([0.0, 0.5, 0.6, 3.0, 3.5, 4.0]))


def test_annotations_of_a_variable_frame_rate_are_moved_onto_frames(tmp_path):
    """And localize moves them back."""
    annotated = [
        Annotated(name, VideoRecord(f"/{name}.mp4"), [{"segment": [0.55, 3.25], "label": "x"}]) for name in "ab"
    ]
    clocks = {"/a.mp4": UNEVEN, "/b.mp4": Clock(5, 1.25)}
    rows = {f"/{name}.mp4": dict(video=name, numFrame="5", seconds="0.5", featureFrame="4") for name in "ab"}
    rows["/b.mp4"]["seconds"] = "4.0"
    assert write_annotations(tmp_path / "list.json", annotated, clocks, rows) == 2
    uneven, even = json.loads((tmp_path / "list.json").read_text()).values()
    assert uneven["annotations"][0]["segment"] == pytest.approx([0.15, 0.35])  # frames 1.5 and 3.5 of ten a second
    assert even["annotations"][0]["segment"] == [0.55, 3.25]
    assert (uneven["duration_second"], uneven["duration_frame"], uneven["feature_frame"]) == (0.5, 5, 4)
    (back,) = on_the_clock(uneven["annotations"], UNEVEN, 5, 0.5)
    assert back["segment"] == pytest.approx([0.55, 3.25])
    assert write_annotations(tmp_path / "list.json", annotated, clocks, {"/b.mp4": rows["/b.mp4"]}) == 1


def test_proposal_files_count_frames_of_the_clock(tmp_path):
    annotated = [Annotated("a", VideoRecord("/x/a.mp4"), [{"segment": [0.55, 3.25], "label": "y"}])]
    proposals = {"/x/a.mp4": [{"segment": [0.5, 3.5], "score": 0.9}, {"segment": [0.1, 0.2], "score": 0.5}]}
    written = write_proposals(tmp_path / "list.txt", annotated, {"/x/a.mp4": UNEVEN}, proposals, ["x", "y"])
    ((video, num_frames, truths, found),) = load_localize_proposal_file(tmp_path / "list.txt")
    assert (written, video, num_frames) == (1, "/x/a.mp4", 5)
    assert truths == [["2", "2", "4"]] and [row[3:] for row in found] == [["1", "4"]]
    assert write_proposals(tmp_path / "list.txt", annotated, {}, proposals, ["x", "y"]) == 0


def test_clips_of_the_network_are_as_told(cached, recogniser, caplog):
    """By default as many features as the localizer has steps, of the median training video, at most 16 frames apart;
    and clips as long as those of the network."""
    kind = open_workdir(recogniser, {}).run
    data = dict(num_train=2, num_val=1, seed=5)
    splits = open_annotated(OwnData(**data))
    assert [len(videos) for videos in splits.values()] == [2, 1]
    assert splits["val"] != open_annotated(OwnData(num_train=2, num_val=1, seed=6))["val"]
    records = [video.record for video in splits["train"]]
    clocks = {record.path: Clock(num, 12.0) for record, num in zip(records, (200, 240), strict=True)}
    told = {}
    for name, more in {
        "default": {},
        "few steps": {"bmn.model.temporal_scale": 4},
        "told": {"data.interval": 20, "data.num_frames": 4, "data.what": "embedding", "data.window": 1.0},
    }.items():
        changes = {f"data.{key}": value for key, value in data.items()} | more
        told[name] = modes._extraction(open_config("bmn_own", changes).run, splits, clocks, kind)["extract"]
    seconds = clip_seconds(kind, kind.open_dataset().val)
    assert 1.4 < seconds < 3.4  # as the clips of the sample set
    common = {"what": "scores", "suffix": ".csv", "window": round(seconds * 12)}
    assert told == {
        "default": common | {"interval": 3},
        "few steps": common | {"interval": 16},
        "told": common | {"interval": 20, "what": "embedding", "num_frames": 4, "window": 12},
    }
    with pytest.raises(ValueError, match="none of the training videos can be read"):
        modes._extraction(open_config("bmn_own", {}).run, splits, {}, kind)
    lost = kind._replace(data={"name": "videos", "train": "gone.txt", "val": "gone.txt"})
    with caplog.at_level("WARNING", logger="actjax"):
        found = modes._extraction(open_config("bmn_own", {}).run, splits, clocks, lost)["extract"]
    assert "window" not in found and "set data.window=SECONDS" in caplog.text


@pytest.mark.parametrize("name", ["bmn_own", "bsn_own", "ssn_own", "ssn_own:r50"])
def test_recipes_build(name):
    run = actjax.build(name)
    assert run.localizer == name[:3] and run.data == OwnData() and "data" not in run.sections


def test_explain(recogniser, tmp_path, capsys):
    opened = open_config("bmn_own", {"data": tiny_runs.own(recogniser), "bmn": tiny_runs.BMN})
    run_mode("explain", opened, tmp_path / "run")
    printed = capsys.readouterr().out
    assert "bmn.model.feat_dim = 8" in printed and "training step of bmn" in printed and not (tmp_path / "run").exists()


TEM = dict(model=dict(temporal_scale=16, hidden_dim=16), run=dict(epochs=1.0, batch_size=8))
PEM = dict(model=dict(hidden_dim=16), run=dict(epochs=1.0, batch_size=8))


@pytest.mark.slow
def test_bsn_from_nothing(tmp_path, cached):
    """A recipe is trained, embeddings are extracted, both networks are trained; then new videos are localized."""
    workdir = tmp_path / "run"
    data = tiny_runs.own(recipe(tmp_path), what="embedding", interval=8, rescale="pooled")
    options = dict(data=data, tem=TEM, pem=PEM, pgm=dict(top_k=50, top_k_train=50))
    results = actjax.train("bsn_own", workdir, **options)
    assert saved_config(workdir).task == "bsn" and saved_config(workdir).data.rescale == "pooled"
    assert saved_config(workdir / "network").task == "recognition"
    expected = read_results(workdir / "results_proposals.json")
    assert 0 < results["AR@100"] <= 1 and len(expected) == 4
    made = {file: file.stat().st_mtime_ns for file in (workdir / "features").glob("*.csv")}
    again = actjax.train("bsn_own", workdir, **options)
    assert again["auc"] == results["auc"]
    assert made == {file: file.stat().st_mtime_ns for file in (workdir / "features").glob("*.csv")}
    longest = tiny_runs.facts(workdir)["longest_second"]
    videos = tiny_runs.videos_of_the_sample_set()
    found = {
        pathlib.Path(row["video"]).stem: row["segments"] for row in actjax.load(workdir).localize(f"{videos}/val_*")
    }
    short = [name for name in ("val_0000", "val_0003") if name in found]
    for name in short:
        given = [[(*row["segment"], row["score"]) for row in rows] for rows in (found[name], expected[name])]
        assert given[0] == given[1]
    assert len(short) == 2 and {*found} - {*short}
    tiny_runs.facts(workdir, longest_second=longest / 3)  # so that these are long
    found = actjax.load(workdir).localize(videos / "val_0001.mp4")
    spans = np.array([row["segment"] for row in found])
    assert spans[:, 0].min() >= 0 and spans[:, 1].max() > longest / 2 and (np.diff(spans) < longest / 2).all()


@pytest.mark.slow
def test_ssn_from_the_same_files(recogniser, tmp_path, cached):
    """Proposals by TAG; the run knows who made them."""
    network = tiny_runs.copied(recogniser, tmp_path / "network")
    config = json.loads((network / "config.json").read_text())
    config["localize"] |= dict(window=2.0, stride=0.5, threshold=0.2)
    (network / "config.json").write_text(json.dumps(config))
    workdir = tmp_path / "run"
    options = dict(data=tiny_runs.own(network), model=dict(width=8), sample=dict(test_interval=6))
    options["run"] = dict(epochs=1.0, batch_size=8)
    results = actjax.train("ssn_own", workdir, **options)
    assert saved_config(workdir).task == "ssn" and "mAP@0.50" in results
    assert actjax.load(workdir).class_names == json.loads((workdir / "class_names.json").read_text())
    listed = load_localize_proposal_file(workdir / "lists" / "val.txt")
    assert len(listed) == 4 and all(rows for *_, rows in listed)
    video = tiny_runs.videos_of_the_sample_set() / "val_0003.mp4"
    found = actjax.load(workdir).localize(video)
    assert found == actjax.load(workdir).localize(video, proposals=str(network)) != []
    assert {row["class"] for row in found} <= set(actjax.load(workdir).class_names)
    again = actjax.train("ssn_own", workdir, **options)
    assert again["mAP@0.50"] == results["mAP@0.50"]
