"""Ctrl-C on the command line outside of training steps: one line, status 130, whatever the process is doing."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys

import pytest
from cli import ROOT, SMALL, command, environment, run

from actjax.training.preemption import compiling

LOST = """
import gc, sys
from actjax import main
sys.unraisablehook = main._not_dropped

def swallowed(*_):
    gc.callbacks.remove(swallowed)
    raise KeyboardInterrupt

gc.callbacks.append(swallowed)
print("collecting")
gc.collect()
print("went on")
"""


@pytest.mark.parametrize(
    ("by", "line", "statuses"),
    [
        (signal.SIGINT, "workdir: ", {130}),
        (signal.SIGINT, "parameter groups", {130, 75}),
        (signal.SIGTERM, "parameter groups", {-15, 75}),
    ],
)
def test_one_line_and_a_status(by, line, statuses, tmp_path, cache):
    """From the second line on JAX compiles; a step may be saved already."""
    variables = environment(cache) | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled")}  # nothing is compiled
    process = subprocess.Popen(
        command(*SMALL, f"--workdir={tmp_path / 'run'}"), cwd=ROOT, env=variables | {"PYTHONUNBUFFERED": "1"},
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert any(line in printed for printed in process.stdout)
        process.send_signal(by)
        printed, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode in statuses, errors
    if process.returncode == 130:
        assert errors.endswith("interrupted\n")
    assert ("saved step" in printed) == (process.returncode == 75)
    assert "Traceback" not in errors and "Fatal" not in errors


@pytest.mark.slow
def test_a_second_interrupt_stops_at_once(tmp_path, cache):
    """The first one waits for the end of the step, whose videos do not come here; the same command then resumes."""
    arguments = (*SMALL, f"--workdir={tmp_path / 'run'}", "--config.loader.num_workers=1", "--config.run.save_every=2")
    process = subprocess.Popen(
        command(*arguments, "--config.run.epochs=50.0", "--config.run.log_every=1"), cwd=ROOT, text=True,
        env=environment(cache) | {"PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert any("step 3/" in printed for printed in process.stdout)
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGSTOP)
        process.send_signal(signal.SIGINT)
        assert any("interrupt again to stop at once" in printed for printed in process.stdout)
        process.send_signal(signal.SIGINT)
        process.wait(60)
        for child in children:  # they hold the pipes
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGCONT)
        printed, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130 and errors.endswith("interrupted\n"), errors
    assert "saved step" not in printed and "Traceback" not in errors
    assert "resuming after step" in run(*arguments, cache=cache)


def test_an_interrupt_in_a_callback_ends_the_program():
    """Python prints and drops exceptions there."""
    done = subprocess.run([sys.executable, "-c", LOST], cwd=ROOT, timeout=50, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "collecting\n", "interrupted\n")


ENDING = """
import atexit, sys, time
from actjax import main

def slow():
    print("ending", flush=True)
    for _ in range(500):  # a signal that comes just before a sleep begins is seen when it ends
        time.sleep(0.1)

atexit.register(slow)
main.app.run = lambda *_, **__: sys.exit("error: what it was")
main.start()
"""


def test_an_interrupt_at_the_end_keeps_the_status():
    process = subprocess.Popen(
        [sys.executable, "-c", ENDING], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout.readline() == "ending\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=40)
    finally:
        process.kill()
    assert (process.returncode, errors) == (1, "error: what it was\n")


def test_the_compiler_is_waited_for():
    before, done = signal.signal(signal.SIGINT, signal.default_int_handler), []
    try:
        with pytest.raises(KeyboardInterrupt, match="nothing was saved"), compiling("nothing was saved"):
            signal.raise_signal(signal.SIGINT)
            done.append("compiled")
        with pytest.raises(KeyboardInterrupt, match="nothing was saved"), compiling("nothing was saved"):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            done.append("not reached")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signal.signal(signal.SIGINT, handler := lambda *_: done.append("own"))
        with compiling("nothing was saved"):
            signal.raise_signal(signal.SIGINT)
        assert done == ["compiled", "own"] and signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)
