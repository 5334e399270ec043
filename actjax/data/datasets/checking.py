"""Data sets that are not ours are checked at launch: their class names, their records and the labels of these.

Those that check raise ValueError, in one line that begins with the name of the data set.
"""

import collections
import logging
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from actjax.errors import shown

log = logging.getLogger("actjax")


def warn_of_both(where: str, train: Iterable[str], val: Iterable[str]) -> None:
    """Warns of videos that are in both splits; `where` names the lists."""
    trained = {*train}
    if both := [*dict.fromkeys(video for video in val if video in trained)]:
        log.warning(
            "%s: %d videos are in both, %s the first; scores on training videos are too optimistic",
            where, len(both), shown(both[0]),
        )  # fmt: skip


def warn_of_labels(where: Mapping[str, Sequence]) -> None:
    """Warns if no record of any list, by its name, has label 0, and if one list has a video more than once."""
    labels = [record.label for records in where.values() for record in records]
    if labels and all(isinstance(label, int) for label in labels) and min(labels) > 0:
        log.warning("%s: no video has label 0, the first class; do the labels count from 1?", ", ".join(where))
    for name, records in where.items():
        if len({*(paths := [record.path for record in records])}) == len(paths):
            continue
        of_path = collections.defaultdict(list)
        for record in records:
            of_path[record.path].append(record.label)
        path, found = next((path, found) for path, found in of_path.items() if len(found) > 1)
        log.warning("%s: %d videos are there more than once, %s the first, with labels %s and %s", name,
                    sum(len(found) > 1 for found in of_path.values()), shown(path), *map(_told, found[:2]))  # fmt: skip


def check_names(names, num_classes: int, where: str) -> None:
    """Checks that there is one name for each class, in a list."""
    if not _is_sequence(names):
        raise ValueError(
            f"{where}: class_names is {type(names).__name__}; it must be a list of text, name k of class k"
        )
    if (found := len(names)) != num_classes:
        raise ValueError(
            f"{where} has {found} class names, but model.num_classes={num_classes}; "
            f"set model.num_classes={found}, or correct the names"
        )


def check_records(records, num_classes: int, where: str, *, multi_class: bool) -> None:
    """Checks that records are a sequence, not empty, and that their labels fit the classes and each other.

    Args:
      where: the data set and its split, for errors.
      multi_class: labels are vectors [num_classes] of numbers in [0, 1]. Otherwise all are classes, whole numbers, or
        all are distributions over the classes, [num_classes].
    """
    if not _is_sequence(records):
        raise ValueError(f"{where} is {type(records).__name__}; it must be a sequence of records, such as a list")
    if not len(records):
        raise ValueError(f"{where} has no records")
    vectors = multi_class
    for number in range(len(records)):
        record = records[number]
        for name in ("path", "label", "open"):
            if not hasattr(record, name):
                raise ValueError(f"{where}: record {number}, {type(record).__name__}, has no attribute {name!r}")
        label = record.label
        if not number and not multi_class:
            vectors = _array(label).ndim > 0
        if vectors:
            expected = _expected_of_vector(label, num_classes, multi_class)
        else:
            expected = "" if _is_class(label, num_classes) else f"a whole number in 0..{num_classes - 1}"
        if expected:
            raise ValueError(
                f"{where}: record {number}, {record.path!r}, has label {_told(label)}; expected {expected}"
            )


def check_prepared_labels(labels, num_classes: int, folder: str, multi_class: bool) -> None:
    """Checks that the labels of a prepared set, classes or vectors, are what `data.multi_class` says.

    Without it, vectors are distributions over the classes: they sum to 1, and at least one has several classes.
    """
    labels = np.asarray(labels)
    where = f"data.folder={folder}"
    if labels.ndim == 1:
        if multi_class:
            raise ValueError(f"{where}: every video has one class; remove data.multi_class")
        if wrong := labels[(labels < 0) | (labels >= num_classes)].tolist():
            raise ValueError(
                f"{where}: label {wrong[0]} is none of the {num_classes} classes; delete index/SPLIT.json there and "
                "prepare it again"
            )
        return
    whole = np.isin(labels, (0, 1)).all()
    if not multi_class and (whole or (abs(labels.sum(1) - 1) > 1e-3).any()):
        raise ValueError(f"{where}: a video may have several classes there; set data.multi_class=True")


def _is_sequence(value) -> bool:
    return not isinstance(value, str | Mapping) and hasattr(value, "__len__") and hasattr(value, "__getitem__")


def _is_class(label, num_classes: int) -> bool:
    if type(label) is not int and (_array(label).ndim or _array(label).dtype.kind not in "iu"):
        return False
    return 0 <= label < num_classes


def _expected_of_vector(label, num_classes: int, multi_class: bool) -> str:
    """What a label should be instead; "" if it is a vector that fits."""
    vector = _array(label)
    fits = vector.shape == (num_classes,) and vector.dtype.kind in "biuf"
    if not (fits and vector.min() >= 0 and vector.max() <= 1):
        return f"{num_classes} numbers in [0, 1], one for each class"
    return (
        "" if multi_class or abs(vector.sum() - 1) < 1e-3 else "weights that sum to 1, as data.multi_class is not set"
    )


def _array(label) -> np.ndarray:
    try:
        return np.asarray(label)
    except (TypeError, ValueError):  # sequences of several lengths
        return np.asarray(None)


def _told(label) -> str:
    text = repr(label)
    return text if len(text) <= 60 else f"{text[:60]}..."
