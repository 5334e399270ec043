"""Starts `python -m actjax.main` as a user would: a process of its own, one CPU device."""

import os
import pathlib
import socket
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]


def command(*arguments) -> list[str]:
    return [sys.executable, "-m", "actjax.main", *map(str, arguments)]


def environment(cache: pathlib.Path, *, level: int = 0) -> dict[str, str]:
    """Of a process without torch, which keeps sample sets in `cache` for those after it.

    level: how far LLVM optimises. At 0 compiling takes half the time; 3, jax's own, is for what then runs for long.
    """
    path = os.pathsep.join(filter(None, (str(ROOT / "tests" / "without_torch"), os.environ.get("PYTHONPATH"))))
    return os.environ | {
        "ACTJAX_CACHE": str(cache),
        "COLUMNS": "200",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": path,
        "XLA_FLAGS": f"--xla_backend_optimization_level={level}",
    }


def free_port() -> int:
    with socket.create_server(("", 0)) as probe:
        return probe.getsockname()[1]


def run(
    *arguments,
    cache: pathlib.Path,
    timeout: float = 300,
    status: int = 0,
    level: int = 0,
    hidden: str = "",
    columns: int = 200,
) -> str:
    """What it printed, on so many `columns`; fails unless it ends with `status`. hidden: a package it does not find."""
    variables = environment(cache, level=level) | {"COLUMNS": str(columns)}
    if hidden:
        variables["PYTHONPATH"] = os.pathsep.join((str(ROOT / "tests" / f"without_{hidden}"), variables["PYTHONPATH"]))
    done = subprocess.run(
        command(*arguments), cwd=ROOT, env=variables, timeout=timeout, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == status, done.stdout
    return done.stdout


SMALL = (
    "--config=tsm_shapes",
    "--config.data.num_train=64",
    "--config.data.num_val=40",
    "--config.run.batch_size=8",
    "--config.run.epochs=2.0",
    "--config.run.log_every=1",
    "--config.model.width=8",
)
