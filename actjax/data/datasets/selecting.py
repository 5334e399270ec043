"""Selects, repeats, samples and shards records: pure functions of records, labels and draws."""

import itertools
from collections.abc import Sequence

import numpy as np

from actjax.video.draws import below


class _Chain(Sequence):
    """Concatenated lists of records, without a copy."""

    def __init__(self, lists: Sequence[Sequence]):
        self._lists, self._ends = lists, np.cumsum([len(records) for records in lists])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __iter__(self):
        return itertools.chain.from_iterable(self._lists)

    def __getitem__(self, index: int):
        if not -len(self) <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        index %= len(self)
        which = int(np.searchsorted(self._ends, index, side="right"))
        return self._lists[which][index - int(self._ends[which])]


def concatenate(*lists: Sequence) -> Sequence:
    """The records of all lists, one list after another. ValueError: no list is given."""
    if not lists:
        raise ValueError("concatenate: no list of records")
    return _Chain(lists)


def repeat(records: Sequence, times: int) -> Sequence:
    """All records, `times` times. ValueError: `times` is below 1. Source: the API entry RepeatDataset."""
    if times < 1:
        raise ValueError(f"repeat: times={times}; must be at least 1")
    return _Chain([records] * times)


def subset(records: Sequence, *, classes=None, fraction: float | None = None, seed: int = 0) -> list:
    """The records of some classes, optionally only a fraction of each, in their original order.

    Args:
      classes: the classes to keep, each of which must occur; None for all.
      fraction: share of every class to keep, in (0, 1], at least one record of each; `seed` determines which.

    Raises:
      ValueError: a fraction out of range, vector labels, a class without a record, nothing left.
    """
    if fraction is not None and not 0 < fraction <= 1:
        raise ValueError(f"subset: fraction={fraction}; must be in (0, 1]")
    labels = _classes("subset", [record.label for record in records])
    wanted = np.unique(labels) if classes is None else np.array(list(classes), np.int64)
    if missing := sorted(set(wanted.tolist()) - set(labels.tolist())):
        raise ValueError(f"subset: no record of the classes {missing}; there are {np.unique(labels).tolist()}")
    kept = np.isin(labels, wanted)
    if fraction is not None:
        rank = np.random.default_rng(seed).permutation(len(labels))
        for label in np.unique(labels[kept]):
            members = np.flatnonzero(kept & (labels == label))
            count = max(1, round(fraction * len(members)))
            kept[members[np.argsort(rank[members])[count:]]] = False
    if not kept.any():
        raise ValueError(f"subset: {len(records)} records, classes={classes}; nothing is left")
    return [records[k] for k in np.flatnonzero(kept)]


def selected(
    records: Sequence,
    *,
    repeat_times: int = 1,
    classes: Sequence[int] | None = None,
    fraction: float | None = None,
    seed: int = 0,
):
    """The records of `classes`, a `fraction` of each class, the result repeated `repeat_times` times."""
    if classes is not None or fraction is not None:
        records = subset(records, classes=classes, fraction=fraction, seed=seed)
    return records if repeat_times == 1 else repeat(records, repeat_times)


def class_probabilities(labels, *, power: float) -> np.ndarray:
    """The probability that `power_sample` draws each class -> float64 [num_classes], proportional to count ** power.

    Raises:
      ValueError: labels that are not the classes 0..K-1, each of them at least once.
    """
    counts = np.bincount(_classes("class_probabilities", labels))
    if not counts.size:
        raise ValueError("class_probabilities: no labels")
    if not counts.all():
        raise ValueError(f"class_probabilities: no record of the classes {np.flatnonzero(counts == 0).tolist()}")
    weights = counts.astype(np.float64) ** power
    return weights / weights.sum()


def power_sample(labels, *, power: float, u):
    """Draws records with replacement: first a class, with `class_probabilities`, then one of its records.

    Args:
      labels: int [n], classes 0..K-1, none empty.
      power: 1 makes all records equally likely, 0 all classes (class-balanced sampling).
      u: draws [m, 2]: the class, the record within it.

    Returns:
      Indices, whole numbers [m].

    Raises:
      ValueError: see `class_probabilities`; draws that are not [m, 2].

    Source: DistributedPowerSampler of MMAction2 0.8 (Mahajan et al., arXiv:1805.00932, section 2.2).
    """
    if u.ndim != 2 or u.shape[1] != 2:
        raise ValueError(f"power_sample: u has shape {u.shape}; expected [m, 2]")
    xp = u.__array_namespace__()
    bounds = np.cumsum(class_probabilities(labels, power=power))[:-1]
    counts = np.bincount(labels)
    drawn = xp.searchsorted(xp.asarray(bounds, dtype=u.dtype), u[:, 0], side="right")
    within = below(xp.asarray(counts, dtype=u.dtype)[drawn], u[:, 1])
    first = xp.asarray(np.cumsum(counts) - counts)[drawn]
    return xp.asarray(np.argsort(labels, kind="stable"))[first + within]


def shard(indices: Sequence[int], *, index: int, count: int) -> np.ndarray:
    """The share of one of `count` processes -> int64 [ceil(n / count)]: every count-th index, padded from the start.

    Raises:
      ValueError: no indices, or a process outside [0, count).

    Source: the API's DistributedSampler. Fixed: padding wraps around as often as necessary.
    """
    indices = np.asarray(indices)
    if not len(indices) or not 0 <= index < count:
        raise ValueError(f"shard: {len(indices)} indices for process {index} of {count}")
    size = -(-len(indices) // count)
    return np.resize(indices, size * count)[index::count]


def _classes(function: str, labels) -> np.ndarray:
    labels = np.asarray(labels) if len(labels) else np.zeros(0, np.int64)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(f"{function}: labels are {labels.dtype} {list(labels.shape)}; expected classes, int [n]")
    if labels.size and labels.min() < 0:
        raise ValueError(f"{function}: label {labels.min()}; classes count from 0")
    return labels
