"""The checkpoints of a run, as files: which there are, which are whole, and their content."""

import contextlib
import errno
import hashlib
import json
import logging
import math
import os
import pathlib
from collections.abc import Iterator

import jax
import numpy as np
import orbax.checkpoint as ocp

from actjax import paths
from actjax.config.changes import digest_of_config
from actjax.training import digests
from actjax.training.digests import DamagedError

log = logging.getLogger(__name__)

_LATER = "ranked.json"  # in the folder of a checkpoint


class MisfitError(ValueError):
    """A checkpoint has other arrays than the network."""

    clear = True  # see `errors.clear_errors`


def steps(folder: pathlib.Path) -> list[int]:
    """The steps of the checkpoints in `folder`, in ascending order. NotADirectoryError: it is a file."""
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    return sorted(ocp.utils.checkpoint_steps(paths.absolute(folder))) if folder.is_dir() else []


def metrics(folder: pathlib.Path, step: int) -> dict[str, float]:
    """The metrics that were saved with a checkpoint, or later by `rank`; {} if there are none."""
    later = _ranked(folder, step)
    try:
        found = later["metrics"] if later else json.loads((folder / str(step) / "metrics" / "metrics").read_text())
    except (OSError, ValueError):
        return {}
    numbers = found.items() if isinstance(found, dict) else ()
    return {name: value for name, value in numbers if isinstance(value, int | float)}


def rank(folder: pathlib.Path, step: int, metrics: dict[str, float], *, val: str) -> None:
    """Stores metrics that were computed after the checkpoint was written, of the validation with the digest `val`."""
    content = {"metrics": metrics, "val": val}
    paths.rewrite(folder / str(step) / _LATER, json.dumps(content | {"digest": digest_of_config(content)}))


def _ranked(folder: pathlib.Path, step: int) -> dict:
    """What `rank` wrote; {} if it did not, or if the file is damaged."""
    try:
        content = json.loads((folder / str(step) / _LATER).read_text())
        return content if content.pop("digest") == digest_of_config(content) else {}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return {}


def best(folder: pathlib.Path, metric: str, *, upward: bool) -> int | None:
    """The step of the best checkpoint, see `best_of`; metrics of another validation split than the newest's are left
    out."""
    if not (existing := steps(folder)):
        return None
    ranked = set(existing) - outdated(folder, _validation(folder, existing[-1]))
    return best_of({step: metrics(folder, step) for step in ranked}, metric, upward=upward)


def best_of(known: dict[int, dict[str, float]], metric: str, *, upward: bool) -> int | None:
    """The step with the best value of `metric`, the latest of equal ones; None if none has it.

    >>> best_of({10: {"top1_acc": 0.5}, 20: {"top1_acc": 0.5}, 30: {}}, "top1_acc", upward=True)
    20

    Args:
      known: the metrics of each step. NaN counts as missing.
    """
    sign = 1 if upward else -1
    values = {step: sign * each.get(metric, math.nan) for step, each in known.items()}
    return max((step for step in values if not math.isnan(values[step])), key=lambda s: (values[s], s), default=None)


def outdated(folder: pathlib.Path, val: str) -> frozenset[int]:
    """The steps whose metrics are known to be of another validation split than that of the digest `val`."""
    return frozenset(step for step in steps(folder) if val and _validation(folder, step) not in ("", val))


def _validation(folder: pathlib.Path, step: int) -> str:
    """The digest of the validation split of a checkpoint's metrics; "" if it is not known."""
    if later := _ranked(folder, step):
        return later["val"]
    try:
        return (digests.content(folder / str(step)).get("timeline") or {}).get("val", "")
    except (OSError, ValueError, AttributeError):  # a damaged one
        return ""


def find(folder: pathlib.Path, which: str, *, metric: str, upward: bool) -> int:
    """The step of checkpoint `which`: "latest", "best" (the latest if none was evaluated) or a number.

    Raises:
      FileNotFoundError: there is no such checkpoint; the message lists the existing ones.
    """
    existing = steps(folder)
    if which == "best":
        step = best(folder, metric, upward=upward)
        which = "latest" if step is None else str(step)
    step = max(existing, default=None) if which == "latest" else {str(each): each for each in existing}.get(which)
    if not existing:
        raise FileNotFoundError(f"{folder} has no checkpoint yet")
    if step is None:
        raise FileNotFoundError(f"no checkpoint {which!r} in {folder}; there are: latest, best, {existing}")
    return step


@contextlib.contextmanager
def offering(folder: pathlib.Path, step: int) -> Iterator[None]:
    """A context for reading the checkpoint of `step`; if it is damaged, the error names the newest whole one."""
    try:
        yield
    except DamagedError as error:
        others = [other for other in reversed(steps(folder)) if other != step and _is_whole(folder, other)]
        offer = "no other checkpoint is intact"
        if others:
            offer = (
                f"the newest intact checkpoint is that of step {others[0]}; use --checkpoint={others[0]} to select it"
            )
        raise DamagedError(f"{error}; {offer}") from None


def digest(folder: pathlib.Path, step: int) -> str:
    """The digest of a checkpoint's arrays; "" for one of an older version."""
    files = digests.content(folder / str(step)).get("files", {})
    arrays = "".join(digest for name, digest in sorted(files.items()) if name.startswith("default/"))
    return hashlib.sha256(arrays.encode()).hexdigest() if arrays else ""


