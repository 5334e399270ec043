"""`actjax.train`, `load`, `evaluate` and `build`: the command line from Python."""

import importlib
import json
import logging
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from cli import ROOT, environment, run

import actjax
from actjax.config.files import load_config
from actjax.tasks.opening import open_config
from actjax.video.decoding import open_video
from actjax.video.errors import VideoError

SMALL = dict(
    data=dict(num_train=64, num_val=40),
    run=dict(batch_size=8, epochs=1.0, log_every=1),
    model=dict(width=8),
    loader=dict(num_workers=1),
)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, cache):
    """A run that was trained from Python."""
    workdir = tmp_path_factory.mktemp("runs") / "small"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACTJAX_CACHE", str(cache))
        results = actjax.train("tsm_shapes", workdir, **SMALL)
    assert json.loads((workdir / "results.json").read_text())["top1_acc"] == results["top1_acc"]
    return workdir


@pytest.fixture(scope="module")
def trained(workdir):
    return actjax.load(str(workdir))


def test_a_run_from_python_is_a_run_of_the_command_line(workdir, trained, cache, media):
    names = {
        "checkpoints",
        "class_names.json",
        "config.json",
        "environment.json",
        "metrics.jsonl",
        "results.json",
        "train.log",
    }
    assert names <= {path.name for path in workdir.iterdir()}
    assert "step 8/8" in (workdir / "train.log").read_text()
    run("--mode=predict", f"--workdir={workdir}", f"--video={media}", cache=cache)
    rows = [json.loads(line) for line in (workdir / "predictions.jsonl").read_text().splitlines()]
    assert trained.predict(media) == rows and len(rows) > 2
    assert trained.predict(media / "test.mp4") in [row.get("predictions") for row in rows]


def test_predict_takes_videos_in_any_form(trained, media):
    path = media / "test.mp4"
    best = trained.predict(path)
    assert [row["score"] for row in best] == sorted((row["score"] for row in best), reverse=True) and len(best) == 5
    assert best[0]["class"] == trained.class_names[best[0]["label"]]
    video = open_video(path)
    frames = video.frames(np.arange(video.num_frames))
    for same in (str(path), path.read_bytes(), frames, bytearray(path.read_bytes())):
        assert trained.predict(same) == best
    assert len(trained.predict(path, topk=8)) == 8
    assert sum(row["score"] for row in trained.predict(path, topk=8)) == pytest.approx(1, abs=1e-5)
    rows = trained.predict([path, frames])
    assert [row["predictions"] for row in rows] == [best, best] and rows[0]["video"] == str(path)
    assert trained.predict([path])[0]["predictions"] == best and trained.predict([]) == []


