"""experiments/studies/: the estimate of scaling and the soak, run as a user does."""

import re
import subprocess
import sys

import pytest
from cli import ROOT, SMALL, environment, run

STEP = r"([\d.]+) ms \| ([\d.]+) ms"
ROW = re.compile(rf"^\| ([\d,]+) \| {STEP} \| ([\d.]+)% to ([\d.]+)% \| ([\d,]+) to ([\d,]+) \|$", re.M)


@pytest.mark.slow
@pytest.mark.parametrize("options", [["--step_seconds=0.004"], []], ids=["given", "measured"])
def test_scaling(options, cache):
    """A fast device on a slow network: 8 to 1,024 devices, each row slower than the one before, overlap no slower."""
    small = ["--clips=1", "--between_gb_s=0.1", "--config.model.width=8", "--config.run.bn=device"]
    command = [sys.executable, "experiments/studies/scaling.py", "--config=tsm_shapes", *small, *options]
    done = subprocess.run(command, cwd=ROOT, env=environment(cache), timeout=300, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "sent by a device" in done.stdout and "a step of 1 clips on one device" in done.stdout
    rows = [[float(text.replace(",", "")) for text in row] for row in ROW.findall(done.stdout)]
    assert [row[0] for row in rows] == [8, 16, 32, 64, 128, 256, 512, 1024]
    for _, best, worst, low, high, _, _ in rows:
        assert best <= worst and low <= high <= 100
    times = [row[2] for row in rows]
    assert times == sorted(times) and (times[-1] > times[0] or not options)
    assert all(after[6] >= before[6] for before, after in zip(rows, rows[1:], strict=False))


@pytest.mark.slow
@pytest.mark.parametrize(("which", "expected"), [("a", "run A"), ("b", "each named once")])
def test_soak(which, expected, cache, tmp_path):
    """Its short form; a broken promise would end it with status 1."""
    short = [f"--runs={which}", "--minutes=0.2", "--epochs=4", "--pause=1", f"--folder={tmp_path / 'soak'}"]
    command = [sys.executable, "experiments/studies/soak.py", *short]
    done = subprocess.run(command, cwd=ROOT, env=environment(cache), timeout=300, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    assert expected in done.stdout and "| broken promises | 0 |" in done.stdout
    assert re.search(r"\| done to it \| \w", done.stdout) and re.search(
        r"\| ended with status \| .*\b0: [1-9]",
        done.stdout,  # one or more rounds fit into the time
    )


@pytest.mark.slow
def test_long_video(cache, tmp_path):
    run(f"--workdir={tmp_path / 'run'}", *SMALL, cache=cache)
    command = [sys.executable, "experiments/studies/long_video.py", f"--workdir={tmp_path / 'run'}", "--minutes=0.5"]
    done = subprocess.run(
        [*command, "--videos=2"], cwd=ROOT, env=environment(cache), timeout=300, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^0\.5 minutes of video: \d+ s, at most \d+ MiB, \d+ segments$", done.stdout, re.M)
