"""BSN and BMN: features of untrimmed videos -> proposals, stage by stage, each of which may be interrupted."""

from actjax.tasks.bsn.config import bmn_experiment as build_bmn
from actjax.tasks.bsn.config import bsn_experiment as build
from actjax.tasks.bsn.modes import MODES

__all__ = ["MODES", "build", "build_bmn"]
