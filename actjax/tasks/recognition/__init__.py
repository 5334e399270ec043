"""Action recognition: classes of trimmed videos, by TSN and TSM."""

from actjax.tasks.recognition.config import recognition_experiment as build
from actjax.tasks.recognition.modes import MODES

__all__ = ["MODES", "build"]
