"""The modes of BSN and BMN."""

import logging
import pathlib
import re

from actjax.data.datasets.untrimmed import Untrimmed
from actjax.data.prepared import writing
from actjax.errors import clear_errors
from actjax.interop import export_checkpoint
from actjax.literal import literal
from actjax.paths import rewrite
from actjax.tasks.bsn.localizing import facts_of, locate
from actjax.tasks.bsn.run import BsnRun
from actjax.tasks.localize_mode import mode
from actjax.tasks.localizing import NOTE, save_facts
from actjax.tasks.running import Call, explain_step, show_config
from actjax.workdir import logging_to, progress, save_description

log = logging.getLogger("actjax")

_TABLE = re.compile(r"video_info(-\d{5}-of-\d{5})?\.csv")  # `extract` adds it to its features


def train(run: BsnRun, call: Call) -> dict:
    """Runs the stages, resuming where a killed run stopped, and prints the table of average recall -> the metrics."""
    dataset = _opened(run, call)
    config = call.config.copy_and_resolve_references()
    config.stages = ",".join(run.chain)  # which stages to run is a matter of this command, not of the run

    def describe() -> None:
        save_description(call.workdir, config, [])
        save_facts(call.workdir, facts_of(dataset))

    with clear_errors():
        return run.train(call.workdir, dataset=dataset, describe=describe)


def evaluate(run: BsnRun, call: Call) -> dict:
    """Runs the stages with the trained networks and prints the table of average recall -> the metrics."""
    dataset = _opened(run, call)
    with clear_errors():
        return run.evaluate(call.workdir, dataset=dataset, checkpoint=call.checkpoint)


def _opened(run: BsnRun, call: Call) -> Untrimmed:
    """Checks the outputs of earlier stages, then opens the data set."""
    log.info("workdir: %s", call.workdir)
    with clear_errors():
        run.check_stages(call.workdir)
        dataset = run.open_dataset()
        call.workdir.mkdir(parents=True, exist_ok=True)
    log.info("%d videos to train on, %d to validate on", len(dataset.train), len(dataset.val))
    if dataset.left_out:
        first = literal(dataset.left_out[0], lines=False)
        log.warning("%d videos have no features; the first is %s", len(dataset.left_out), first)
    return dataset


def explain(run: BsnRun, call: Call) -> None:
    """Prints the config, and the costs of a training step of every network."""
    show_config(call.config)
    for name, stage in run.networks.items():
        explain_step(f"training step of {name}", stage.network)


def import_(run: BsnRun, call: Call) -> None:
    """Imports another program's checkpoint into one network, which then counts as trained."""
    with clear_errors():
        stage = _stage(run, call)
        folder = run.folder(stage, call.workdir, mend=False)
        report = run.networks[stage].network.import_file(call.source, folder.path, ema=call.ema)
        folder.mark("train")
    save_description(call.workdir, call.config, [])
    log.info("%s\nthe run is in %s", report, call.workdir)


def export(run: BsnRun, call: Call) -> None:
    """Writes a checkpoint of one network under MMAction2's parameter names."""
    with clear_errors():
        stage = _stage(run, call)
        network = run.networks[stage].network
        which = "best" if call.checkpoint is None else call.checkpoint
        variables, step = network.restore(run.folder(stage, call.workdir, mend=False).path, which)
        names = export_checkpoint(variables, network.model, call.out, meta={"step": step})
    log.info("%s: %d tensors", call.out, len(names))


def prepare_features(folder: pathlib.Path, out: str) -> None:
    """Stores the .csv and .npy feature files of a folder as a prepared set in `out`; needs no config."""
    paths = sorted(
        path for path in folder.rglob("*") if path.suffix in (".csv", ".npy") and not _TABLE.fullmatch(path.name)
    )
    if not paths:
        with clear_errors():
            raise ValueError(f"--features={folder} contains no .csv or .npy files")
    with clear_errors(RuntimeError), logging_to(None):
        log.info("%s", writing.prepare_features(paths, out, progress=progress))
        if (folder / NOTE).exists():  # what made the features, which localize asks for
            rewrite(pathlib.Path(out) / NOTE, (folder / NOTE).read_text())


def _stage(run: BsnRun, call: Call) -> str:
    """The network that `--stage` names; the flag may be omitted if there is only one."""
    networks = sorted(run.networks)
    if call.stage is None and len(networks) == 1:
        return networks[0]
    if call.stage not in networks:
        raise ValueError(f"--stage={call.stage}; choose from {networks}")
    return call.stage


MODES = {
    "train": train,
    "eval": evaluate,
    "localize": mode(locate, shown_share=0.5),
    "import": import_,
    "export": export,
    "explain": explain,
}
