"""The modes of SSN."""

import logging

from actjax import training
from actjax.errors import clear_errors
from actjax.tasks.running import Call, explain, export, fitting, import_
from actjax.tasks.ssn.config import READERS
from actjax.tasks.ssn.report import report
from actjax.tasks.ssn.run import SsnRun
from actjax.tasks.stage_folder import StageFolder
from actjax.workdir import save_description

log = logging.getLogger("actjax")


def train(run: SsnRun, call: Call) -> dict:
    """Trains, resuming where a killed run stopped, then scores all proposals and prints the table of mAP -> metrics."""
    log.info("workdir: %s", call.workdir)
    with clear_errors(), fitting(call.config, call.workdir):
        initial = run.network.initial(call.workdir)
        dataset, targets = _opened(run, call)
        data = run.loop_data(dataset, targets, call.workdir)
        standing, complete = run.network.standing(call.workdir, data)
        if complete:
            log.info("the training is complete at step %d", standing.step)
    decoder = dataset.train[0].decoder(run.ticks.sampling.backend)
    describe = lambda: save_description(call.workdir, call.config, dataset.class_names, decoder=decoder)
    if not complete:
        with fitting(call.config, call.workdir):
            run.train(call.workdir, data=data, initial=initial, describe=describe, standing=standing)
    return _detect(run, call, dataset, targets, which=run.checkpoint, name="results")


def evaluate(run: SsnRun, call: Call) -> dict:
    """Scores all proposals of the validation videos and prints the table of mAP -> metrics."""
    log.info("workdir: %s", call.workdir)
    with clear_errors():
        dataset, targets = _opened(run, call)
    which = run.checkpoint if call.checkpoint is None else call.checkpoint
    return _detect(run, call, dataset, targets, which=which, name="results_eval")


def _opened(run: SsnRun, call: Call):
    """The data set and its targets, after checking the regression constants."""
    dataset = run.open_dataset()
    targets = run.targets(dataset)
    _ = targets.reg_norm_consts
    log.info("%d videos to train on, %d to score", len(dataset.train), len(dataset.val))
    return dataset, targets


def _detect(run: SsnRun, call: Call, dataset, targets, *, which: str, name: str) -> dict:
    """Scores the proposals, then makes detections and reports their mAP."""
    with clear_errors(), fitting(call.config, call.workdir):
        variables, step = run.network.restore(call.workdir, which)
    readers = {name: READERS[name] for name in run.scored_by}
    scores = call.workdir / "scores"
    folder = StageFolder(scores, f"step_{step}", run.scored_by, mend=True, readers=readers, code=run.code)
    folder.begin()
    training.wait_for_all("the folder of scores")
    summary = run.score(folder.path, variables, call.workdir, dataset=dataset, targets=targets)
    log.info("%s: %s, by the network of step %d", folder.path, summary, step)
    training.wait_for_all("scores")
    about = {"seconds": call.seconds, "decoder": dataset.val[0].decoder(run.ticks.sampling.backend)}
    with clear_errors():
        return report(dataset, folder.path, run.detect, call.workdir, name=name, about=about)


MODES = {"train": train, "eval": evaluate, "import": import_, "export": export, "explain": explain}
