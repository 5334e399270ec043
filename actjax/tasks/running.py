"""The command line as a value, and the modes shared by all tasks with a single network."""

import json
import logging
import pathlib
import time
from typing import Any, NamedTuple

import rich
from rich.table import Table

from actjax import training
from actjax.errors import clear_errors
from actjax.interop import export_checkpoint
from actjax.tasks.building import Network
from actjax.workdir import save_description

log = logging.getLogger("actjax")


class Call(NamedTuple):
    """The user's command line.

    mode: name of the mode.
    config: config of the run.
    workdir: folder of the run.
    started: `time.perf_counter()` when the program started.
    video, out, source, stage, num, protocol: the flags of these names; `source` is `--from`.
    checkpoint: "best", "latest" or a step; None if the flag was not given.
    """

    mode: str
    config: Any
    workdir: pathlib.Path
    started: float
    video: str | None = None
    out: str | None = None
    source: str | None = None
    stage: str | None = None
    num: int = 16
    protocol: str = "test"
    checkpoint: str | None = None

    @property
    def seconds(self) -> float:
        """Seconds since the program started."""
        return time.perf_counter() - self.started


def import_(run, call: Call) -> None:
    """Turns another program's checkpoint into a run that can be evaluated, used or trained further."""
    with clear_errors():
        names = run.class_names()
        report = run.network.import_file(call.source, call.workdir)
    save_description(call.workdir, call.config, names)
    log.info("%s\nthe run is in %s", report, call.workdir)


def export(run, call: Call) -> None:
    """Writes a checkpoint under MMAction2's parameter names, as .pth for torch or as .safetensors."""
    with clear_errors():
        variables, step = run.network.restore(call.workdir, call.checkpoint or "best")
        meta = {"step": step, "CLASSES": json.loads((call.workdir / "class_names.json").read_text())}
        names = export_checkpoint(variables, run.network.model, call.out, meta=meta)
    log.info("%s: %d tensors of step %d", call.out, len(names), step)


def explain(run, call: Call) -> None:
    """Prints the costs of a training step on the available devices, or on `--devices` simulated ones; needs no data."""
    explain_step("training step", run.network)


def explain_step(title: str, network: Network) -> None:
    """Prints the costs of a training step of `network`, and its parameter groups."""
    with clear_errors():
        costs = training.explain(network.task, network.optimizer, network.settings, network.element_spec)
    table = Table(title, "")
    for row in costs.rows():
        table.add_row(*row)
    rich.print(table)
    log.info("parameter groups\n%s", network.groups)
