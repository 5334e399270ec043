"""Checkpoints: the latest few and the best one, written in the background and never half-written."""

import contextlib
import logging
import math
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, LatestN

from actjax import paths
from actjax.errors import StorageError, storage_fault
from actjax.training import digests, restoring
from actjax.training.distributed import wait_for_all
from actjax.training.step import State
from actjax.training.timeline import Timeline

_UP = ("acc", "map@", "ar@", "auc", "precision", "recall", "f1")
_DOWN = ("loss", "error")
_DELETED = "deleted"  # a subfolder
RULES = {"greater": True, "less": False}


def higher_is_better(metric: str, *, rule: str | None = None) -> bool:
    """Whether higher is better, by `rule`, or else judged by the metric's name, without that of its evaluator: True for
    accuracy, AR, AUC, mAP, precision, recall and F1; False for losses and errors.

    >>> higher_is_better("hard/top1_acc"), higher_is_better("val_loss"), higher_is_better("distance", rule="less")
    (True, False, False)

    Args:
      rule: "greater" or "less".

    Raises:
      ValueError: an unknown rule; without a rule, the name matches neither group.

    Source: MMAction2 0.6, EvalHook (`save_best`, `rule`).
    """
    if rule is not None:
        if rule not in RULES:
            raise ValueError(
                f"best_rule={rule!r}; choose from {list(RULES)}, or None to judge by the name of the metric"
            )
        return RULES[rule]
    name = metric.rpartition("/")[2].lower()
    for parts, answer in ((_DOWN, False), (_UP, True)):
        if any(part in name for part in parts):
            return answer
    if name.endswith("map"):
        return True
    raise ValueError(
        f"best={metric!r}: the name does not show whether higher is better, as it contains none of {_UP + _DOWN}; set "
        "best_rule='greater' or 'less'"
    )


class _Best(NamedTuple):
    """Orbax's policy that keeps the best checkpoint, see `restoring.best_of`.

    outdated: steps whose metrics are those of an earlier validation split.
    """

    folder: pathlib.Path
    metric: str
    upward: bool
    outdated: frozenset[int]

    def should_preserve(self, checkpoints: Sequence, *, context) -> list[bool]:
        known = {
            each.step: each.metrics or restoring.metrics(self.folder, each.step)
            for each in checkpoints
            if each.step not in self.outdated
        }
        best = restoring.best_of(known, self.metric, upward=self.upward)
        return [each.step == best for each in checkpoints]


def _one_copy(tree):
    """The same with one device's copy of each array that all devices hold: of copies Orbax makes every device write a
    slice, and compiles one program per shape and device for it. Hosts do share the writing."""
    if jax.process_count() > 1:
        return tree
    copied = lambda x: isinstance(x, jax.Array) and x.is_fully_replicated
    return jax.tree.map(lambda x: x.addressable_data(0) if copied(x) else x, tree)


class Checkpoints:
    """Writes the checkpoints of a run to `folder`; keeps the `settings.keep` latest ones and the best one.

    Each checkpoint holds the digests of its files and the timeline of the run, see `digests`.
    """

    def __init__(self, folder: pathlib.Path, settings, timeline: Timeline | None = None):
        self._folder, self._timeline, self._step = paths.absolute(folder), timeline, None
        self._val = timeline.val if timeline else ""
        outdated = restoring.outdated(folder, self._val)
        policies = [LatestN(settings.keep), _Best(self._folder, settings.best, settings.upward, outdated)]
        options = ocp.CheckpointManagerOptions(
            preservation_policy=AnyPreservationPolicy(policies),
            best_fn=lambda metrics: metrics.get(settings.best, math.nan),  # so that Orbax saves metrics
            async_options=ocp.AsyncOptions(post_finalization_callback=self._seal),
            todelete_subdir=_DELETED,  # a kill must leave no half of a checkpoint behind
        )
        self._delete()
        with self._told():
            self._manager = ocp.CheckpointManager(self._folder, options=options)

    def save(self, step: int, state: State, *, metrics: dict[str, float] | None = None) -> None:
        """Starts writing the state after `step`; returns as soon as the state may be changed.

        Raises:
          StorageError: this or the last checkpoint could not be written.
        """
        self.wait()
        self._delete()
        self._step = step
        with self._told(), jax.transfer_guard("allow"):
            options = dict(metrics=metrics, custom_metadata=digests.MARK, force=True)
            self._manager.save(step, args=ocp.args.StandardSave(_one_copy(state._asdict())), **options)

    def rank(self, step: int, metrics: dict[str, float]) -> bool:
        """Adds the metrics of a saved checkpoint, unless it has those of this validation -> whether they were added."""
        known = restoring.metrics(self._folder, step) and step not in restoring.outdated(self._folder, self._val)
        if not known and jax.process_index() == 0:
            restoring.rank(self._folder, step, metrics, val=self._val)
        wait_for_all("the metrics of a checkpoint")
        return not known

    def wait(self) -> None:
        """Waits until the last checkpoint is written. Raises StorageError: it could not be."""
        with self._told():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits for the last checkpoint, and ends the threads. Raises StorageError: it could not be written."""
        with self._told():
            self._manager.close()
        self._delete()

    def _delete(self) -> None:
        """Deletes the checkpoints that Orbax has set aside, which are not among the latest or the best any more."""
        if jax.process_index() == 0 and not paths.is_url(self._folder):
            shutil.rmtree(self._folder / _DELETED, ignore_errors=True)

    def _seal(self) -> None:
        """Writes the digests of a checkpoint whose files are complete, before it gets its name."""
        if jax.process_index():
            return
        temporary = sorted(self._folder.glob(f"{self._step}.orbax-checkpoint-tmp*"))
        folder = temporary[-1] if temporary else self._folder / str(self._step)  # object stores cannot rename
        digests.write(folder, {"timeline": self._timeline and self._timeline._asdict()})

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turns the errors of a disk or network into one line."""
        try:
            yield
        except Exception as error:
            if (fault := storage_fault(error)) is None:
                raise
            failed = "" if self._step is None else f"step {self._step} is not saved: "
            there = restoring.steps(self._folder)
            saved = f"the newest checkpoint is that of step {there[-1]}" if there else "there is no earlier checkpoint"
            raise StorageError(
                f"{self._folder}: {failed}{fault}; {saved}. Fix this and repeat the command, which resumes from there"
            ) from error


# Orbax warns about every checkpoint between two evaluations, about files that it does not need, and about what a killed
# run left; errors it logs, several times with all its frames, before it raises them.
_EXPECTED = (
    "tracked_metric",
    "Metadata file does not exist",
    "Removing existing directory",
    "Waiting for previous save",
)


def _unexpected(record: logging.LogRecord) -> bool:
    raised = record.levelno >= logging.ERROR and "orbax" in record.pathname
    return not raised and not any(words in record.getMessage() for words in _EXPECTED)


logging.getLogger("absl").addFilter(_unexpected)


def _told_once(record: logging.LogRecord) -> bool:
    """Of the many arrays that a full disk cannot hold, Orbax raises one error, and asyncio logs the others with all
    their frames, when they are collected."""
    error = record.exc_info[1] if record.exc_info else None
    return not (error and ".orbax-checkpoint-tmp" in str(error) and storage_fault(error))


logging.getLogger("asyncio").addFilter(_told_once)
