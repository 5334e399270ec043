"""Starts `python -m actjax.main` as a user would: a process of its own, one CPU device."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]


def command(*arguments) -> list[str]:
    return [sys.executable, "-m", "actjax.main", *map(str, arguments)]


def environment(cache: pathlib.Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    return inherited | {"ACTJAX_CACHE": str(cache), "JAX_PLATFORMS": "cpu", "COLUMNS": "200"}


def run(*arguments, cache: pathlib.Path, timeout: float = 300, status: int = 0) -> str:
    """What it printed; fails unless it ends with `status`."""
    done = subprocess.run(
        command(*arguments), cwd=ROOT, env=environment(cache), timeout=timeout, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == status, done.stdout
    return done.stdout


SMALL = (
    "--config=configs/tsm_shapes.py",
    "--config.data.num_train=64",
    "--config.data.num_val=40",
    "--config.run.batch_size=8",
    "--config.run.epochs=2.0",
    "--config.run.log_every=1",
    "--config.model.width=8",
)
