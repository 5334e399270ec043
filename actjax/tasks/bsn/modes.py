"""The modes of BSN and BMN."""

import logging
import pathlib

from actjax.data.prepared import writing
from actjax.errors import clear_errors
from actjax.tasks.bsn import exchange, stages
from actjax.tasks.checkpoints import explain_step
from actjax.tasks.running import Call
from actjax.workdir import progress, save_description, set_up_logging

log = logging.getLogger("actjax")


def propose(proposer, call: Call) -> None:
    """BSN, BMN: goes through the stages, or on where a killed run stopped, and ends with the table of recalls."""
    log.info("this run lives in %s", call.workdir)
    with clear_errors():
        stages.check_stages(proposer, call.workdir)
        dataset = proposer.open_dataset()
        call.workdir.mkdir(parents=True, exist_ok=True)
    training = call.mode == "train"
    if training:
        save_description(call.workdir, call.config, [])
    log.info("%d videos to train on, %d to validate on", len(dataset.train), len(dataset.val))
    if dataset.left_out:
        log.warning("%d videos have no features, %s the first", len(dataset.left_out), dataset.left_out[0])
    checkpoint = None if training else call.checkpoint
    with clear_errors():
        stages.run(proposer, dataset, call.workdir, train=training, checkpoint=checkpoint)


def explain_networks(proposer, call: Call) -> None:
    """BSN, BMN: `explain` of every network."""
    for name, network in proposer.networks.items():
        explain_step(f"training step of {name}", network, network.task(None))


def import_network(proposer, call: Call) -> None:
    """BSN, BMN: takes somebody else's checkpoint for one of the networks, which then counts as trained."""
    with clear_errors():
        report = exchange.import_network(proposer, _stage(proposer, call), call.source, call.workdir)
    save_description(call.workdir, call.config, [])
    log.info("%s\nthe run is in %s", report, call.workdir)


def export_network(proposer, call: Call) -> None:
    """BSN, BMN: writes a checkpoint of one of the networks under MMAction2's names."""
    with clear_errors():
        names = exchange.export_network(
            proposer, _stage(proposer, call), call.out, call.workdir, which=call.checkpoint or "best"
        )
    log.info("%s: %d tensors", call.out, len(names))


def prepare_features(folder: pathlib.Path, out: str) -> None:
    """Writes the .csv and .npy files of a folder to `out`; needs no config."""
    set_up_logging(None)
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".csv", ".npy"))
    if not paths:
        raise SystemExit(f"error: --features={folder} holds no .csv and no .npy file")
    with clear_errors(RuntimeError):
        log.info("%s", writing.prepare_features(paths, out, progress=progress))


def _stage(proposer, call: Call) -> str:
    """The network that `--stage` names; without it the only one."""
    networks = sorted(proposer.networks)
    if call.stage is None and len(networks) == 1:
        return networks[0]
    if call.stage not in networks:
        raise SystemExit(f"error: --stage={call.stage}; choose from {networks}")
    return call.stage


MODES = {
    "train": propose,
    "eval": propose,
    "import": import_network,
    "export": export_network,
    "explain": explain_networks,
}
