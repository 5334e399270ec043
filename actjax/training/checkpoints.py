"""Checkpoints: the latest few and the best one, written in the background and never half-written."""

import logging
import math
import pathlib
from collections.abc import Callable

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from actjax import paths
from actjax.training.step import State

_UP = ("acc", "map@", "ar@", "auc", "precision", "recall", "f1")
_DOWN = ("loss", "error")


def higher_is_better(metric: str) -> bool:
    """Whether higher is better, judged by the metric's name, without that of its evaluator: True for accuracy, AR, AUC,
    mAP, precision, recall and F1; False for losses and errors.

    Raises:
      ValueError: the name matches neither group.

    Source: MMAction2 0.6, EvalHook (`save_best`, `rule`).
    """
    name = metric.rpartition("/")[2].lower()
    for parts, answer in ((_DOWN, False), (_UP, True)):
        if any(part in name for part in parts):
            return answer
    if name.endswith("map"):
        return True
    raise ValueError(
        f"best={metric!r}: the name does not show whether higher is better; it contains none of {_UP + _DOWN}"
    )


def open_checkpoints(folder: pathlib.Path, *, keep: int, best: str, read_only: bool = False) -> ocp.CheckpointManager:
    """Opens the checkpoints in `folder`. Keeps the `keep` latest ones and the best one by the metric `best`.

    A checkpoint without this metric, because its evaluator was not due or the run had another `best`, ranks last; so
    does NaN.
    """
    upward = higher_is_better(best)

    def value(metrics: dict) -> float:
        found = metrics.get(best, math.nan)
        return (-math.inf if upward else math.inf) if math.isnan(found) else found

    policies = [
        LatestN(keep),
        BestN(get_metric_fn=value, reverse=not upward, n=1, keep_checkpoints_without_metrics=False),
    ]
    options = ocp.CheckpointManagerOptions(
        preservation_policy=AnyPreservationPolicy(policies),
        best_fn=value,
        best_mode="max" if upward else "min",
        read_only=read_only,
        create=not read_only,
    )
    return ocp.CheckpointManager(paths.absolute(folder), options=options)


# Orbax warns about every checkpoint between two evaluations and about every read-only manager.
_EXPECTED = ("tracked_metric", "read_only=True", "directory is read only")
logging.getLogger("absl").addFilter(lambda record: not any(words in record.getMessage() for words in _EXPECTED))


def save(manager: ocp.CheckpointManager, step: int, state: State, *, metrics: dict[str, float] | None = None) -> None:
    """Starts writing the state after `step`; returns as soon as the state may be changed."""
    with jax.transfer_guard("allow"):
        manager.save(step, args=ocp.args.StandardSave(state._asdict()), metrics=metrics, force=True)


def restore(manager: ocp.CheckpointManager, abstract: State, *, step: int) -> State:
    """The state after `step`, with the shapes and shardings of `abstract`."""
    return State(**manager.restore(step, args=ocp.args.StandardRestore(abstract._asdict())))


def find(manager: ocp.CheckpointManager, which: str) -> int:
    """The step of checkpoint `which`: "latest", "best" (the latest if none was evaluated) or a number.

    Raises:
      FileNotFoundError: there is no such checkpoint; the message lists the existing ones.
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
