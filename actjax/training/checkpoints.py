"""Checkpoints: the latest few and the best one, written in the background, complete or absent."""

import logging
import pathlib
from collections.abc import Callable

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from actjax import paths
from actjax.training.step import State

_UP = ("acc", "map@", "ar@", "auc", "average_precision")
_DOWN = ("loss", "error")


def higher_is_better(metric: str) -> bool:
    """The rule that follows from a metric's name: accuracies, AR, AUC and mAP up, losses and errors down.

    Raises:
      ValueError: the name says neither. Source: the API entry EvalHook (`save_best`, `rule`).
    """
    name = metric.lower()
    for parts, answer in ((_DOWN, False), (_UP, True)):
        if any(part in name for part in parts):
            return answer
    raise ValueError(
        f"best={metric!r}: whether more is better does not follow from the name; it holds none of {_UP + _DOWN}"
    )


def open_checkpoints(folder: pathlib.Path, *, keep: int, best: str, read_only: bool = False) -> ocp.CheckpointManager:
    """The checkpoints in `folder`: the `keep` latest and the best by the metric `best` stay."""
    policies = [
        LatestN(keep),
        BestN(
            get_metric_fn=lambda metrics: metrics[best],
            reverse=not higher_is_better(best),
            n=1,
            keep_checkpoints_without_metrics=False,
        ),
    ]
    options = ocp.CheckpointManagerOptions(
        preservation_policy=AnyPreservationPolicy(policies),
        best_fn=lambda metrics: metrics[best],
        best_mode="max" if higher_is_better(best) else "min",
        read_only=read_only,
        create=not read_only,
    )
    return ocp.CheckpointManager(paths.absolute(folder), options=options)


# orbax warns of every checkpoint between two evaluations, and of every manager that only reads.
_EXPECTED = ("tracked_metric", "read_only=True", "directory is read only")
logging.getLogger("absl").addFilter(lambda record: not any(words in record.getMessage() for words in _EXPECTED))


def save(manager: ocp.CheckpointManager, step: int, state: State, *, metrics: dict[str, float] | None = None) -> None:
    """Starts writing the state after `step`; returns once it may change again."""
    with jax.transfer_guard("allow"):
        manager.save(step, args=ocp.args.StandardSave(state._asdict()), metrics=metrics, force=True)


def restore(manager: ocp.CheckpointManager, abstract: State, *, step: int) -> State:
    """The state after `step`, laid out as the shapes and shardings of `abstract` say."""
    return State(**manager.restore(step, args=ocp.args.StandardRestore(abstract._asdict())))


def find(manager: ocp.CheckpointManager, which: str) -> int:
    """The step that `which` means: "latest", "best" (the latest, if none was evaluated) or a number.

    Raises:
      FileNotFoundError: there is no such checkpoint; says which there are.
    """
    steps = list(manager.all_steps())
    best = lambda: manager.latest_step() if manager.best_step() is None else manager.best_step()
    named: dict[str, Callable] = {"latest": manager.latest_step, "best": best}
    step = named[which]() if which in named else int(which) if which.isdecimal() else None
    if step not in steps:
        raise FileNotFoundError(
            f"no checkpoint {which!r} in {manager.directory}; there are: latest, best, {sorted(steps)}"
        )
    return step
