"""Runs of several processes on this machine: the same as one process, whoever is killed, told to stop, or fails."""

import json
import pathlib
import re
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from cli import ROOT, environment, free_port
from ml_collections import ConfigDict

from actjax.tasks import build
from actjax.training.distributed import PREEMPTED

pytestmark = pytest.mark.xdist_group("multihost")  # one run is the measure of most

CONFIG = (
    "--config=tsm_shapes",
    "--config.data.num_train=64",
    "--config.data.num_val=40",  # of which 12 leave a rest
    "--config.run.batch_size=12",
    "--config.run.epochs=2.0",
    "--config.run.log_every=1",
    "--config.run.save_every=4",
    "--config.run.eval_every=1",  # after steps 6 and 11
    "--config.model.width=8",
    "--config.loader.num_workers=0",
)
STEPS = 11


class Processes:
    """Processes of one run, started together; what they print is in files beside the workdir.

    only: more arguments, by number of the process. compiled: they take what others compiled before them.
    """

    def __init__(
        self, folder, workdir: pathlib.Path, *, count: int, devices: int, arguments=CONFIG, only=None, compiled=True
    ):
        port = free_port()
        self.workdir = workdir
        flags = environment(folder)["XLA_FLAGS"] + f" --xla_force_host_platform_device_count={devices}"
        shared = environment(folder) | {"XLA_FLAGS": flags, "JAX_LOG_COMPILES": "1"}
        shared |= {} if compiled else {"JAX_ENABLE_COMPILATION_CACHE": "0"}
        self.logs = [workdir.with_name(f"{workdir.name}-{index}.log") for index in range(count)]
        self.processes = []
        for index, log in enumerate(self.logs):
            place = f"localhost:{port},{count},{index}"  # told the first one by the environment, the others by the flag
            given = shared | ({"ACTJAX_DISTRIBUTED": place} if count > 1 and index == 0 else {})
            with log.open("w") as file:
                rest = ("--heartbeat=10", *arguments, *(only or {}).get(index, ()))
                rest = (*rest, f"--distributed={place}") if index else rest
                command = [sys.executable, "-m", "actjax.main", f"--workdir={workdir}", *rest]
                self.processes.append(
                    subprocess.Popen(command, cwd=ROOT, env=given, stdout=file, stderr=subprocess.STDOUT)
                )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()

    def until_said(self, pattern: str, index: int) -> None:
        """Waits until process `index` prints something that matches."""
        end = time.monotonic() + 600
        while not re.search(pattern, self.logs[index].read_text()):
            assert time.monotonic() < end and all(p.poll() is None for p in self.processes), self.output()
            time.sleep(0.02)

    def until_step(self, step: int) -> None:
        """Waits for that step to be reported."""
        end = time.monotonic() + 600  # machines are slow at times
        while step not in losses(self.workdir):
            assert time.monotonic() < end and all(p.poll() is None for p in self.processes), self.output()
            time.sleep(0.02)

    def until_saved(self, step: int) -> None:
        """Waits for the checkpoint of that step; those of later steps are not begun before it is complete."""
        end = time.monotonic() + 600
        while not (self.workdir / "checkpoints" / str(step)).is_dir():
            assert time.monotonic() < end and all(p.poll() is None for p in self.processes), self.output()
            time.sleep(0.02)

    def statuses(self, *, within: float = 600) -> list[int]:
        end = time.monotonic() + within
        return [process.wait(timeout=max(end - time.monotonic(), 0.1)) for process in self.processes]

    def output(self) -> str:
        return "\n".join(f"--- process {k}\n{log.read_text()}" for k, log in enumerate(self.logs))


def losses(workdir: pathlib.Path, split: str = "train") -> dict[int, dict]:
    """The rows of metrics.jsonl that are whole, by step."""
    path = workdir / "metrics.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    rows = [json.loads(line) for line in lines]
    return {row["step"]: row for row in rows if row["split"] == split}


def finish(run: Processes) -> dict:
    """Waits for the normal end -> the results."""
    with run:
        assert run.statuses() == [0] * len(run.processes), run.output()
    return json.loads((run.workdir / "results.json").read_text())


