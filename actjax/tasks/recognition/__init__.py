"""Action recognition: TSN and TSM classify trimmed videos.

config: sections -> a run. run: training and evaluation. task: loss and metrics. modes: the modes of the command line,
with predicting, extracting, localizing and browsing.
"""

from actjax.tasks.recognition.config import READERS, build
from actjax.tasks.recognition.localizing import locate
from actjax.tasks.recognition.modes import MODES

__all__ = ["MODES", "READERS", "build", "locate"]
