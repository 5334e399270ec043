"""A run cannot be ruined: however it is stopped or mistaken, what was saved stays, and the run goes on."""

import asyncio
import contextlib
import gc
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from cli import ROOT, SMALL, command, environment, run

import actjax
from actjax import locking
from actjax.data.datasets.records import VideoRecord
from actjax.errors import StorageError
from actjax.tasks.loading import digest_of
from actjax.training import restoring
from actjax.workdir import saved_results
from actjax.writable import check_writable

SMALL = (*SMALL, "--config.run.keep=3", "--config.run.save_every=6")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, cache) -> pathlib.Path:
    """A run of 16 steps, left alone."""
    workdir = tmp_path_factory.mktemp("trained") / "run"
    run(*SMALL, f"--workdir={workdir}", cache=cache)
    return workdir


def copied(trained: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(trained, tmp_path / "run"))


def files_of(folder: pathlib.Path, *, but: tuple[str, ...] = ("train.log", ".lock")) -> dict[str, bytes]:
    files = {path for path in folder.rglob("*") if path.is_file() and path.name not in but}
    return {str(path): path.read_bytes() for path in sorted(files)}


def last_step(workdir: pathlib.Path) -> int:
    path = workdir / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return max((json.loads(line)["step"] for line in lines if line.endswith("}")), default=0)


def stopped(arguments: list[str], by: signal.Signals, at: int, *, cwd: pathlib.Path, cache) -> tuple[int, str]:
    """Starts a run and sends it a signal once step `at` is reported -> its status and what it printed."""
    found = lambda: max([0, *(last_step(path.parent) for path in cwd.rglob("metrics.jsonl"))])
    process = subprocess.Popen(
        arguments, cwd=cwd, env=environment(cache) | {"PYTHONPATH": str(ROOT)},
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        end = time.monotonic() + 200
        while found() < at and process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(by)
        output = process.communicate(timeout=120)[0]
    finally:
        process.kill()
    return process.returncode, output


@pytest.mark.slow
def test_every_way_of_stopping_goes_on(trained, tmp_path, cache):
    """Ctrl-C, SIGTERM, SIGKILL: the printed command goes on, with other numbers of workers, too, and the end is that of
    the run that was left alone, bit for bit."""
    status, output = stopped(command(*SMALL), signal.SIGINT, 2, cwd=tmp_path, cache=cache)
    assert status == 75, output
    (told,) = re.findall("to resume: (.*)", output)
    assert told.startswith("python -m actjax.main --config=tsm_shapes") and "--workdir=runs/tsm_shapes-" in told
    again = [sys.executable, *shlex.split(told)[1:]]
    workdir = next((tmp_path / "runs").iterdir())
    saved = restoring.steps(workdir / "checkpoints")[-1]
    assert f"saved step {saved}" in output and "Traceback" not in output
    for by, more, workers, expected in (
        (signal.SIGTERM, 2, 1, 75),
        (signal.SIGKILL, 5, 0, -9),
        (signal.SIGKILL, 8, 2, -9),
    ):
        worked = [*again, f"--config.loader.num_workers={workers}"]
        status, output = stopped(worked, by, saved + more, cwd=tmp_path, cache=cache)
        assert status == expected and "Traceback" not in output, output
    done = subprocess.run(
        again, cwd=tmp_path, env=environment(cache) | {"PYTHONPATH": str(ROOT)}, timeout=200, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert not list((tmp_path / "runs").glob("*/checkpoints.damaged"))
    ours, theirs = (saved_results(folder, "results") for folder in (workdir, trained))
    ours.pop("seconds"), theirs.pop("seconds")
    assert ours == theirs
    whole, killed = final_arrays(trained), final_arrays(workdir)
    assert len(whole) == len(killed) > 50
    for a, b in zip(whole, killed, strict=True):
        np.testing.assert_array_equal(a, b)


def final_arrays(workdir: pathlib.Path) -> list[np.ndarray]:
    """All of the last checkpoint, read back by Orbax alone."""
    import jax
    import orbax.checkpoint as ocp

    with ocp.CheckpointManager(workdir / "checkpoints") as manager:
        state = manager.restore(manager.latest_step(), args=ocp.args.StandardRestore())
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state)]


