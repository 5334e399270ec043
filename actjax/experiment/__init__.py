"""Config -> everything a run needs, checked whole before any data is opened.

A config has one section per function that reads it, and `task`, which says what sections there are.
"""

from actjax.config import bind, plain, unknown
from actjax.experiment.detection import Detector, ssn_experiment
from actjax.experiment.proposals import Proposer, bmn_experiment, bsn_experiment
from actjax.experiment.recognition import Experiment, recognition_experiment

__all__ = ["TASKS", "Detector", "Experiment", "Proposer", "build"]

TASKS = {"recognition": recognition_experiment, "bsn": bsn_experiment, "bmn": bmn_experiment, "ssn": ssn_experiment}


def build(config) -> Experiment | Proposer | Detector:
    """Checks every key of a config against the function that reads it.

    Raises:
      ValueError: a key that nobody reads, an unknown name, a missing key; names the nearest valid one.
    """
    sections = plain(config)
    name = sections.pop("task", None)
    if name not in TASKS:
        raise ValueError(f"config.task={unknown(name, TASKS)}")
    return bind(TASKS[name], sections, "config")()
