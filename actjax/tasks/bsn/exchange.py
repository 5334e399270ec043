"""The networks of a chain as checkpoint files of others."""

import pathlib

from actjax import training
from actjax.interop.importing import Report
from actjax.models import export_checkpoint, import_checkpoint
from actjax.tasks.bsn.config import Proposer
from actjax.tasks.stage_folder import stage_folder


def import_network(proposer: Proposer, stage: str, path: str, workdir: pathlib.Path) -> Report:
    """Makes `WORKDIR/STAGE` hold the network of a checkpoint file, as if it had been trained.

    Raises:
      FileExistsError: there are checkpoints already. Others as `models.import_checkpoint`.
    """
    network = proposer.networks[stage]
    imported = import_checkpoint(path, network.model)
    folder = stage_folder(proposer, stage, workdir, mend=False)
    start = lambda: imported.variables
    training.save_variables(network.task(None), network.optimizer, network.settings, folder.path, start)
    folder.mark("train")
    return imported.report


def export_network(proposer: Proposer, stage: str, path: str, workdir: pathlib.Path, *, which: str) -> list[str]:
    """Writes checkpoint `which` of a stage for others -> the names; see `models.export_checkpoint`."""
    network = proposer.networks[stage]
    folder = stage_folder(proposer, stage, workdir, mend=False)
    restore = training.restore_variables
    variables, step = restore(network.task(None), network.optimizer, network.settings, folder.path, which)
    return export_checkpoint(variables, network.model, path, meta={"step": step})
