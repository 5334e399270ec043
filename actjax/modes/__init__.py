"""What `--mode` does, for each kind of task: the last step from a command line to the library."""

from actjax.experiment import Detector, Experiment, Proposer
from actjax.modes import detection, proposals, recognition
from actjax.modes.call import Call

MODES = {Experiment: recognition.MODES, Proposer: proposals.MODES, Detector: detection.MODES}

__all__ = ["MODES", "Call"]