def test_a_complete_run_says_so_and_stays(trained, tmp_path, cache):
    workdir = copied(trained, tmp_path)
    before = files_of(workdir)
    output = run(*SMALL, f"--workdir={workdir}", "--config.optim.lr=0.5", cache=cache)
    assert "the run is complete at step 16; nothing is left to train" in output
    assert "ignored changes: optim.lr was 0.1, is 0.5. To train further, raise run.epochs" in output
    assert "top1_acc" in output and "best, step" in output
    assert files_of(workdir) == before
    for content in ("[]", '{"step": 16, "best": {"step": 9}}'):  # they are made again
        (workdir / "results.json").write_text(content)
        run(*SMALL, f"--workdir={workdir}", cache=cache)
        assert saved_results(workdir, "results")["best"] == saved_results(trained, "results")["best"]


def test_labels_of_another_meaning_are_told(trained, tmp_path, cache):
    """The classes of a data set stand in another order than when the run was trained."""
    workdir = copied(trained, tmp_path)
    names = json.loads((workdir / "class_names.json").read_text())
    (workdir / "class_names.json").write_text(json.dumps(names[::-1]))
    for mode in (["--mode=eval"], SMALL):
        output = run(*mode, f"--workdir={workdir}", cache=cache)
        assert f"class_names.json: class 0 was {names[-1]!r}, is {names[0]!r}" in output


def test_a_mistaken_config_changes_nothing(trained, tmp_path, cache, monkeypatch):
    """One line with key, old and new value; after it the run still predicts."""
    monkeypatch.setenv("ACTJAX_CACHE", str(cache))
    workdir, video = copied(trained, tmp_path), f"--video={ROOT / 'tests/media/test.mp4'}"
    before = files_of(workdir)
    changes = {"data.num_train": 64, "data.num_val": 40, "model.width": 8, "run.batch_size": 8, "run.epochs": 3.0}
    for more, words in (
        ({"model.width": 16}, "model.width was 8, is 16"),
        ({"optim.name": "adam"}, "optim.name was 'sgd', is 'adam'"),
        ({"run.ema": 0.9}, "run.ema was not set, is 0.9"),
        ({"run.epochs": 2.0, "model.width": 16}, "model.width was 8, is 16"),  # the run is complete
        ({"data.num_train": 72}, "on 64 records, and the training set now has 72"),
    ):
        with pytest.raises(ValueError, match=re.escape(words)) as raised:
            actjax.train("tsm_shapes", workdir, **changes | more)
        assert raised.value.clear and str(workdir) in str(raised.value) and "\n" not in str(raised.value)
    for mode in ([*SMALL, "--config.run.epochs=3.0"], ["--mode=predict", video]):
        output = run(*mode, f"--workdir={workdir}", "--config.model.width=16", cache=cache, status=1)
        assert f"error: {workdir} was trained with another config: model.width was 8, is 16 (" in output
        assert "Traceback" not in output
    assert files_of(workdir) == before
    run("--mode=predict", f"--workdir={workdir}", video, cache=cache)


def test_another_batch_size_goes_on(trained, tmp_path, cache):
    """Both configs are kept, and the log says what has changed."""
    workdir = copied(trained, tmp_path)
    output = run(*SMALL, "--config.run.batch_size=32", "--config.run.epochs=3.0", f"--workdir={workdir}", cache=cache)
    assert "steps 17 to 18" in output and "run.batch_size was 8, is 32; run.epochs was 2.0, is 3.0" in output
    assert json.loads((workdir / "config.json.old").read_text())["run"]["batch_size"] == 8
    assert json.loads((workdir / "config.json").read_text())["run"]["batch_size"] == 32
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["epoch"] == 3.0 and saved_results(workdir, "results")["step"] == 18


