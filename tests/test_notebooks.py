"""The notebooks: stored clean, their configs those of the repository, and each runs from its first cell to its last."""

import importlib.util
import json
import re
import runpy
import subprocess
import sys
from importlib.machinery import PathFinder

import nbformat
import pytest
from cli import ROOT, environment

from actjax.config import plain

FOLDER = ROOT / "experiments" / "notebooks"
NAMES = sorted(file.stem for file in FOLDER.glob("*.ipynb"))
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def source(name: str, cell: str) -> str:
    cells = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4).cells
    return next(each.source for each in cells if each.id == cell)


def test_there_are_four():
    assert NAMES == ["bsn", "metrics", "own_videos", "tsm"]


@pytest.mark.parametrize("name", NAMES)
def test_stored_without_outputs(name):
    notebook = json.loads((FOLDER / f"{name}.ipynb").read_text())
    nbformat.validate(notebook)
    assert notebook["metadata"] == METADATA
    for cell in notebook["cells"]:
        tagged = {"tags": ["parameters"]} if cell["id"] == "parameters" else {}
        assert cell["metadata"] == tagged, cell["id"]
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None, cell["id"]


@pytest.mark.parametrize("name", NAMES)
def test_installs_from_a_clone_or_the_registry(name, monkeypatch, tmp_path):
    """From the clone that it lies in or that lies beside it, never with -e, which that clone's folder would hide."""
    clone, commands = tmp_path / "clone" / "actjax", []
    (clone / "actjax").mkdir(parents=True)
    (clone / "actjax" / "main.py").touch()
    monkeypatch.setattr(subprocess, "run", lambda command, check: commands.append(command))
    code = source(name, "install")
    exec(code, {})  # it is there
    namespace = PathFinder.find_spec("actjax", [str(clone.parent)])
    for folder, spec in ((FOLDER, None), (clone.parent, namespace), (tmp_path, None)):
        monkeypatch.setattr(importlib.util, "find_spec", lambda package, spec=spec: spec)
        monkeypatch.chdir(folder)
        exec(code, {})
    install = [sys.executable, "-m", "pip", "install", "--quiet"]
    assert commands == [[*install, f"{source}[plots]"] for source in (ROOT, clone, "actjax")]


@pytest.mark.parametrize(("name", "config"), [("tsm", "tsm_shapes"), ("bsn", "bsn_sample")])
def test_config_is_the_repositorys(name, config):
    written = {}
    for cell in ("parameters", "config"):
        exec(source(name, cell), written)
    stored = runpy.run_path(str(ROOT / "configs" / f"{config}.py"))["get_config"]()
    assert plain(written["config"]) == plain(stored)


@pytest.fixture
def execute(monkeypatch, tmp_path):
    """(notebook, parameters) -> what it printed, and the cells that drew a picture; fails where a cell does."""
    import papermill

    variables = environment(tmp_path / "cache") | {
        "PYTHONPATH": str(ROOT),
        "IPYTHONDIR": str(tmp_path / "ipython"),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    def run(name: str, **parameters) -> tuple[str, set[str]]:
        path = str(FOLDER / f"{name}.ipynb")
        assert parameters.keys() <= papermill.inspect_notebook(path).keys()
        options = dict(kernel_name="python3", cwd=str(tmp_path), execution_timeout=300, progress_bar=False)
        done = papermill.execute_notebook(path, str(tmp_path / "done.ipynb"), parameters, **options)
        outputs = [(cell.id, output) for cell in done.cells for output in cell.get("outputs", ())]
        text = "".join(output.get("text") or output.get("data", {}).get("text/plain", "") for _, output in outputs)
        assert "Traceback" not in text and "\nerror: " not in text, text
        return text, {cell for cell, output in outputs if "image/png" in output.get("data", {})}

    return run


def rows(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_metrics(execute, tmp_path):
    from actjax.metrics import evaluate_detections, load_activitynet, load_results

    text, pictures = execute("metrics", NUM_VIDEOS=40)
    assert pictures == {"proposals", "detections", "fusion"}
    assert "of what training needs: nothing" in text
    truth, found = (tmp_path / "runs" / "metrics" / name for name in ("annotations.json", "sharp.json"))
    score = evaluate_detections(load_activitynet(truth), load_results(found))
    assert f"{score.average_mAP:.4f}" in text and "mean_class_accuracy" in text  # of both commands


@pytest.mark.slow
def test_tsm(execute, tmp_path):
    text, pictures = execute("tsm", NUM_TRAIN=16, NUM_VAL=16, EPOCHS=2.0, WIDTH=8)
    assert pictures == {"data", "curves", "order", "doubts"}
    (validation,) = [row for row in rows(tmp_path / "runs" / "tsm" / "metrics.jsonl") if row["split"] == "val"]
    assert validation["num_videos"] == 16
    assert f"as it is: top-1 {validation['top1_acc']:.4f}" in text  # the restored network on the same clips
    assert "backwards: top-1" in text and "shuffled: top-1" in text


@pytest.mark.slow
def test_own_videos(execute, tmp_path):
    text, pictures = execute("own_videos", NUM_CLIPS=8, NUM_BASE=8, EPOCHS=2.0, BASE_EPOCHS=2.0, WIDTH=8)
    workdir = tmp_path / "runs" / "own_videos"
    assert pictures == {"tune", "predict"}
    (broken,) = rows(workdir / "check" / "broken.jsonl")
    assert broken["path"].endswith("moving up/download.mp4")
    assert "base.safetensors: 62 tensors in the layout of MMAction2" in (workdir / "tuned" / "train.log").read_text()
    for run in ("base", "tuned", "scratch"):
        results = json.loads((workdir / run / "results.json").read_text())
        assert results["num_videos"] == 8 and results["num_broken"] == 0
    classes = ["moving down", "moving left", "moving right", "moving up"]
    answers = re.findall(r"(moving \w+), train_.*\.mp4 -> (.*)$", text, re.M)
    assert [name for name, _ in answers] == classes and {answer for _, answer in answers} <= {*classes}


@pytest.mark.slow
def test_bsn(execute, tmp_path):
    text, pictures = execute("bsn", NUM_TRAIN=32, NUM_VAL=16, TEM_EPOCHS=1.0, PEM_EPOCHS=1.0)
    assert pictures == {"recall", "timeline"}
    results = json.loads((tmp_path / "runs" / "bsn" / "results.json").read_text())
    assert results["num_videos"] == 16 and results["AR@100"] > 0.2
    assert f"find {results['AR@100']:.1%} of the actions" in text


@pytest.mark.slow
def test_the_stop_button_saves_a_step(tmp_path, cache, monkeypatch):
    from jupyter_client.manager import start_new_kernel

    for name, value in environment(cache).items():
        monkeypatch.setenv(name, value)
    sizes = "data=dict(num_train=64, num_val=40), model=dict(width=8), run=dict(epochs=99.0, batch_size=8, log_every=1)"
    code = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
import actjax
try:
    actjax.train("tsm_shapes", {str(tmp_path / "run")!r}, {sizes})
except KeyboardInterrupt as stopped:
    print("stopped:", stopped)
"""
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(tmp_path))
    printed = []

    def show(message) -> None:
        printed.append(message["content"].get("text", ""))
        if "step 3/792" in printed[-1]:
            manager.interrupt_kernel()

    try:
        client.execute_interactive(code, timeout=200, output_hook=show)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    (step,) = re.findall(r"^stopped: saved step (\d+); the same call resumes from it$", "".join(printed), re.M)
    assert (tmp_path / "run" / "checkpoints" / step).is_dir()