def check(folder: pathlib.Path, step: int) -> None:
    """Compares the files of a checkpoint with their digests. Raises DamagedError."""
    if digests.check(folder / str(step)) is None:
        log.warning("%s has no digests, as an older version wrote it; its files are not verified", folder / str(step))


def _is_whole(folder: pathlib.Path, step: int) -> bool:
    try:
        return bool(digests.check(folder / str(step)) or arrays(folder, step))
    except DamagedError:
        return False


def set_damaged_aside(folder: pathlib.Path) -> None:
    """Moves damaged checkpoints to the folder `checkpoints.damaged` beside `folder`, with a warning.

    For one process, before any other reads or writes the folder.

    Raises:
      DamagedError: no checkpoint is intact; a damaged one in an object store, where folders cannot be renamed.
    """
    damaged = {}
    for step in steps(folder):
        try:
            check(folder, step)
            arrays(folder, step)
        except DamagedError as error:
            damaged[step] = error
    whole = max(set(steps(folder)) - damaged.keys(), default=None)
    if damaged and whole is None:
        raise DamagedError(
            f"{damaged[max(damaged)]}; no other checkpoint is intact. To train anew, choose another workdir, or delete "
            f"{folder}"
        )
    then = f"resuming from the newest intact checkpoint, that of step {whole}"
    for step, error in damaged.items():
        if paths.is_url(folder):
            raise DamagedError(f"{error}; delete {folder / str(step)}: {then}")
        aside = folder.with_name("checkpoints.damaged")
        aside.mkdir(exist_ok=True)
        target = paths.unused(aside / str(step))
        (folder / str(step)).rename(target)
        log.warning("%s; moved to %s: %s", error, target, then)


def read(folder: pathlib.Path, step: int, wanted: dict, *, whole: bool) -> dict:
    """The arrays of a checkpoint with the shapes and shardings of `wanted`.

    Args:
      wanted: a tree of `jax.ShapeDtypeStruct` with shardings.
      whole: whether the checkpoint must have no further arrays.

    Raises:
      MisfitError: other arrays or shapes. DamagedError: it cannot be read.
    """
    path = paths.absolute(folder / str(step) / "default")
    compare(arrays(folder, step), wanted, whole=whole, where=str(folder / str(step)))
    try:
        return ocp.Checkpointer(ocp.PyTreeCheckpointHandler()).restore(
            path,
            args=ocp.args.PyTreeRestore(
                item=wanted, restore_args=ocp.checkpoint_utils.construct_restore_args(wanted), partial_restore=True
            ),
        )
    except (ValueError, OSError) as error:
        raise _unreadable(path, error) from error


def arrays(folder: pathlib.Path, step: int) -> dict[str, tuple]:
    """The shapes of the arrays of a checkpoint, by path. DamagedError: they cannot be read."""
    path = paths.absolute(folder / str(step) / "default")
    try:
        tree = ocp.Checkpointer(ocp.PyTreeCheckpointHandler()).metadata(path).item_metadata.tree
    except Exception as error:  # of the many that a damaged file leads to
        raise _unreadable(path, error) from error
    return _flat(tree)


def _unreadable(path: pathlib.Path, error: Exception) -> DamagedError:
    told = " ".join(str(error).split())
    return DamagedError(f"{path} cannot be read: {told[:200]}")


def compare(saved: dict[str, tuple], wanted: dict, *, whole: bool, where: str) -> None:
    """Raises MisfitError, with the first difference, unless a checkpoint has the wanted arrays."""
    wanted = _flat(wanted)
    for name in sorted(wanted):
        if name not in saved:
            raise MisfitError(f"{where} does not fit: it has no {name}")
        if saved[name] != wanted[name]:
            raise MisfitError(f"{where} does not fit: {name} is {[*saved[name]]} there, {[*wanted[name]]} here")
    if whole and (more := sorted(saved.keys() - wanted.keys())):
        raise MisfitError(f"{where} does not fit: it has {more[0]}")


def _flat(tree) -> dict[str, tuple]:
    """Shapes by path, such as "variables/params/head/kernel"."""
    return {_joined(path): tuple(leaf.shape) for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def _joined(path: tuple) -> str:
    """A path of JAX's trees, whatever its containers."""
    part = lambda key: str(next(getattr(key, name) for name in ("key", "name", "idx") if hasattr(key, name)))
    return "/".join(map(part, path))


def check_finite(variables: dict, where: str) -> None:
    """Raises ValueError if a weight or statistic is not finite.

    >>> check_finite({"params": {"w": np.float32("nan")}}, "checkpoint 3")
    Traceback (most recent call last):
    ValueError: checkpoint 3: params/w is not finite (1 of 1 values); the run has diverged, take an earlier checkpoint
    """
    for path, leaf in jax.tree_util.tree_flatten_with_path(variables)[0]:
        values = np.asarray(leaf.addressable_data(0) if hasattr(leaf, "addressable_data") else leaf)
        if values.dtype.kind in "fcV" and (bad := np.count_nonzero(~np.isfinite(values))):
            name = _joined(path)
            raise ValueError(
                f"{where}: {name} is not finite ({bad} of {values.size} values); the run has diverged, take an earlier "
                "checkpoint"
            )
