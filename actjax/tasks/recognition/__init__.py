"""Action recognition: classes of trimmed videos, by TSN and TSM.

config  sections -> a run; run  trains and evaluates; task  loss and metrics; modes  what `--mode` does,
with predicting, extracting and browsing.
"""

from actjax.tasks.recognition.config import build
from actjax.tasks.recognition.modes import MODES

__all__ = ["MODES", "build"]