def test_another_input_of_the_network_ranks_anew(trained, tmp_path, cache):
    """The best checkpoint is one that was evaluated as `eval` does it now, which repeats its numbers."""
    workdir = copied(trained, tmp_path)
    output = run(*SMALL, "--config.model.mean=0,0,0", "--config.run.epochs=3.0", f"--workdir={workdir}", cache=cache)
    assert "the validation has changed since step 16, in its videos or in keys of model" in output
    best = saved_results(workdir, "results")["best"]
    assert best["step"] > 16
    run("--mode=eval", f"--workdir={workdir}", cache=cache)
    found = saved_results(workdir, "results_eval")
    assert (found["step"], found["top1_acc"]) == (best["step"], best["top1_acc"])
    again = (*SMALL, "--config.model.mean=0,0,0", "--config.run.epochs=3.0", f"--workdir={workdir}")
    assert "the validation has changed" not in run(*again, "--config.eval.clips_at_once=1", cache=cache)


def test_one_training_at_a_time(trained, tmp_path, cache):
    """Eval and predict run beside it; a killed owner leaves no lock behind."""
    workdir = copied(trained, tmp_path)
    before = files_of(workdir)
    hold = f"from actjax.locking import locked; import pathlib, time\nwith locked(pathlib.Path({str(workdir)!r})):\n"
    owner = subprocess.Popen(
        [sys.executable, "-c", f"{hold}  print('held', flush=True)\n  time.sleep(600)"],
        cwd=ROOT, text=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert owner.stdout.readline() == "held\n"
        output = run(*SMALL, "--config.run.epochs=3.0", f"--workdir={workdir}", cache=cache, status=1)
        told = f"error: {workdir} is in use: process {owner.pid} on .* trains in it; wait until it finishes, or"
        assert re.search(told, output) and files_of(workdir) == before
        with pytest.raises(locking.LockedError, match="is in use"), locking.locked(workdir):
            pytest.fail("two at a time")
        run("--mode=predict", f"--workdir={workdir}", f"--video={ROOT / 'tests/media/test.mp4'}", cache=cache)
    finally:
        owner.kill()
        owner.wait(timeout=30)
    with locking.locked(workdir):
        pass


@contextlib.contextmanager
def small_disk(folder: pathlib.Path, kilobytes: int):
    """A disk of its own; skips the test where none can be mounted."""
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, timeout=60).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        yield lambda size: subprocess.run([*mount[:4], f"remount,size={size}k", *mount[5:]], check=True, timeout=60)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=60)


def test_a_full_disk_is_one_line_and_goes_on(trained, tmp_path, cache):
    """Before the first step, in the log of the metrics, and in a checkpoint; with room, the same command ends well."""
    with small_disk(tmp_path / "disk", 12) as resize:
        workdir = tmp_path / "disk" / "run"
        arguments = (*SMALL, f"--workdir={workdir}")
        for size, words in (
            (12, "No space left on device: .*json"),
            (400, "step 6 is not saved: No space left on device"),
        ):
            resize(size)
            output = run(*arguments, cache=cache, status=1)
            errors = [line for line in output.splitlines() if line.startswith("error: ")]
            assert len(errors) == 1 and re.search(words, errors[0]) and "Traceback" not in output, output
        assert "there is no earlier checkpoint. Fix this and repeat the command, which resumes from there" in errors[0]
        resize(20_000)
        run(*arguments, cache=cache)
        assert saved_results(workdir, "results")["top1_acc"] == saved_results(trained, "results")["top1_acc"]


def test_a_full_disk_is_told_once(caplog):
    """Of all the arrays that cannot be written, Orbax raises the first; asyncio logs the others with their frames."""
    full = "Failed writing: /run/checkpoints/3.orbax-checkpoint-tmp/d/1: No space left on device"

    async def fails(text: str):
        raise ValueError(text)

    async def forgotten():
        for text in (full, "another error"):
            asyncio.ensure_future(fails(text))
        await asyncio.sleep(0)

    from actjax.training import checkpoints  # noqa: F401

    asyncio.run(forgotten())
    gc.collect()
    assert [str(record.exc_info[1]) for record in caplog.records] == ["another error"]


