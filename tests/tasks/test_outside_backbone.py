"""A run of TSM whose backbone is in another package, from the command line, without an edit of actjax."""

import os

import numpy as np
from cli import ROOT, SMALL, run

from actjax.interop.importing import read_tensors

CONFIG = f"""
import runpy

from ml_collections import ConfigDict


def get_config():
    config = runpy.run_path({str(ROOT / "configs" / "tsm_shapes.py")!r})["get_config"]()
    config.model = ConfigDict(
        dict(
            name="TSM",
            arch="outside_nets:TinyNet",
            arch_options=dict(channels=4),
            num_classes=8,
            shift_div=4,
            frozen_stages=0,
            dropout=0.0,
        )
    )
    config.optim.rules = ConfigDict(dict(name="layerwise", factor=0.5))
    return config
"""


def test_train_export_and_import(tmp_path, cache, monkeypatch):
    helpers = str(ROOT / "tests" / "helpers")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (helpers, os.environ.get("PYTHONPATH")))))
    config, files = tmp_path / "mine.py", [tmp_path / "first.pth", tmp_path / "second.pth"]
    config.write_text(CONFIG)
    small = [option for option in SMALL if not option.startswith("--config=") and "width" not in option]
    small = [f"--config={config}", *small, "--config.run.epochs=1.0"]
    output = run(*small, f"--workdir={tmp_path}/run", cache=cache)
    groups = {line.split()[0]: line.split()[1:] for line in output.splitlines() if len(line.split()) == 5}
    assert groups["frozen"] == ["0", "0", "3", "200"] and groups["early_weight"][0] == "0.25", output
    run("--mode=export", f"--workdir={tmp_path}/run", f"--out={files[0]}", cache=cache)
    arguments = ("--mode=import", *small, f"--workdir={tmp_path}/again", f"--from={files[0]}")
    assert "29 tensors in the layout of MMAction2" in run(*arguments, cache=cache)
    run("--mode=export", f"--workdir={tmp_path}/again", f"--out={files[1]}", cache=cache)
    first, second = map(read_tensors, files)
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])
