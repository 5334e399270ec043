"""The modes that are about a network alone: checkpoints of others, and what a step costs."""

import json
import logging

import rich
from rich.table import Table

from actjax import training
from actjax.errors import clear_errors
from actjax.models import export_checkpoint, import_checkpoint
from actjax.tasks.running import Call, restore
from actjax.workdir import save_description

log = logging.getLogger("actjax")


def import_(experiment, call: Call) -> None:
    """Makes a run of somebody else's checkpoint, to be evaluated, used, or trained on."""
    with clear_errors():
        names = experiment.class_names()
        imported = import_checkpoint(call.source, experiment.model)
        start = lambda: imported.variables
        training.save_variables(experiment.task, experiment.optimizer, experiment.settings, call.workdir, start)
    save_description(call.workdir, call.config, names)
    log.info("%s\nthe run is in %s", imported.report, call.workdir)


def export(experiment, call: Call) -> None:
    """Writes a checkpoint under MMAction2's names, for torch (.pth) or as .safetensors."""
    variables, step = restore(experiment, call)
    meta = {"step": step, "CLASSES": json.loads((call.workdir / "class_names.json").read_text())}
    with clear_errors():
        names = export_checkpoint(variables, experiment.model, call.out, meta=meta)
    log.info("%s: %d tensors of step %d", call.out, len(names), step)


def explain(experiment, call: Call) -> None:
    """Shows what a training step costs on the devices there are, or on `--devices`; no data is needed."""
    explain_step("training step", experiment, experiment.task)


def explain_step(title: str, network, task) -> None:
    """A table of the costs of training `task` with the optimizer, settings and items of `network`; its groups."""
    with clear_errors():
        costs = training.explain(task, network.optimizer, network.settings, network.item)
    table = Table(title, "")
    for row in costs.rows():
        table.add_row(*row)
    rich.print(table)
    log.info("parameter groups\n%s", network.groups)