def parameters(workdir: pathlib.Path) -> list[np.ndarray]:
    """All variables of the last checkpoint."""
    experiment = build(ConfigDict(json.loads((workdir / "config.json").read_text())))
    variables, step = experiment.network.restore(workdir, "latest")
    assert step == STEPS
    return jax.tree.leaves(variables)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("multihost")


@pytest.fixture(scope="module")
def alone(folder):
    """One process with one device: the workdir, and the results."""
    workdir = folder / "alone"
    return workdir, finish(Processes(folder, workdir, count=1, devices=1))


@pytest.fixture(scope="module")
def undisturbed(folder):
    workdir = folder / "undisturbed"
    return workdir, finish(Processes(folder, workdir, count=2, devices=2))


def same(workdir, results, other, expected, *, rtol: float) -> None:
    """The same losses at every step, and the same evaluation."""
    found, wanted = losses(workdir), losses(other)
    assert sorted(found) == sorted(wanted) == list(range(1, STEPS + 1))
    for step in wanted:
        np.testing.assert_allclose(found[step]["loss"], wanted[step]["loss"], rtol=rtol, err_msg=f"step {step}")
    assert sorted(losses(workdir, "val")) == sorted(losses(other, "val")) != []
    for name in ("num_videos", "num_broken", "top1_acc", "top5_acc", "mean_class_accuracy"):
        assert results[name] == pytest.approx(expected[name], rel=rtol), name


@pytest.mark.slow
def test_two_processes_are_one(folder, alone, undisturbed):
    workdir, results = undisturbed
    assert results["num_videos"] == 40
    assert json.loads((workdir / "environment.json").read_text())["processes"] == 2
    same(workdir, results, *alone, rtol=1e-5)
    four, divided = folder / "four", folder / "divided"
    same(four, finish(Processes(folder, four, count=1, devices=4)), *alone, rtol=1e-5)
    shared = (*CONFIG, "--config.run.fsdp=4")  # every device holds a quarter of the state
    same(divided, finish(Processes(folder, divided, count=2, devices=2, arguments=shared)), *alone, rtol=1e-5)


def latest(workdir: pathlib.Path) -> int:
    return max(int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdecimal())


