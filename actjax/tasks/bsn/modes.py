"""The modes of BSN and BMN."""

import logging
import pathlib

from actjax.data.datasets.untrimmed import Untrimmed
from actjax.data.prepared import writing
from actjax.errors import clear_errors
from actjax.interop import export_checkpoint
from actjax.tasks.bsn.run import BsnRun
from actjax.tasks.running import Call, explain_step
from actjax.workdir import progress, save_description, set_up_logging

log = logging.getLogger("actjax")


def train(run: BsnRun, call: Call) -> None:
    """Goes through the stages, or on where a killed run stopped, and ends with the table of recalls."""
    dataset = _opened(run, call)
    save_description(call.workdir, call.config, [])
    with clear_errors():
        run.train(call.workdir, dataset=dataset)


def evaluate(run: BsnRun, call: Call) -> None:
    """Goes through the stages with the networks as they are, and ends with the table of recalls."""
    dataset = _opened(run, call)
    with clear_errors():
        run.evaluate(call.workdir, dataset=dataset, checkpoint=call.checkpoint)


def _opened(run: BsnRun, call: Call) -> Untrimmed:
    """The data set, after a look at the stages that this run goes on from."""
    log.info("this run lives in %s", call.workdir)
    with clear_errors():
        run.check_stages(call.workdir)
        dataset = run.open_dataset()
        call.workdir.mkdir(parents=True, exist_ok=True)
    log.info("%d videos to train on, %d to validate on", len(dataset.train), len(dataset.val))
    if dataset.left_out:
        log.warning("%d videos have no features, %s the first", len(dataset.left_out), dataset.left_out[0])
    return dataset


def explain(run: BsnRun, call: Call) -> None:
    """`explain_step` of every network."""
    for name, stage in run.networks.items():
        explain_step(f"training step of {name}", stage.network)


def import_(run: BsnRun, call: Call) -> None:
    """Takes another program's checkpoint for one of the networks, which then counts as trained."""
    with clear_errors():
        stage = _stage(run, call)
        folder = run.folder(stage, call.workdir, mend=False)
        report = run.networks[stage].network.import_file(call.source, folder.path)
        folder.mark("train")
    save_description(call.workdir, call.config, [])
    log.info("%s\nthe run is in %s", report, call.workdir)


def export(run: BsnRun, call: Call) -> None:
    """Writes a checkpoint of one of the networks under MMAction2's names."""
    with clear_errors():
        stage = _stage(run, call)
        network = run.networks[stage].network
        variables, step = network.restore(run.folder(stage, call.workdir, mend=False).path, call.checkpoint or "best")
        names = export_checkpoint(variables, network.model, call.out, meta={"step": step})
    log.info("%s: %d tensors", call.out, len(names))


def prepare_features(folder: pathlib.Path, out: str) -> None:
    """Writes the .csv and .npy files of a folder to `out`; needs no config."""
    set_up_logging(None)
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".csv", ".npy"))
    if not paths:
        raise SystemExit(f"error: --features={folder} holds no .csv and no .npy file")
    with clear_errors(RuntimeError):
        log.info("%s", writing.prepare_features(paths, out, progress=progress))


def _stage(run: BsnRun, call: Call) -> str:
    """The network that `--stage` names; without it the only one."""
    networks = sorted(run.networks)
    if call.stage is None and len(networks) == 1:
        return networks[0]
    if call.stage not in networks:
        raise SystemExit(f"error: --stage={call.stage}; choose from {networks}")
    return call.stage


MODES = {"train": train, "eval": evaluate, "import": import_, "export": export, "explain": explain}
