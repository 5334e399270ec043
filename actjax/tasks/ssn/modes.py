"""The modes of SSN."""

import logging

from ml_collections import ConfigDict

from actjax import training
from actjax.config.changes import differences, told
from actjax.config.files import saved_config
from actjax.errors import clear_errors
from actjax.tasks.loading import digest_of, digest_of_arrays
from actjax.tasks.localize_mode import mode
from actjax.tasks.localizing import save_facts
from actjax.tasks.running import Call, explain, export, fitting, import_
from actjax.tasks.ssn.config import READERS
from actjax.tasks.ssn.localizing import facts_of, locate
from actjax.tasks.ssn.report import report
from actjax.tasks.ssn.run import SsnRun
from actjax.tasks.stage_folder import StageFolder, compared
from actjax.workdir import changed, save_description

log = logging.getLogger("actjax")


_AFTER = {"detect", "checkpoint", "loader"}  # what the results are computed from once the network is trained


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
            call = call._replace(config=_as_trained(run, call))
    decoder = dataset.train[0].decoder(run.ticks.sampling.backend)

    def describe() -> None:
        save_description(call.workdir, call.config, dataset.class_names, decoder=decoder)
        save_facts(call.workdir, facts_of(targets))

    if complete:
        describe()
    else:
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


def _as_trained(run: SsnRun, call: Call) -> ConfigDict:
    """The config of a complete run, with those sections of this call that its results are still computed from.

    Says which other keys have no effect any more.

    Raises:
      ValueError: a change would score the proposals in another way than the network was trained.
    """
    changes = [change for change in changed(call.workdir, call.config) if change[0].partition(".")[0] not in _AFTER]
    if not changes:
        return call.config
    config = saved_config(call.workdir)
    readers = {name: READERS[name] for name in run.scored_by}
    was, now = (compared({name: each.get(name) or {} for name in readers}, readers) for each in (config, call.config))
    if decisive := list(differences(was, now)):
        raise ValueError(
            f"{call.workdir} is complete, and was trained with another config: {told(decisive)}; take the run's "
            "values, or another workdir. --mode=eval evaluates with other values"
        )
    log.warning("ignored changes: %s. To train further, raise run.epochs", told(changes))
    for name in _AFTER & set(call.config):
        config[name] = call.config[name]
    return config


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
    digest = training.digest(call.workdir / "checkpoints", step)  # an older version wrote none
    origin = {
        "validation split": digest_of(dataset.val, ordered=False),
        "normalization of the regression": digest_of_arrays(targets.reg_norm_consts),
        "checkpoint": digest or digest_of_arrays(training.local(variables)),
    }
    options = dict(mend=True, readers=readers, code=run.code, origin=origin)
    folder = StageFolder(call.workdir / "scores", f"step_{step}", run.scored_by, **options)
    folder.begin()
    training.wait_for_all("the folder of scores")
    sealed = dict(made_by=folder.made_by)
    summary = run.score(folder.path, variables, call.workdir, dataset=dataset, targets=targets, **sealed)
    log.info("%s: %s, by the network of step %d", folder.path, summary, step)
    training.wait_for_all("scores")
    about = {"seconds": call.seconds, "decoder": dataset.val[0].decoder(run.ticks.sampling.backend)}
    with clear_errors():
        return report(dataset, folder.path, run.detect, call.workdir, name=name, about=about, **sealed)


MODES = {
    "train": train,
    "eval": evaluate,
    "localize": mode(locate, shown_share=0.5),
    "import": import_,
    "export": export,
    "explain": explain,
}