def test_places_that_cannot_be_written(tmp_path, cache):
    (tmp_path / "file").write_text("")
    output = run(*SMALL, f"--workdir={tmp_path / 'file'}", cache=cache, status=1)
    assert f"error: {tmp_path / 'file'} is not a folder; choose another workdir" in output
    output = run(*SMALL, f"--workdir={tmp_path / 'file' / 'run'}", cache=cache, status=1)
    assert re.search(f"error: workdir {tmp_path}/file/run: Not a directory", output) and "Traceback" not in output
    with small_disk(tmp_path / "disk", 1000):
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "disk")], check=True, timeout=60)
        output = run(*SMALL, f"--workdir={tmp_path / 'disk' / 'run'}", cache=cache, status=1)
        assert "Read-only file system" in output and "Traceback" not in output
        with pytest.raises(StorageError, match="Read-only file system"), locking.locked(tmp_path / "disk" / "run"):
            pytest.fail("it was written")


def test_a_run_on_a_disk_that_is_read_only(trained, tmp_path, cache, media):
    """Its results cannot be written; its predictions can, elsewhere."""
    with small_disk(tmp_path / "disk", 20_000):
        workdir = shutil.copytree(trained, tmp_path / "disk" / "run")
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "disk")], check=True, timeout=60)
        output = run("--mode=eval", f"--workdir={workdir}", cache=cache, status=1)
        assert f"error: Read-only file system: {workdir}; --mode=eval writes to the workdir" in output
        predict = ("--mode=predict", f"--workdir={workdir}", f"--video={media / 'test.mp4'}")
        output = run(*predict, cache=cache, status=1)
        assert f"cannot be written to {workdir / 'predictions.jsonl'}: Read-only file system" in output
        assert "--out=FILE.jsonl takes another place" in output
        run(*predict, f"--out={tmp_path / 'new' / 'here.jsonl'}", cache=cache)
        assert (tmp_path / "new" / "here.jsonl").exists()
        output = run("--mode=export", f"--workdir={workdir}", f"--out={workdir / 'x.pth'}", cache=cache, status=1)
        assert output.endswith(f"error: Read-only file system: {workdir / 'x.pth'}\n")


@pytest.mark.parametrize("name", ["config.json", "train.log", ".lock", "quarantine.jsonl", "scores.npz", "checkpoints"])
def test_a_folder_for_a_file_is_found_at_launch(name, trained, tmp_path, monkeypatch, cache):
    """And a file for a folder."""
    monkeypatch.setenv("ACTJAX_CACHE", str(cache))
    workdir = copied(trained, tmp_path)
    check_writable(workdir, "train")
    if name == "checkpoints":
        shutil.rmtree(workdir / name)
        (workdir / name).write_text("")
    else:
        (workdir / name).unlink(missing_ok=True)
        (workdir / name).mkdir()
    before = files_of(tmp_path)
    with pytest.raises(StorageError, match=f"(Is|Not) a directory: {workdir / name}; --mode=train writes"):
        actjax.train("tsm_shapes", workdir)
    assert files_of(tmp_path) == before


def test_files_that_cannot_be_extended(tmp_path, monkeypatch):
    """Those of somebody else; root, which may write all, runs tests, too."""
    monkeypatch.setattr("os.access", lambda path, mode: pathlib.Path(path).name != "metrics.jsonl")
    for name in ("config.json", "metrics.jsonl"):
        (tmp_path / name).write_text("")
    with pytest.raises(StorageError, match=r"Permission denied: .*metrics\.jsonl; --mode=eval writes"):
        check_writable(tmp_path, "eval")


