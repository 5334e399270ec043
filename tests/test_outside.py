"""A package of somebody else's parts, in runs that nobody edited actjax for: trained, resumed, used, exported."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from cli import ROOT, environment, run

from actjax.interop.importing import read_tensors

OUTSIDE = ROOT / "tests" / "outside"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, cache):
    """A run with two reader processes that was stopped half-way and resumed; its sources are gone by then."""
    sources = tmp_path_factory.mktemp("theirs") / "sources"
    shutil.copytree(OUTSIDE, sources)
    workdir = tmp_path_factory.mktemp("runs") / "own"
    arguments = (f"--config={sources}/own_config.py", f"--workdir={workdir}")
    first = run(*arguments, "--config.run.epochs=1.0", cache=cache)
    second = run(*arguments, cache=cache)
    shutil.rmtree(sources)
    return workdir, first, second


def test_it_trains_and_resumes(trained):
    workdir, first, second = trained
    assert "step 8/8" in first and "step 9/16" in second and "step 8/16" not in second
    assert "slow" in second  # the group of the rules
    results = json.loads((workdir / "results.json").read_text())
    assert 0 < results["sure/confidence"] < 1 and results["sure/top1_acc"] == results["top1_acc"]
    config = json.loads((workdir / "config.json").read_text())
    (copy,) = (workdir / "code").iterdir()
    assert config["code"] == copy.name and config["model"]["name"] == "motion.nets:Tiny"
    files = sorted(str(path.relative_to(copy)) for path in copy.rglob("*.py"))
    parts = ("__init__", "clips", "data", "grid", "learning", "nets")
    assert files == ["base_config.py", *(f"motion/{name}.py" for name in parts), "own_config.py"]


def test_it_is_evaluated_and_used_from_any_folder(trained, cache, media, tmp_path):
    """Without `--config`, and without the files that it was made from."""
    workdir, *_ = trained
    run("--mode=eval", f"--workdir={workdir}", "--checkpoint=latest", cache=cache)
    results = [json.loads((workdir / f"{name}.json").read_text()) for name in ("results", "results_eval")]
    assert results[0]["top1_acc"] == results[1]["top1_acc"] and results[1]["num_videos"] == 40
    run("--mode=predict", f"--workdir={workdir}", f"--video={media / 'test.mp4'}", cache=cache)
    (row,) = map(json.loads, (workdir / "predictions.jsonl").read_text().splitlines())
    assert len(row["predictions"]) == 5
    # The current folder is on the path of this script and of its reader processes, behind the run's copy.
    (tmp_path / "motion").mkdir()
    (tmp_path / "motion" / "__init__.py").write_text("raise RuntimeError('imported')")
    script = f"import actjax; print(actjax.load({str(workdir)!r}).predict({str(media / 'test.mp4')!r}))"
    done = subprocess.run(
        [sys.executable, "-"], input=script, env=environment(cache) | {"PYTHONPATH": str(ROOT)}, cwd=tmp_path,
        text=True, capture_output=True, timeout=300,
    )  # fmt: skip
    assert done.stdout.strip() == str(row["predictions"]), done.stderr


def test_it_is_exported_and_imported(trained, cache, tmp_path):
    workdir, *_ = trained
    run("--mode=export", f"--workdir={workdir}", f"--out={tmp_path}/own.safetensors", cache=cache)
    tensors = read_tensors(tmp_path / "own.safetensors")
    assert tensors["first.weight"].shape[0] == 12 and "norm.running_mean" in tensors
    again = tmp_path / "again"
    arguments = (f"--config={OUTSIDE}/own_config.py", f"--workdir={again}", f"--from={tmp_path}/own.safetensors")
    run("--mode=import", *arguments, cache=cache)
    run("--mode=export", f"--workdir={again}", f"--out={tmp_path}/again.safetensors", cache=cache)
    second = read_tensors(tmp_path / "again.safetensors")
    assert tensors.keys() == second.keys()
    for name, value in tensors.items():
        np.testing.assert_array_equal(value, second[name])


def test_a_copy_from_elsewhere_runs_nothing_before_it_is_trusted(trained, cache, media, tmp_path):
    """Another user has another cache, in which the code is not remembered."""
    theirs = tmp_path / "theirs"
    shutil.copytree(trained[0], theirs)
    ran = tmp_path / "ran"
    (code,) = (theirs / "code").iterdir()
    for file in code.rglob("*.py"):
        file.write_text(f"import pathlib\npathlib.Path({str(ran)!r}).touch()\n{file.read_text()}")
    for mode in (["--mode=eval"], ["--mode=predict", f"--video={media / 'test.mp4'}"], ["--mode=train"]):
        output = run(*mode, f"--workdir={theirs}", cache=cache, status=1)
        assert output.startswith("error: ") and len(output.splitlines()) == 1
        assert "motion/nets.py" in output and "--trust_code" in output and not ran.exists()
    run("--mode=predict", f"--video={media / 'test.mp4'}", f"--workdir={theirs}", "--trust_code", cache=cache)
    assert ran.exists() and (theirs / "predictions.jsonl").exists()


def test_a_backbone_with_the_shift(cache, tmp_path):
    """In a recogniser of ours; the shift of an own backbone changes what it computes."""
    arguments = (f"--config={OUTSIDE}/base_config.py", "--config.run.epochs=0.5", "--config.run.seed=1")
    run(*arguments, f"--workdir={tmp_path}/tsm", cache=cache)
    output = run(*arguments, "--config.model.name=TSN", f"--workdir={tmp_path}/tsn", cache=cache)
    losses = []
    for name in ("tsm", "tsn"):
        rows = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        losses.append([row["loss"] for row in rows if "loss" in row])
    assert losses[0] != losses[1] and "Traceback" not in output
