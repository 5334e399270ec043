"""BSN and BMN: features of untrimmed videos -> proposals, stage by stage.

config: sections -> a run. run: the stages. items: network inputs. task: losses. proposals: curves -> proposals.
report: tables and files. localizing: new videos. modes: the modes of the command line.
"""

from actjax.tasks.bsn.config import READERS, build, build_bmn
from actjax.tasks.bsn.localizing import locate
from actjax.tasks.bsn.modes import MODES

__all__ = ["MODES", "READERS", "build", "build_bmn", "locate"]
