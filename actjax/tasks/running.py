"""A command line as values, and what the modes of all tasks share."""

import gc
import pathlib
import time
from typing import Any, NamedTuple

from actjax import training
from actjax.errors import clear_errors
from actjax.workdir import save_results


class Call(NamedTuple):
    """What the user asked for.

    mode: name of the mode. config: of the run. workdir: its folder. started: `time.perf_counter()` at the start.
    video, out, source, stage, num, protocol: the flags of these names; `source` is `--from`.
    checkpoint: "best", "latest" or a step; None: the flag was not given.
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


def restore(experiment, call: Call, *, which: str | None = None) -> tuple[dict, int]:
    """The variables of checkpoint `which`, by default that of the call, else the best, and its step."""
    which = which or call.checkpoint or "best"
    with clear_errors():
        return training.restore_variables(
            experiment.task, experiment.optimizer, experiment.settings, call.workdir, which
        )


def tested(experiment, call: Call):
    """Task and protocol of `--protocol`."""
    return experiment.test if call.protocol == "test" else (experiment.task, experiment.protocol)


def finish(name: str, metrics: dict, dataset, experiment, call: Call) -> None:
    """Writes and shows the results of a recogniser."""
    gc.collect()  # jax gives the last batch's shared memory back only now; at exit it would count as leaked
    protocol = tested(experiment, call)[1] if call.mode == "eval" else experiment.protocol
    about = {
        "decoder": dataset.val[0].decoder(protocol.backend),
        "num_broken": len(dataset.val) - metrics["num_videos"],
        "bn": experiment.settings.bn,
        "batch_size": experiment.settings.batch_size,
        "seconds": time.perf_counter() - call.started,
    }
    save_results(call.workdir, name, metrics | about, dataset.class_names)
