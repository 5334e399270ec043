"""SSN: proposals of untrimmed videos -> detections.

config: sections -> a run. run: training and scoring. task: losses. scoring: videos -> scores of their proposals.
report: scores -> detections and mAP. localizing: new videos. modes: the modes of the command line.
"""

from actjax.tasks.ssn.config import READERS, build
from actjax.tasks.ssn.localizing import locate
from actjax.tasks.ssn.modes import MODES

__all__ = ["MODES", "READERS", "build", "locate"]