def test_a_digest_knows_names_and_labels():
    """Not the folder, which may move; and of validation records not the order."""
    records = [VideoRecord("a/1.mp4", 0), VideoRecord("a/2.mp4", 1)]
    moved, other = [VideoRecord("b/1.mp4", 0), VideoRecord("b/2.mp4", 1)], [records[0], VideoRecord("a/2.mp4", 2)]
    assert digest_of(moved) == digest_of(records) and digest_of(other) != digest_of(records)
    assert digest_of(records[::-1]) != digest_of(records)
    assert digest_of(records[::-1], ordered=False) == digest_of(records, ordered=False)
    assert digest_of(records, other, ordered=False) != digest_of(records, records, ordered=False)


def test_without_git(monkeypatch):
    from actjax import workdir

    assert workdir._commit() is None or re.fullmatch("[0-9a-f]{40}", workdir._commit())
    monkeypatch.setenv("PATH", "")
    assert workdir._commit() is None


def test_the_end_names_last_and_best(trained, tmp_path, cache):
    """And files of an evaluation do not replace those of the training."""
    results = json.loads((trained / "results.json").read_text())
    assert results["step"] == 16 and results["best"]["step"] in restoring.steps(trained / "checkpoints")
    assert results["best"]["top1_acc"] >= results["top1_acc"]
    assert (results["num_broken"], results["num_broken_train"], results["num_broken_val"]) == (0, 0, 0)
    workdir = copied(trained, tmp_path)
    before = files_of(workdir)
    os.unlink(workdir / "checkpoints" / "16" / "default" / "_METADATA")
    output = run("--mode=eval", "--checkpoint=16", f"--workdir={workdir}", cache=cache, status=1)
    offered = [step for step in restoring.steps(workdir / "checkpoints") if step != 16][-1]
    assert f"_METADATA is missing; the newest intact checkpoint is that of step {offered}" in output
    run("--mode=eval", f"--checkpoint={offered}", f"--workdir={workdir}", cache=cache)
    after = files_of(workdir)
    assert (workdir / "confusion_matrix_eval.csv").exists() and {**before, **after}.items() >= before.items() - {
        item for item in before.items() if item[0].endswith("16/default/_METADATA")
    }
    assert saved_results(workdir, "results") == saved_results(trained, "results")
    assert np.sum(saved_results(workdir, "results_eval")["confusion_matrix"]) == 40


def test_a_damaged_newest_checkpoint_is_set_aside(trained, tmp_path, cache):
    """The run goes on from the one before, and ends as it did."""
    workdir = copied(trained, tmp_path)
    before, newest = restoring.steps(workdir / "checkpoints")[-2:]
    data = max((workdir / "checkpoints" / str(newest) / "default").rglob("d/*"), key=lambda path: path.stat().st_size)
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    output = run("--mode=eval", "--checkpoint=latest", f"--workdir={workdir}", cache=cache, status=1)
    assert (
        f"{data.name} is damaged" in output
        and f"--checkpoint={before} to select" in output
        and "Traceback" not in output
    )
    output = run(*SMALL, f"--workdir={workdir}", cache=cache)
    assert f"resuming from the newest intact checkpoint, that of step {before}" in output
    assert f"steps {before + 1} to {newest}" in output
    ours, theirs = (saved_results(folder, "results") for folder in (workdir, trained))
    assert ours["top1_acc"] == theirs["top1_acc"] and ours["best"] == theirs["best"]
    for a, b in zip(final_arrays(workdir), final_arrays(trained), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_run_that_diverges_is_one_line_and_can_be_mended(trained, tmp_path, cache):
    workdir = copied(trained, tmp_path)
    longer = (*SMALL, "--config.run.epochs=3.0", f"--workdir={workdir}")
    output = run(*longer, "--config.optim.lr=1e30", "--config.optim.clip_norm=None", cache=cache, status=1)
    (error,) = [line for line in output.splitlines() if line.startswith("error: ")]
    assert re.search("is (nan|inf) at step [0-9]+; a lower optim.lr or clip_norm may help", error)
    assert "Traceback" not in output
    assert "steps 17 to 24" in run(*longer, cache=cache)
