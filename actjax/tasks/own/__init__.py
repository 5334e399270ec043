"""Own untrimmed videos and an annotation file -> a trained localizer: train or open a network, extract, train, score.

config: sections -> a run. annotated: annotations -> videos and lists. modes: the modes of the command line. What a
workdir holds at the end is an ordinary run of BMN, BSN or SSN.
"""

from actjax.tasks.own.config import READERS, build
from actjax.tasks.own.modes import MODES

__all__ = ["MODES", "READERS", "build"]
