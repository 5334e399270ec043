"""What `import actjax` offers: train, evaluate, load and build, by the names of the command line.

Every function takes overrides of the config as keyword arguments: `run={"epochs": 2.0}`, or `**{"run.epochs": 2.0}`.
Faults of a config or a file raise ValueError or FileNotFoundError; the messages are those of the command line.
"""

import contextlib
import os
import time
from collections.abc import Mapping
from typing import Any

import jax

from actjax.errors import clear_errors
from actjax.locking import locked
from actjax.paths import local, to_path
from actjax.tasks.opening import Opened, load_run, open_config
from actjax.tasks.running import Call
from actjax.training import Preempted
from actjax.workdir import logging_to
from actjax.writable import check_writable


def train(config: str | os.PathLike | Mapping, workdir: str | os.PathLike, **overrides) -> dict:
    """Trains in `workdir`, or resumes there, as `--mode=train` does -> the results of the last step.

    Results are numbers, and for one class per video `confusion_matrix`, nested lists whose rows are the true classes.
    `load` and `evaluate` use the best checkpoint, so their numbers may differ.

    >>> results = train("tsm_shapes", "runs/shapes", optim={"lr": 0.05})  # doctest: +SKIP
    >>> print(results["top1_acc"], results["num_videos"])  # doctest: +SKIP
    0.996875 320

    Args:
      config: a recipe ("tsm_shapes"), a config file ("my_config.py:argument"), or a config.
      workdir: folder or gs:// URL of the run.
      overrides: of the config, by section.

    Raises:
      ValueError, FileNotFoundError: a fault in the config or its files. KeyboardInterrupt: Ctrl-C or SIGTERM; in the
        training loop a step was saved, and the same call resumes from it.
    """
    workdir = to_path(workdir)
    return run_mode("train", open_config(config, overrides, workdir=workdir), workdir)


def evaluate(
    workdir: str | os.PathLike,
    *,
    checkpoint: str | int | None = None,
    protocol: str = "test",
    trust_code: bool = False,
    **overrides,
) -> dict:
    """Evaluates a trained run, as `--mode=eval` does -> the results; arguments as `load`.

    >>> results = evaluate("runs/shapes", checkpoint="latest")  # doctest: +SKIP
    >>> print(results["top1_acc"], results["step"])  # doctest: +SKIP
    0.996875 640

    Args:
      protocol: the config section that describes the clips, "test" or "eval".
    """
    return load(workdir, checkpoint=checkpoint, trust_code=trust_code, **overrides).evaluate(protocol=protocol)


def load(
    source: str | os.PathLike | Mapping,
    *,
    checkpoint: str | int | os.PathLike | None = None,
    trust_code: bool = False,
    **overrides,
):
    """A trained run -> an object with `predict`, `scores`, `embed`, `evaluate`, `class_names` and `config`.

    It is a context manager: at the end of a `with` block, or by `close`, the process that decodes videos ends.

    >>> trained = load("runs/shapes")  # doctest: +SKIP
    >>> print(trained.predict("clip.mp4", topk=1))  # doctest: +SKIP
    [{'class': 'moving left', 'label': 1, 'score': 0.9987}]

    Args:
      source: the workdir of a run; or a recipe or config, as in `train`, for a checkpoint of another program.
      checkpoint: for a workdir "best", "latest" or a step; None: the best, which need not be the last step, whose
        results `train` returns. For a recipe a file.
      trust_code: run code that the workdir brings, even if it was not made on this computer.
      overrides: of the config, by section; `data=dict(class_names=...)` gives the classes of own videos other names.

    Raises:
      FileNotFoundError: no such workdir, recipe or checkpoint. ValueError: a key that is not known, a checkpoint that
        does not fit, code that is not trusted.
    """
    if isinstance(source, str | os.PathLike) and (workdir := to_path(source)).is_dir():
        return load_run(workdir, checkpoint=checkpoint, changes=overrides, trust_code=trust_code)
    if checkpoint is None:
        raise FileNotFoundError(f"{source}: no folder of a run; for a recipe or config, give checkpoint=FILE")
    opened = open_config(source, overrides)
    with opened.turn():
        return opened.task.trained(opened, None, checkpoint=os.fspath(checkpoint))


def build(config: str | os.PathLike | Mapping, **overrides):
    """The run of a config, checked, without opening its data; see `actjax.tasks`. Arguments and errors as `train`.

    >>> run = build("tsm_shapes", model={"num_classes": 4})
    >>> run.network.model.num_classes, run.train_clips.clip_shape
    (4, (1, 8, 40, 40, 3))
    """
    return open_config(config, overrides).run


def run_mode(mode: str, opened: Opened, workdir, **options: Any):
    """One of the command line's modes -> its result, with the log on the terminal and in the workdir.

    Args:
      options: fields of `actjax.tasks.running.Call`.

    Raises:
      ValueError: the config's task does not have this mode. KeyboardInterrupt: as `train`.
    """
    with clear_errors():
        if mode not in (known := opened.task.modes):
            raise ValueError(f"--mode={mode} does not apply to this config's task; use one of {sorted(known)}")
        if opened.task.local:
            local(workdir, "--workdir of BSN, BMN and SSN:")
        if mode == "train":
            opened.task.ready(opened.run, workdir)
    others = {"load": opened.other, "open": lambda config: open_config(config, {}), "train": train}
    call = Call(mode, opened.config, workdir, **({"started": time.perf_counter()} | others | options))
    first = jax.process_index() == 0
    if first and mode in ("train", "import", "eval"):
        check_writable(workdir, mode)
    alone = locked(workdir) if first and mode in ("train", "import") else contextlib.nullcontext()
    try:
        with alone, opened.turn(), logging_to(workdir / "train.log" if mode in ("train", "eval") else None):
            return opened.task.modes[mode](opened.run, call)
    except Preempted as stopped:
        raise KeyboardInterrupt(f"saved step {stopped.step}; the same call resumes from it") from stopped
