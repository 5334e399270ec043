"""The modes of SSN."""

import logging

from actjax import training
from actjax.data.loading.quarantine import Quarantine
from actjax.errors import clear_errors
from actjax.tasks.building import initial_variables
from actjax.tasks.checkpoints import explain, export, import_
from actjax.tasks.loading import this_shard
from actjax.tasks.running import Call, restore
from actjax.tasks.ssn.config import READERS
from actjax.tasks.ssn.report import report
from actjax.tasks.ssn.scoring import score_videos
from actjax.tasks.stage_folder import StageFolder
from actjax.workdir import save_description

log = logging.getLogger("actjax")


def detect(detector, call: Call) -> None:
    """SSN: trains, or goes on where a killed run stopped; then scores all proposals and ends with the mAP table."""
    log.info("this run lives in %s", call.workdir)
    learning = call.mode == "train"
    with clear_errors():
        initial = initial_variables(detector.load_from, call.workdir) if learning else None
        dataset = detector.open_dataset()
        constants = detector.reg_norm_consts(dataset)
        call.workdir.mkdir(parents=True, exist_ok=True)
        data = detector.loop_data(dataset, call.workdir) if learning else None
    log.info("%d videos to train on, %d to score", len(dataset.train), len(dataset.val))
    if learning:
        decoder = dataset.train[0].decoder(detector.ticks.sampling.backend)
        save_description(call.workdir, call.config, dataset.class_names, decoder=decoder)
        log.info("parameter groups\n%s", detector.groups)
        training.train(detector.task, data, detector.optimizer, detector.settings, call.workdir, initial=initial)
    which = detector.checkpoint if learning else call.checkpoint or detector.checkpoint
    variables, step = restore(detector, call, which=which)
    folder = StageFolder(call.workdir / "scores", f"step_{step}", detector.decisive, mend=True, readers=READERS)
    folder.save()
    training.wait_for_all("the folder of scores")
    options = dict(num_records=len(dataset.train) + len(dataset.val), max_share=detector.loading.max_broken)
    summary = score_videos(
        dataset.val,
        folder.path,
        detector,
        training.local(variables),
        constants,
        quarantine=Quarantine(call.workdir / "quarantine.jsonl", **options, skip=detector.loading.skip),
        shard=this_shard(),
    )
    log.info("%s: %s, by the network of step %d", folder.path, summary, step)
    training.wait_for_all("scores")
    name = "results" if learning else "results_eval"
    with clear_errors():
        report(dataset, folder.path, detector, call.workdir, name=name, started=call.started)


MODES = {"train": detect, "eval": detect, "import": import_, "export": export, "explain": explain}
