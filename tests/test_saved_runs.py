"""Runs made at commit 0a25df0 go on: they are evaluated, predicted from and trained on as they were there.

`golden/saved_runs/make.py` made them, and holds the command lines.
"""

import functools
import gzip
import json
import runpy
import shutil
import tarfile

import numpy as np
import pytest
from cli import run
from conftest import GOLDEN

from actjax.config import of_a_run
from actjax.tasks import build
from actjax.tasks.ssn.config import READERS
from actjax.tasks.stage_folder import StageFolder

FOLDER = GOLDEN / "saved_runs"
MADE = runpy.run_path(str(FOLDER / "make.py"))
AFTER = json.loads((FOLDER / "after.json").read_text())
PYAV = {  # what a config names today; those of the runs name decord
    "recognition": [f"--config.{section}.backend=pyav" for section in ("train", "eval", "test")],
    "bsn": [],
    "ssn": ["--config.sample.backend=pyav"],
}


def close(expected):
    """Numbers at any depth that may differ by the rounding of another machine."""
    if isinstance(expected, dict):
        return {key: close(value) for key, value in expected.items()}
    return pytest.approx(expected, rel=1e-4, abs=1e-6) if isinstance(expected, float | list) else expected


@pytest.fixture
def saved(tmp_path):
    """(name) -> the folder of that run."""

    def unpack(name: str):
        with tarfile.open(FOLDER / f"{name}.tar.gz") as archive:
            archive.extractall(tmp_path, filter="data")
        return tmp_path / name

    return unpack


def load(file) -> dict:
    return json.loads(file.read_text())


def arrays(file) -> dict:
    with np.load(file) as content:
        return dict(content)


def reported(results: dict) -> dict:
    """What is reported today: no top-5 accuracy, which is always 1 for fewer than five classes."""
    return {name: value for name, value in results.items() if name != "top5_acc"}


def trained_on(name: str, workdir, cache) -> str:
    """Trains a run for more epochs, and compares losses and results with those of that commit."""
    output = run(MADE["config"](name), f"--workdir={workdir}", *PYAV[name], *MADE["GO_ON"][name], cache=cache)
    assert MADE["losses"](workdir) == close(AFTER[name]["losses"])
    results, before = MADE["results"](workdir), reported(AFTER[name]["results"])
    assert {key: results[key] for key in before} == close(before)
    return output


def evaluated(workdir, cache, **options) -> str:
    """Evaluates a run by its own config, and compares the results with those of that commit."""
    before = reported(MADE["results"](workdir, "results_eval"))
    (workdir / "results_eval.json").unlink()
    output = run("--mode=eval", f"--workdir={workdir}", cache=cache, **options)
    assert MADE["results"](workdir, "results_eval") == close(before)
    return output


def test_recognition_is_evaluated_and_predicted_from(saved, cache):
    workdir = saved("recognition")
    scores, before = arrays(workdir / "scores.npz"), load(workdir / "predictions.jsonl")
    evaluated(workdir, cache)
    again = arrays(workdir / "scores.npz")
    assert list(again["name"]) == list(scores["name"]) and list(again["label"]) == list(scores["label"])
    np.testing.assert_allclose(again["scores"], scores["scores"], rtol=1e-4)
    run("--mode=predict", f"--workdir={workdir}", f"--video={MADE['CLIP']}", cache=cache)
    after = load(workdir / "predictions.jsonl")
    assert after["video"] == before["video"]
    assert after["predictions"] == [close(best) for best in before["predictions"]]


def test_recognition_is_trained_on(saved, cache):
    workdir = saved("recognition")
    assert "steps 5 to 8" in trained_on("recognition", workdir, cache)


def test_bsn_is_evaluated_and_nothing_finished_is_repeated(saved, cache):
    workdir = saved("bsn")
    finished = [file for stage in ("tem", "pgm", "pem") for file in (workdir / stage).rglob("*") if file.is_file()]
    times = {file: file.stat().st_mtime_ns for file in finished if file.name != "stage.json"}
    before = load(workdir / "results_eval_proposals.json")["results"]
    evaluated(workdir, cache)
    after = load(workdir / "results_eval_proposals.json")["results"]
    assert {video: [[*row["segment"], row["score"]] for row in rows] for video, rows in after.items()} == {
        video: [close([*row["segment"], row["score"]]) for row in rows] for video, rows in before.items()
    }
    output = run(MADE["config"]("bsn"), f"--workdir={workdir}", cache=cache)
    for words in ("tem: training is complete", "tem: the curves are complete", "split val are complete",
                  "pem: training is complete", "pem: the proposals are complete"):  # fmt: skip
        assert words in output
    assert {file: file.stat().st_mtime_ns for file in times} == times and not list(workdir.glob("*.old*"))


def test_bsn_is_trained_on(saved, cache):
    """PEM anew, since its epochs decide over its stage; TEM and the proposals stay."""
    workdir = saved("bsn")
    output = trained_on("bsn", workdir, cache)
    for words in ("tem: training is complete", "tem: the curves are complete", "split val are complete"):
        assert words in output
    assert sorted(path.name for path in workdir.glob("*.old*")) == ["config.json.old", "pem.old"]


