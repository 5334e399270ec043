"""Tasks: where a model meets its loss and its metric."""

from actjax.tasks.proposals import bmn, pem, tem
from actjax.tasks.recognition import recognition
from actjax.tasks.ssn import ssn
from actjax.tasks.task import Task

__all__ = ["Task", "bmn", "pem", "recognition", "ssn", "tem"]
