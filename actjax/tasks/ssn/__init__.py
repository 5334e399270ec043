"""SSN: the proposals of untrimmed videos -> detections."""

from actjax.tasks.ssn.config import ssn_experiment as build
from actjax.tasks.ssn.modes import MODES

__all__ = ["MODES", "build"]
