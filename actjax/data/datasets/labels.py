"""Labels in annotation files: one class, several classes, or class weights."""

from collections.abc import Callable, Sequence

import numpy as np

from actjax.data.datasets.named_labels import number_of, parts_of, weighted
from actjax.data.datasets.parsing import whole
from actjax.data.datasets.records import Label


def labels_of(multi_class: bool, num_classes: int | None, *, names: Sequence[str] | None = None) -> Callable:
    """A function that turns the labels of a line, or the label field of a row, into a `Label`.

    With `multi_class` there may be no label at all: a video of none of the classes.

    Args:
      names: of the classes, if the labels are names; None: they are numbers.
    """
    numbers = None if names is None else {name: k for k, name in enumerate(names)}
    if multi_class and num_classes is None:
        raise ValueError("load_annotations: multi_class needs num_classes")

    def label_of(given) -> Label:
        labels = given["label"] if isinstance(given, dict) else given
        pairs = _numbered(labels) if numbers is None else _named(labels, numbers, multi_class)
        classes, soft = [k for k, _ in pairs], any(weight is not None for _, weight in pairs)
        if num_classes is not None and max(classes, default=0) >= num_classes:
            raise ValueError(
                f"label {max(classes)} needs model.num_classes > {max(classes)}; the first label is 0, "
                "so labels that count from 1 need 1 less each"
            )
        if not multi_class and not soft:
            if len(classes) != 1:
                raise ValueError(f"{len(classes)} labels; one is expected without multi_class")
            return classes[0]
        if num_classes is None:
            raise ValueError("several labels need num_classes")
        vector = np.zeros(num_classes, np.float32)
        vector[classes] = [float(weight or "") for _, weight in pairs] if soft else 1.0
        if soft and not (len(set(classes)) == len(classes) and _weighs(vector, multi_class)):
            allowed = "each up to 1" if multi_class else "that sum to 1"
            raise ValueError(f"weights must be positive numbers {allowed}, one per class")
        return vector

    return label_of


def _numbered(labels) -> list[tuple[int, str | None]]:
    """(class, weight or None) of labels that are numbers."""
    if isinstance(labels, str):
        labels = labels.split(";") if labels.strip() else []
    labels = [str(label).strip() for label in (labels if isinstance(labels, list) else [labels])]
    pairs = [label.partition(":") for label in labels]
    try:
        return [(whole(k), weight if colon else None) for k, colon, weight in pairs]
    except ValueError:
        raise ValueError("labels must be whole numbers, 0 or more; names of classes need CSV or JSON") from None


def _named(labels, numbers: dict[str, int], multi_class: bool) -> list[tuple[int, str | None]]:
    """(class, weight or None) of labels that are names."""
    if isinstance(labels, str):
        labels = parts_of(labels, numbers, multi_class=multi_class)
    labels = labels if isinstance(labels, list) else [labels]
    if odd := [label for label in labels if type(label) not in (str, int)]:
        raise ValueError(f"label {odd[0]!r} is no name of a class")
    pairs = [weighted(str(label).strip(), names=numbers) for label in labels]
    return [(number_of(name, numbers), weight or None) for name, weight in pairs]


def _weighs(vector: np.ndarray, multi_class: bool) -> bool:
    """Whether weights are a valid target, of one sigmoid per class (`multi_class`) or of a softmax; NaN is not."""
    fits = vector.max() <= 1 if multi_class else abs(vector.sum() - 1) < 1e-3
    return bool(fits and vector.min() >= 0 < vector.max())


def label_text(label: Label, soft: bool) -> str:
    """The label in the format that `labels_of` reads; with `soft`, every class has a weight."""
    if np.ndim(label) == 0:
        return str(int(label))
    return ";".join(f"{k}:{label[k]:.6g}" if soft else str(k) for k in np.flatnonzero(label))
