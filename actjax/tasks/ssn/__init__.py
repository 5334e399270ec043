"""SSN: the proposals of untrimmed videos -> detections.

config  sections -> a run; run  trains and scores; task  losses; scoring  videos -> scores of their proposals; report
scores -> detections and mAP; modes  what `--mode` does.
"""

from actjax.tasks.ssn.config import build
from actjax.tasks.ssn.modes import MODES

__all__ = ["MODES", "build"]
