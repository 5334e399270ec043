"""Action recognition: TSN and TSM classify trimmed videos.

config: sections -> a run. settling: values that its data decide. run: training and evaluation. task: loss and metrics.
modes: the modes of the command line, with predicting, extracting, localizing and browsing.
"""

from actjax.tasks.recognition.config import READERS, build
from actjax.tasks.recognition.localizing import locate
from actjax.tasks.recognition.modes import MODES
from actjax.tasks.recognition.settling import Settled, settle

__all__ = ["MODES", "READERS", "Settled", "build", "locate", "settle"]
