"""The benchmarks run and print what they promise; no time is asserted."""

import os
import re
import subprocess
import sys

import pytest
from cli import ROOT, environment

pytestmark = pytest.mark.slow


def run(script, *arguments, cache, level=3):
    command = [sys.executable, str(ROOT / "experiments" / "benchmarks" / script), *arguments]
    with_torch = environment(cache, level=level) | {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    return subprocess.run(command, env=with_torch, timeout=600, check=True, text=True, stdout=subprocess.PIPE).stdout


def test_loading(tmp_path):
    output = run("loading.py", "--seconds=0.5", "--workers", "0", "1", cache=tmp_path)
    assert re.search(r"1280 videos, clips of 1x8x40x40", output)
    assert len(re.findall(r"^ +[01] +\d+\.\d +\d\.\d\d$", output, re.M)) == 2


@pytest.mark.parametrize("name", ["metrics.py", "localization.py"])
def test_benchmark_needs_its_peer(name, tmp_path):
    script = str(ROOT / "experiments" / "benchmarks" / name)
    done = subprocess.run([sys.executable, script, f"--peer={tmp_path}"], timeout=120, capture_output=True, text=True)
    assert done.returncode == 1 and "name a checkout of MMAction2 v0.6.0" in done.stderr


def test_train_step(tmp_path):
    pytest.importorskip("torch", reason="torch is the other side of this benchmark")
    output = run("train_step.py", "--batch=1", "--size=64", "--repeats=1", cache=tmp_path, level=0)
    assert len(re.findall(r"ratio   torch / actjax = \d", output)) == 2 and "peak" in output


def test_convolution(tmp_path):
    output = run("convolution.py", "--frames=1", "--repeats=1", cache=tmp_path)
    assert len(re.findall(r"^(?:R50|depthwise).*(?: +\d+\.\d){6}$", output, re.M)) == 12


def test_reading(tmp_path):
    output = run("reading.py", "--repeats=1", "--hours=0.01", cache=tmp_path)
    assert len(re.findall(r"^test\.\w+ +\d+ +\d+\.\d +\d+\.\d +\d\.\d\d$", output, re.M)) == 2
    assert "opening 1080 frames of MP4: " in output