def test_a_stage_of_bsn_that_was_stopped_goes_on(saved, cache):
    """PEM from its checkpoint in the middle: losses and results are those of the run in one go."""
    workdir = saved("bsn")
    losses, results = MADE["losses"](workdir)["pem"], MADE["results"](workdir)
    shutil.rmtree(workdir / "pem" / "checkpoints" / "4")
    stage = workdir / "pem" / "stage.json"
    stage.write_text(json.dumps(load(stage) | {"done": []}))
    assert "steps 3 to 4" in run(MADE["config"]("bsn"), f"--workdir={workdir}", cache=cache)
    assert MADE["losses"](workdir)["pem"] == close(losses) and not list(workdir.glob("*.old*"))
    assert MADE["results"](workdir) == close(results)


def test_ssn_is_evaluated_and_its_scores_are_used_again(saved, cache):
    """One video's scores are removed and come again; the other's stay, though the decord that read it is missing."""
    workdir = saved("ssn")
    first, second = sorted((workdir / "scores" / "step_2").glob("*.npz"))
    before, time = arrays(first), second.stat().st_mtime_ns
    first.unlink()
    output = evaluated(workdir, cache, hidden="decord")
    assert "Summary(done=1, before=1, broken=0)" in output and not list(workdir.rglob("*.old*"))
    assert second.stat().st_mtime_ns == time
    after = arrays(first)
    assert after.keys() == before.keys()
    for name, values in before.items():
        np.testing.assert_allclose(after[name], values, rtol=1e-4, atol=1e-5)


def test_ssn_is_trained_on(saved, cache):
    workdir = saved("ssn")
    assert "steps 3 to 4" in trained_on("ssn", workdir, cache)


def test_states_are_laid_out_as_then():
    """Orbax refuses a state with other names: those of published recipes, with all that `State` may hold."""
    then = json.loads(gzip.decompress((FOLDER / "states.json.gz").read_bytes()))

    def networks(config) -> dict:
        made = build(config)
        stages = {name: stage.network for name, stage in made.networks.items()} if hasattr(made, "networks") else {}
        return {name: (n.task, n.optimizer, n.settings) for name, n in (stages or {"": made.network}).items()}

    assert MADE["states"](networks) == then
    leaves = then[next(iter(then))]
    assert {key.split("'")[1] for key in leaves} == {"step", "variables", "opt_state", "key", "loss_scale", "ema"}


DEFAULTS = [  # a key that the saved runs leave out or have like this, another value
    ("bsn", "data.rescale", "linear", "nearest"),
    ("bsn", "tem.checkpoint", "latest", "best"),
    ("bsn", "tem.model.dtype", "float32", "bfloat16"),
    ("bsn", "tem.labels", {"boundary_ratio": 0.1}, {"boundary_ratio": 0.2}),
    ("bsn", "tem.loss", {}, {"action_weight": 1.0}),
    ("bsn", "tem.optim.betas", (0.9, 0.999), (0.9, 0.99)),
    ("bsn", "tem.optim.warmup_ratio", 0.1, 0.2),
    ("bsn", "tem.run.ema", None, 0.9),
    ("bsn", "tem.load_from", None, {"path": "tem.pth"}),
    ("bsn", "pgm.num_sample_interp", 3, 4),
    ("bsn", "pem.loss.high", 0.6, 0.7),
    ("ssn", "data.filter_gt", True, False),
    ("ssn", "sample.fused", True, False),
    ("ssn", "sample.backend", "decord", "opencv"),  # a saved run has PyAV behind either
    ("ssn", "model.shift_place", "blockres", "block"),
    ("ssn", "train.video_centric", True, False),
    ("ssn", "test.chunk", 16, 8),
    ("ssn", "assigner.positive_iou_threshold", 0.7, 0.8),
]


def config_of(name: str, key: str = "", value=None) -> dict:
    config = runpy.run_path(str(FOLDER / f"{name}.py"))["get_config"]().to_dict()
    if key:
        *sections, last = key.split(".")
        functools.reduce(dict.__getitem__, sections, config)[last] = value
    return config


def cache_of(config, workdir) -> StageFolder:
    """The last stage of a run; ValueError where it was made by another config."""
    made = build(of_a_run(config))
    if config["task"] == "bsn":
        return made.folder("pem", workdir, mend=False)
    return StageFolder(workdir / "scores", "step_2", made.scored_by, mend=False, readers=READERS)


@pytest.mark.parametrize(("name", "key", "default", "other"), DEFAULTS)
def test_a_new_key_with_its_default_retrains_nothing(name, key, default, other, saved):
    workdir = saved(name)
    known = cache_of(config_of(name, key, default), workdir)
    assert known.done == (["train", "infer"] if name == "bsn" else [])
    with pytest.raises(ValueError, match=rf"was made with another config: {key}(\.\w+)? was"):
        cache_of(config_of(name, key, other), workdir)
    known.save()  # as it is written today, with every default
    assert cache_of(config_of(name), workdir).done == known.done
    with pytest.raises(ValueError, match=rf"was made with another config: {key}(\.\w+)? was"):
        cache_of(config_of(name, key, other), workdir)


def test_a_key_that_is_known_no_more_retrains(saved):
    workdir = saved("bsn")
    stage = workdir / "pem" / "stage.json"
    known = load(stage)
    known["config"]["tem"]["model"]["layers"] = 2
    stage.write_text(json.dumps(known))
    with pytest.raises(ValueError, match="was made with another config: tem.model.layers was 2, is not set"):
        cache_of(config_of("bsn"), workdir)
