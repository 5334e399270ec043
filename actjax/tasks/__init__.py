"""One folder per task: builds a run from config sections and implements the `--mode`s. `TASKS` lists them."""

import inspect
from collections.abc import Callable
from typing import NamedTuple

from actjax.config import Reader, bind, plain, unknown
from actjax.faces import lazy
from actjax.tasks import bsn, own, recognition, ssn
from actjax.tasks.recognition.trained import TrainedRecogniser
from actjax.tasks.trained import Trained

_NAMES = dict.fromkeys(("bmn", "pem", "tem"), "tasks.bsn.task") | {"Task": "training.task"}
__all__ = ["TASKS", "build", *_NAMES]
__getattr__, __dir__ = lazy(__name__, _NAMES)


class Registered(NamedTuple):
    """A task that a config can name.

    build: config sections, as keyword arguments -> a run. An argument `code` gets the digest of the config's own code,
      for tasks that keep outputs of stages and make them again after a change.
    modes: name of a `--mode` -> function (run, `running.Call`).
    readers: name of a section -> the functions that read it.
    trained: (`opening.Opened`, workdir, checkpoint=) -> what `actjax.load` returns.
    locate: (run, `running.Call`) -> what is found in new videos, a list of `localizing.Located`.
    local: whether the workdir must be on a local disk, because stages write thousands of files and rename folders.
    settle: (config, workdir or None) -> `Settled`: the config with the values that the data decide.
    ready: (run, workdir), before training writes anything: raises ValueError or FileNotFoundError for what lacks.
    """

    build: Callable
    modes: dict[str, Callable]
    readers: dict[str, Reader]
    locate: Callable | None = None
    trained: Callable = Trained
    local: bool = True
    settle: Callable = lambda config, workdir: recognition.Settled(config)
    ready: Callable = lambda run, workdir: None

    @property
    def reader(self) -> Reader:
        """The reader of a whole config."""
        sections = inspect.signature(self.build).parameters
        return Reader(
            (self.build,),
            given=("code",),
            parts={name: part for name, part in self.readers.items() if name in sections},
        )


def check_start(run, workdir) -> None:
    """Checks the file that the training of a single network starts from, see `building.Network.check_start`."""
    run.network.check_start(workdir)


TASKS = {
    "recognition": Registered(
        recognition.build,
        recognition.MODES,
        recognition.READERS,
        recognition.locate,
        TrainedRecogniser,
        local=False,
        settle=recognition.settle,
        ready=check_start,
    ),
    "bsn": Registered(bsn.build, bsn.MODES, bsn.READERS, bsn.locate),
    "bmn": Registered(bsn.build_bmn, bsn.MODES, bsn.READERS, bsn.locate),
    "ssn": Registered(ssn.build, ssn.MODES, ssn.READERS, ssn.locate, ready=check_start),
    "own": Registered(own.build, own.MODES, own.READERS),
}


def registered(config) -> Registered:
    """The task that a config names. Raises ValueError for an unknown name."""
    name = config.get("task")
    if not isinstance(name, str) or name not in TASKS:
        raise ValueError(f"config.task={unknown(name, TASKS)}")
    return TASKS[name]


def build(config):
    """Builds the run of a config, checking every key against the function that reads it. Opens no data.

    Raises:
      ValueError: an unknown key or name, or a missing key; the message suggests the nearest valid one.
    """
    sections = plain(config)
    task = registered(sections)
    sections.pop("task")
    code = sections.pop("code", "")  # the digest of the config's own code, see `config.own_code`
    run = bind(task.build, sections, "config", given=("code",))
    return run(code=code) if "code" in inspect.signature(task.build).parameters else run()