def test_a_broken_file_is_a_row(trained, media, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_text("no video")
    (row,) = trained.predict(broken)
    assert row["video"] == str(broken) and "not a video file" in row["error"]
    assert trained.predict([broken]) == [row]
    rows = trained.predict([media / "test.mp4", broken, b"junk"])
    assert ["error" in row for row in rows] == [False, True, True]
    with pytest.raises(VideoError, match="not a video file"):
        trained.scores(broken)


def test_scores_and_features(trained, media):
    path = media / "test.mp4"
    scores = trained.scores(path)
    assert scores.shape == (8,) and scores.dtype == np.float32 and scores.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(trained.scores([path, path]), [scores, scores])
    assert trained.embed(path).shape == (64,) and trained.embed([path, path]).shape == (2, 64)
    clips = np.random.default_rng(0).integers(0, 255, (3, 8, 40, 40, 3), np.uint8)
    ready = trained.scores(clips)
    assert ready.shape == (3, 8)
    np.testing.assert_allclose(trained.scores(clips[:, None]), ready)
    assert trained.scores([]).shape == trained.scores(clips[:0]).shape == (0, 8) and trained.embed([]).shape == (0, 64)
    with pytest.raises(ValueError, match=r"clips are uint8 \(3, 0, 8, 40, 40, 3\)"):
        trained.scores(clips[:, None][:, :0])


@pytest.mark.parametrize(
    ("video", "error", "message"),
    [
        ("nowhere.mp4", FileNotFoundError, "nowhere.mp4 does not exist"),
        (3, TypeError, "a video is a path, a URL, bytes or frames"),
        (np.zeros((4, 8, 8, 3)), ValueError, r"frames are float64 \(4, 8, 8, 3\); expected uint8"),
        ([np.zeros((8, 8, 3), np.uint8)] * 4, ValueError, r"expected uint8 \[n, h, w, c\]; np.stack\(frames\) makes"),
        ((file for file in ["clip.mp4"]), TypeError, r"not generator; for several videos give a list, list\(videos\)"),
        ("", ValueError, "the path of the video is empty"),
        ("no://where.mp4", ValueError, "no://where.mp4: must be a local path, or .*https"),
        (np.zeros((0, 8, 8, 3), np.uint8), ValueError, "expected uint8"),
        (np.zeros((4, 8, 8, 1), np.uint8), ValueError, "frames have 1 channels; the clips of the network have 3"),
        (["clip.mp4", "nowhere.mp4"], FileNotFoundError, "clip.mp4 does not exist"),
    ],
)
def test_what_is_no_video(trained, video, error, message):
    with pytest.raises(error, match=message):
        trained.predict(video)
    with pytest.raises(ValueError, match=r"clips are uint8 \(1, 8, 8, 8, 3\); the network takes uint8"):
        trained.scores(np.zeros((1, 8, 8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match=r"clips are uint8 \(2, 0, 8, 40, 40, 3\); the network takes"):
        trained.scores(np.zeros((2, 0, 8, 40, 40, 3), np.uint8))


@pytest.mark.parametrize("topk", [0, -1, None, 2.5])
def test_how_many_classes(trained, media, topk):
    with pytest.raises(ValueError, match=f"topk={topk}; must be a whole number, 1 or more"):
        trained.predict(media / "test.mp4", topk=topk)


def test_folders_are_searched_by_suffix(trained, media, tmp_path, caplog):
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(FileNotFoundError, match="no file with the suffix of a video"):
        trained.predict(tmp_path)
    (tmp_path / "deeper").mkdir()
    for name in ("a.m4v", "b.TS", "c.txt", "deeper/d.MPG"):
        shutil.copy(media / "test.mp4", tmp_path / name)
    with caplog.at_level("WARNING", logger="actjax"):
        names = [pathlib.Path(row["video"]).name for row in trained.predict(tmp_path)]
    assert names == ["a.m4v", "b.TS", "d.MPG"] and "3 videos; left out: 1 .txt" in caplog.text
    assert [pathlib.Path(row["video"]).name for row in trained.predict(tmp_path / "*.m4v")] == ["a.m4v"]


def test_a_url_that_needs_a_package(trained, monkeypatch):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    for name in ("fsspec.implementations.http", "fsspec.implementations.http_sync"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    registry = importlib.import_module("fsspec.registry")
    monkeypatch.delitem(registry._registry, "https", raising=False)
    with pytest.raises(ValueError, match=r"https://a.b/c.mp4: .*aiohttp.*; pip install 'actjax\[remote\]'$"):
        trained.predict("https://a.b/c.mp4")


def test_a_loaded_run_tells_what_it_is_and_ends(workdir, media, monkeypatch, tmp_path):
    monkeypatch.chdir(workdir.parent)
    with actjax.load("small") as loaded:
        assert repr(loaded) == f"<TrainedRecogniser recognition: {workdir}, step 8, 8 classes>"
        monkeypatch.chdir(tmp_path)
        assert loaded.workdir == workdir
        loaded.predict(media / "test.mp4")
        assert loaded._predictor._readers is not None
    assert loaded._predictor._readers is None
    with pytest.raises(ValueError, match="task bmn: a checkpoint of another program cannot be loaded alone; import it"):
        actjax.load("bmn_sample", checkpoint="x.pth")


def test_evaluate_repeats_the_numbers(workdir, trained, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("ACTJAX_CACHE", str(cache))
    results = json.loads((workdir / "results.json").read_text())
    assert trained.evaluate()["top1_acc"] == results["top1_acc"]
    moved = actjax.load(shutil.copytree(workdir, tmp_path / "moved"))
    shutil.rmtree(tmp_path / "moved")
    with pytest.raises(FileNotFoundError, match="the run .*moved does not exist; load it again from where it is"):
        moved.evaluate()
    assert not (tmp_path / "moved").exists()
    again = actjax.evaluate(workdir, checkpoint="latest", protocol="eval", run=dict(eval_batch_size=16))
    assert again["top1_acc"] == results["top1_acc"] and again["step"] == 8
    with pytest.raises(ValueError, match="protocol='tests' is unknown; did you mean 'test'"):
        trained.evaluate(protocol="tests")
    assert json.loads((workdir / "results_eval.json").read_text())["top1_acc"] == results["top1_acc"]
    assert trained.config.run.epochs == 1.0 and trained.step == 8


def test_a_checkpoint_of_another_program(workdir, trained, cache, media, tmp_path, monkeypatch):
    monkeypatch.setenv("ACTJAX_CACHE", str(cache))
    run("--mode=export", f"--workdir={workdir}", f"--out={tmp_path}/x.pth", cache=cache)
    loaded = actjax.load("tsm_shapes", checkpoint=tmp_path / "x.pth", model=dict(width=8), data=SMALL["data"])
    assert loaded.predict(media / "test.mp4") == trained.predict(media / "test.mp4")
    assert loaded.class_names == trained.class_names and loaded.workdir is None
    with pytest.raises(ValueError, match="needs a workdir"):
        loaded.evaluate()


def test_names_of_classes_that_are_given_hold(workdir, media, tmp_path, cache, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [f"motion {k}" for k in range(8)]
    (tmp_path / "names.txt").write_text("\n".join(names))
    (tmp_path / "val.txt").write_text(f"{media}/test.mp4 0\n")
    data = dict(name="videos", train="val.txt", val="val.txt")
    for given in ("names.txt", names):
        loaded = actjax.load(workdir, data=data | dict(class_names=given))
        assert loaded.class_names == names and loaded.predict(media / "test.mp4")[0]["class"] in names
    flags = [f"--config.data.{key}={value}" for key, value in data.items()]
    flags += [f"--config.data.class_names={','.join(names)}", f"--video={media}/test.mp4"]
    run("--mode=predict", f"--workdir={workdir}", *flags, cache=cache)
    (row,) = map(json.loads, (workdir / "predictions.jsonl").read_text().splitlines())
    assert row["predictions"][0]["class"] in names
    with pytest.raises(ValueError, match="2 class names for a network with 8 classes; correct class_names.json"):
        actjax.load(workdir, data=data | dict(class_names=["a", "b"]))


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", '{"task": 1'])
def test_a_damaged_config_is_named(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match="config.json: not (a config: |the config of a run, which has a task)"):
        actjax.load(tmp_path)


def test_localization_has_no_classes_to_predict(tmp_path, monkeypatch):
    monkeypatch.setenv("ACTJAX_CACHE", str(tmp_path / "cache"))
    (tmp_path / "run").mkdir()
    config = load_config("bmn_sample").config
    (tmp_path / "run" / "config.json").write_text(config.to_json_best_effort())
    (tmp_path / "run" / "class_names.json").write_text("[]")
    with pytest.raises(AttributeError, match="runs of the task 'bmn' have no predict"):
        actjax.load(tmp_path / "run").predict("x.mp4")
    with pytest.raises(ValueError, match="cannot be loaded alone; import it with --mode=import"):
        actjax.load("bmn_sample", checkpoint=tmp_path / "x.pth")


def test_handlers_of_the_log_do_not_pile_up(workdir, trained, capsys, cache, monkeypatch):
    monkeypatch.setenv("ACTJAX_CACHE", str(cache))
    log = logging.getLogger("actjax")
    before = (log.handlers[:], log.level, log.propagate)
    for _ in range(2):
        actjax.train("tsm_shapes", workdir, **SMALL)
        assert (log.handlers, log.level, log.propagate) == before
    printed = capsys.readouterr().out
    assert printed.count("the run is complete at step 8") == 2


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda p: actjax.train("tsm_shape", p),
            ValueError,
            "recipe 'tsm_shape' is unknown; did you mean 'tsm_shapes'",
        ),
        (lambda p: actjax.train("tsm_shapes", p, run=dict(epocs=1)), ValueError, "config.run.'epocs' is unknown"),
        (lambda p: actjax.train("tsm_shapes", p, runs=dict(epochs=1)), ValueError, "config.'runs' is unknown; did you"),
        (lambda p: actjax.train(p / "mine.py", p), FileNotFoundError, "mine.py does not exist"),
        (
            lambda p: actjax.train({"task": "recognition"}, p),
            ValueError,
            "^config.data, config.model, .*, config.run are missing$",
        ),
        (lambda p: actjax.train({"task": "recogniser"}, p), ValueError, "config.task='recogniser' is unknown; did you"),
        (lambda p: actjax.train({"model": {"name": len}}, p), ValueError, "config.model.name: configs hold names"),
        (lambda p: actjax.build("tsm_shapes", model={"name": "TSMM"}), ValueError, "model.name='TSMM' is unknown"),
        (lambda p: actjax.load(p / "no"), FileNotFoundError, "no folder of a run; .* checkpoint=FILE"),
        (lambda p: actjax.load(p), FileNotFoundError, "no .*config.json"),
        (lambda p: actjax.train({"task": ["bsn"]}, p), ValueError, "config.task=.*'bsn'.* is unknown"),
        (lambda p: actjax.train("tsm_shapes", "/dev/null"), FileExistsError, "/dev/null is not a folder"),
        (lambda p: actjax.train("tsm_shapes", p, model={"name": "builtins:dict"}), ValueError, "builtins:dict"),
        (lambda p: actjax.train("tsm_shapes", p, train={"view": {"name": ".evil:x"}}), ValueError, "'.evil:x'"),
        (lambda p: actjax.load("tsm_shapes", checkpoint=p / "x.pth"), FileNotFoundError, "x.pth"),
    ],
)
def test_faults_are_ordinary_exceptions(tmp_path, call, error, message):
    with pytest.raises(error, match=message):
        call(tmp_path)
    assert not list(tmp_path.iterdir())


def test_lists_that_cannot_be_read_stop_the_run_before_it_compiles(tmp_path):
    (tmp_path / "list.txt").write_text("no.mp4 0\n")
    config = load_config("tsm_shapes").config
    for name, error, message in (
        ("", ValueError, "is a folder, not an annotation file"),
        ("list.txt", FileNotFoundError, "1 of 1 files do not exist: '.*/no.mp4'; .*; relative paths"),
    ):
        config.data = dict(name="videos", train=str(tmp_path / name), val=str(tmp_path / name))
        with pytest.raises(error, match=message):
            actjax.train(config, tmp_path / "run")


def test_an_interrupted_call_goes_on_where_it_stopped(tmp_path, cache, monkeypatch):
    monkeypatch.setenv("ACTJAX_CACHE", str(cache))
    numbers = SMALL | dict(run=SMALL["run"] | dict(epochs=40.0, save_every=1000))
    log = tmp_path / "run" / "metrics.jsonl"

    def interrupt() -> None:
        while not (log.exists() and '"step": 3,' in log.read_text()):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    with pytest.raises(KeyboardInterrupt, match="saved step [0-9]+; the same call resumes from it"):
        actjax.train("tsm_shapes", tmp_path / "run", **numbers)
    (saved,) = (int(path.name) for path in (tmp_path / "run" / "checkpoints").iterdir() if path.name.isdigit())
    actjax.train("tsm_shapes", tmp_path / "run", **numbers | dict(run=numbers["run"] | dict(epochs=(saved + 1) / 8)))
    steps = [row["step"] for row in map(json.loads, log.read_text().splitlines()) if "loss" in row]
    assert steps == list(range(1, saved + 2))


SCRIPT = """
import actjax

results = actjax.train("tsm_shapes", {workdir!r}, **{small!r})
trained = actjax.load({workdir!r})
print(trained.predict({video!r})[0]["class"] in trained.class_names, results["num_videos"])
"""


def test_a_run_and_its_saved_config_without_the_code(workdir, tmp_path, cache, monkeypatch):
    """A saved config that lost the names of own functions brings no code; a folder with links is not written to."""
    monkeypatch.setenv("ACTJAX_CACHE", str(cache))
    saved = load_config(json.loads((workdir / "config.json").read_text())).config
    saved.code = "0123456789abcdef"
    assert "code" not in open_config(saved, {}).config
    strange = tmp_path / "strange"
    shutil.copytree(workdir, strange)
    (strange / "notes.txt").symlink_to(tmp_path / "precious")
    with pytest.raises(ValueError, match="notes.txt is a symbolic link to .*precious; replace it by a copy"):
        actjax.load(strange)
    with pytest.raises(ValueError, match="trust_code='no'; must be True or False"):
        actjax.load(workdir, trust_code="no")


@pytest.mark.parametrize("how", ["file", "standard input"])
def test_scripts_without_a_guard(tmp_path, cache, media, how):
    """Reader processes do not run the script again."""
    workdir, video = str(tmp_path / "run"), str(media / "test.mp4")
    script = SCRIPT.format(workdir=workdir, video=video, small=SMALL | dict(loader=dict(num_workers=2)))
    file = tmp_path / "script.py"
    file.write_text(script)
    done = subprocess.run(
        [sys.executable, str(file) if how == "file" else "-"], input=None if how == "file" else script, text=True,
        env=environment(cache) | {"PYTHONPATH": str(ROOT)}, cwd=tmp_path, capture_output=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "True 40", done.stdout + done.stderr


def test_the_face_is_light_and_no_module_hides_a_function():
    code = "import sys, actjax; print(sorted({'jax', 'numpy', 'absl', 'flax'} & set(sys.modules)), dir(actjax))"
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True, timeout=60)
    assert done.stdout.startswith("[] ") and all(f"'{name}'" in done.stdout for name in actjax.__all__)
    package = pathlib.Path(actjax.__file__).parent
    for name in actjax.__all__:
        assert not (package / f"{name}.py").exists() and not (package / name).exists()
        assert callable(getattr(actjax, name))
