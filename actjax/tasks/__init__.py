"""Tasks: a folder each, from the sections of a config to what `--mode` does. `TASKS` is where a task is registered."""

from collections.abc import Callable
from typing import NamedTuple

from actjax.config import bind, plain, unknown
from actjax.faces import lazy
from actjax.tasks import bsn, recognition, ssn

_NAMES = dict.fromkeys(("bmn", "pem", "tem"), "tasks.bsn.task") | {"Task": "training.task"}
__all__ = ["TASKS", "build", *_NAMES]
__getattr__, __dir__ = lazy(__name__, _NAMES)


class Registered(NamedTuple):
    """A task that a config may name.

    build: the sections of a config, as keyword arguments -> a run.
    modes: what `--mode` may be -> what it does with the run and the `running.Call`.
    local: whether its workdir has to be on a disk: thousands of files between the stages, folders moved aside.
    """

    build: Callable
    modes: dict[str, Callable]
    local: bool = True


TASKS = {
    "recognition": Registered(recognition.build, recognition.MODES, local=False),
    "bsn": Registered(bsn.build, bsn.MODES),
    "bmn": Registered(bsn.build_bmn, bsn.MODES),
    "ssn": Registered(ssn.build, ssn.MODES),
}


def registered(config) -> Registered:
    """The task that a config names. ValueError: none of that name."""
    name = config.get("task")
    if name not in TASKS:
        raise ValueError(f"config.task={unknown(name, TASKS)}")
    return TASKS[name]


def build(config):
    """Checks every key of a config against the function that reads it -> the run; no data are opened.

    Raises:
      ValueError: a key that nobody reads, an unknown name, a missing key; names the nearest valid one.
    """
    sections = plain(config)
    make = registered(sections).build
    sections.pop("task")
    return bind(make, sections, "config")()