def goes_on_exactly(folder, workdir: pathlib.Path, undisturbed) -> None:
    """Started again, the run ends with the same losses, metrics and parameters as without a disturbance."""
    same(workdir, finish(Processes(folder, workdir, count=2, devices=2)), *undisturbed, rtol=0)
    for ours, theirs in zip(parameters(workdir), parameters(undisturbed[0]), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_killed_then_stopped_a_run_goes_on_exactly(folder, undisturbed, victim):
    workdir = folder / f"disturbed-{victim}"
    with Processes(folder, workdir, count=2, devices=2) as run:
        run.until_saved(4)
        run.processes[victim].kill()
        statuses = run.statuses(within=60)  # the heartbeat is 10 s
        assert statuses[victim] == -signal.SIGKILL and statuses[1 - victim] == -signal.SIGABRT, run.output()
        assert "another task died" in run.logs[1 - victim].read_text()
    first = latest(workdir)
    with Processes(folder, workdir, count=2, devices=2) as run:
        run.until_said(f" step {first + 1}/", 0)
        run.processes[1 - victim].terminate()
        assert run.statuses(within=60) == [PREEMPTED, PREEMPTED], run.output()
        assert f"steps {first + 1} to {STEPS}, devices: 4" in run.output()
    saved = max(losses(workdir))
    assert f"interrupted: saved step {saved}\n" in run.output() and (workdir / "checkpoints" / str(saved)).is_dir()
    goes_on_exactly(folder, workdir, undisturbed)


@pytest.mark.slow
def test_sigterm_in_an_evaluation_of_training_lets_it_finish(folder, undisturbed):
    workdir = folder / "evaluated"
    with Processes(folder, workdir, count=2, devices=2, compiled=False) as run:
        run.until_step(6)  # the evaluation compiles
        run.processes[1].terminate()
        run.processes[1].terminate()  # a second one changes nothing
        assert run.statuses(within=300) == [PREEMPTED, PREEMPTED], run.output()
    assert 6 in losses(workdir, "val") and 6 <= latest(workdir) == max(losses(workdir)) <= 9
    goes_on_exactly(folder, workdir, undisturbed)


@pytest.mark.slow
def test_sigterm_in_the_last_evaluation_is_not_lost(folder, undisturbed):
    """It comes after the last step was asked about: the run is whole, and the next start only evaluates."""
    workdir = folder / "last"
    with Processes(folder, workdir, count=2, devices=2) as run:
        run.until_step(STEPS)
        run.processes[0].terminate()
        assert run.statuses(within=300) == [PREEMPTED, PREEMPTED], run.output()
    assert latest(workdir) == STEPS and not (workdir / "results.json").exists()
    goes_on_exactly(folder, workdir, undisturbed)


COMPILES = r"Compiling \S*(update|step|predict)"


@pytest.mark.slow
@pytest.mark.parametrize("told", [0, 1])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_sigterm_while_compiling_ends_a_process(folder, undisturbed, told, mode):
    """The main thread is in XLA then, where no handler of Python's would run."""
    workdir = folder / f"compiling-{told}" if mode == "train" else undisturbed[0]
    arguments = CONFIG if mode == "train" else ("--mode=eval", "--protocol=eval")
    with Processes(folder, workdir, count=2, devices=2, arguments=arguments, compiled=False) as run:
        run.until_said(COMPILES, told)
        run.processes[told].terminate()
        assert run.processes[told].wait(timeout=20) == -signal.SIGTERM, run.output()
        assert run.statuses(within=120)[1 - told] == -signal.SIGABRT, run.output()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_sigterm_while_compiling_ends_a_process_that_is_alone(folder, alone, mode):
    workdir = folder / "compiling" if mode == "train" else alone[0]
    arguments = CONFIG if mode == "train" else ("--mode=eval", "--protocol=eval")
    with Processes(folder, workdir, count=1, devices=1, arguments=arguments, compiled=False) as run:
        run.until_said(COMPILES, 0)
        run.processes[0].terminate()
        assert run.processes[0].wait(timeout=20) == -signal.SIGTERM, run.output()


@pytest.mark.slow
def test_evaluation_and_features_of_several_processes(folder, undisturbed):
    """Each video once, the same numbers; features by halves, in one table."""
    workdir, results = undisturbed
    with Processes(folder, workdir, count=2, devices=2, arguments=("--mode=eval", "--protocol=eval")) as run:
        assert run.statuses() == [0, 0], run.output()
    found = json.loads((workdir / "results_eval.json").read_text())
    assert found["num_videos"] == 40 and found["top1_acc"] == results["top1_acc"]
    with np.load(workdir / "scores.npz") as scores:
        assert len(set(scores["name"])) == len(scores["name"]) == 40
    features = folder / "features"
    with Processes(folder, workdir, count=2, devices=2, arguments=("--mode=extract", f"--out={features}")) as run:
        assert run.statuses() == [0, 0], run.output()
    tables = sorted(features.glob("video_info*"))
    assert [table.name for table in tables] == ["video_info.csv"]
    names = [line.split(",")[0] for line in tables[0].read_text().splitlines()[1:]]
    assert sorted(names) == sorted(path.stem for path in features.glob("*.csv") if path not in tables)
    assert len(names) == len(set(names)) == 104


@pytest.mark.slow
@pytest.mark.parametrize("culprit", [0, 1])
def test_one_that_fails_ends_the_other(folder, culprit):
    """The other waits for it in a collective, or in a barrier of the checkpoints."""
    workdir, nowhere = folder / f"failing-{culprit}", f"{pathlib.Path(__file__)}/data"
    wrong = {culprit: (f"--config.data.folder={nowhere}",)}
    with Processes(folder, workdir, count=2, devices=1, only=wrong) as run:
        assert run.statuses() == [1, 1], run.output()
        logs = [log.read_text() for log in run.logs]
    told = logs[1 - culprit].splitlines()[-1]
    assert told.startswith(f"error: process {culprit} failed: [Errno 17] File exists")
    assert "\nerror: [Errno 17] File exists" in f"\n{logs[culprit]}"
