"""Scores and labels of videos -> named numbers: the task's own metrics, and those that a config names.

Shapes: n videos, v crops, k classes.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from actjax import metrics
from actjax.config import find
from actjax.errors import check_number
from actjax.tasks.recognition.outputs import probabilities

# Other numbers and words in a row of results or of `metrics.jsonl`.
TAKEN = ("step", "epoch", "split", "protocol", "decoder", "num_videos", "num_broken", "confusion_matrix")
TAKEN += ("bn", "batch_size", "seconds")
NUMBERS = "biuf"  # kinds of NumPy's types that are numbers


def task_score(outputs: dict, targets: dict, *, topk: Sequence[int], multi_label: bool) -> dict:
    """The metrics of recognition. Scores are [n, k], or [n, v, k], of which the mean counts."""
    scores, labels = _rows(outputs, targets)
    if multi_label:
        return {"mAP": class_average_precision(scores, labels), "sample_mAP": sample_average_precision(scores, labels)}
    labels = _single(labels)
    return {
        **accuracies(scores, labels, topk=topk),
        "mean_class_accuracy": metrics.mean_class_accuracy(scores, labels),
        "confusion_matrix": _counts(scores.argmax(1), labels, scores.shape[1]),
    }


def accuracies(scores, labels, *, topk: Sequence[int] = (1, 5)) -> dict[str, float]:
    """`top1_acc`, `top5_acc`: `metrics.top_k_accuracy` of each k up to the number of classes. ValueError: k below 1."""
    for k in topk:
        check_number("topk", k, "[1, inf)", whole=True)
    topk = [k for k in topk if k <= scores.shape[1]]
    shares = metrics.top_k_accuracy(scores, _single(labels), topk=topk)
    return {f"top{k}_acc": share for k, share in zip(topk, shares, strict=True)}


def class_accuracy(scores, labels) -> float:
    """`metrics.mean_class_accuracy`."""
    return metrics.mean_class_accuracy(scores, _single(labels))


def class_average_precision(scores, labels) -> float:
    """`metrics.class_mean_average_precision`; labels are [n] or many-hot [n, k]. NaN if no class has a positive."""
    return metrics.class_mean_average_precision(scores, _many_hot(labels, scores.shape[1]))


def sample_average_precision(scores, labels) -> float:
    """`metrics.sample_mean_average_precision` of the videos that have a class; labels are [n] or many-hot [n, k].

    NaN if no video has one.
    """
    labels = _many_hot(labels, scores.shape[1])
    known = (labels == 1).any(1)
    return metrics.sample_mean_average_precision(scores[known], labels[known])


# Metrics that `evaluators` can name: (scores [n, k], labels [n] or [n, k]) -> a number, or a dict of numbers.
METRICS = {
    "top_k_accuracy": accuracies,
    "mean_class_accuracy": class_accuracy,
    "mAP": class_average_precision,
    "sample_mAP": sample_average_precision,
}
ONE_CLASS = ("top_k_accuracy", "mean_class_accuracy")  # not for videos of several classes


class Metric(NamedTuple):
    """A metric that a config names: its name there, as in `METRICS` or "package.module:name", and its function."""

    name: str
    function: Callable

    def __call__(self, scores: np.ndarray, labels: np.ndarray, *, finite: bool = True) -> dict[str, float]:
        """Its numbers by name; a single number has the function's name.

        Raises:
          ValueError: the function fails, returns anything but real numbers or, with `finite`, NaN or infinity, or a
            name of other results.
        """
        try:
            found = self.function(scores.copy(), labels.copy())  # it may change them
        except Exception as error:
            given = f"scores {list(scores.shape)} and labels {labels.dtype} {list(labels.shape)}"
            raise ValueError(f"metric {self.name!r} failed on {given}: {type(error).__name__}: {error}") from error
        named = found if isinstance(found, Mapping) else {self.name.rpartition(":")[2]: found}
        for value in named.values():
            if np.ndim(value) or np.asarray(value).dtype.kind not in NUMBERS:
                told = f"an array {list(np.shape(value))}" if np.ndim(value) else repr(value)
                raise ValueError(f"metric {self.name!r} returned {told}; it must return a number or a dict of numbers")
            if finite and not np.isfinite(value):
                raise ValueError(f"metric {self.name!r} returned {float(value)}; it must return finite numbers")
        if not named or not all(isinstance(name, str) and name and "/" not in name for name in named):
            raise ValueError(f"metric {self.name!r} returned the names {list(named)}; expected text without slashes")
        if taken := sorted(named.keys() & set(TAKEN)):
            raise ValueError(
                f"metric {self.name!r} returned {taken[0]!r}, which is the name of another number of the results; "
                "choose another name"
            )
        return {name: float(value) for name, value in named.items()}


class Score(NamedTuple):
    """The `score` of an evaluator with metrics of its own; `probabilities` makes their scores of the network's."""

    metrics: tuple[Metric, ...]
    probabilities: Callable

    def __call__(self, outputs: dict, targets: dict, *, finite: bool = True) -> dict[str, float]:
        """The numbers of all metrics.

        Raises:
          ValueError: see `Metric`; two metrics return the same name.
        """
        scores, labels = _rows(outputs, targets)
        numbers: dict[str, float] = {}
        for metric in self.metrics:
            new = metric(self.probabilities(scores), labels, finite=finite)
            if twice := sorted(numbers.keys() & new):
                raise ValueError(f"metric {metric.name!r} returned {twice[0]!r}, as another metric does")
            numbers |= new
        return numbers


def task_metrics(task, *, num_classes: int, multi_label: bool) -> list[str]:
    """The names of the numbers that the task's own `score` reports."""
    scores, labels = _made_up(num_classes, multi_label)
    found = task.score({"scores": scores}, {"label": labels})
    return [name for name, value in found.items() if np.ndim(value) == 0]


def find_metrics(
    names: Sequence[str], where: str, *, num_classes: int, multi_label: bool, average_clips: str
) -> tuple[Score, list[str]]:
    """The `score` that computes the metrics `names`, and the names of its numbers for made-up scores.

    Args:
      average_clips: says what the scores of the network are, see `probabilities`.

    Raises:
      ValueError: an unknown name; a metric that does not fit the labels, or fails for made-up scores. These may have
        NaN as their value.
    """
    for name in names:
        if multi_label and name in ONE_CLASS:
            raise ValueError(f"{where}={name!r} needs one class per video; with data.multi_class there are several")
    scores_of = functools.partial(probabilities, average_clips=average_clips, multi_label=multi_label)
    score = Score(tuple(Metric(name, find(METRICS, name, where)) for name in names), scores_of)
    scores, labels = _made_up(num_classes, multi_label)
    try:
        return score, list(score({"scores": scores}, {"label": labels}, finite=False))
    except ValueError as error:
        raise ValueError(f"{where}, on made-up scores: {error}") from error


def _made_up(num_classes: int, multi_label: bool) -> tuple[np.ndarray, np.ndarray]:
    """Random scores float32 [2k, k] and their labels, int64 [2k] or many-hot float32 [2k, k]; each class occurs."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(2 * num_classes) % num_classes
    scores = metrics.softmax(rng.normal(size=(2 * num_classes, num_classes)).astype(np.float32))
    return scores, np.eye(num_classes, dtype=np.float32)[labels] if multi_label else labels


def _rows(outputs: dict, targets: dict) -> tuple[np.ndarray, np.ndarray]:
    """Scores [n, k], and labels int64 [n] or float32 [n, k]."""
    scores, labels = outputs["scores"], targets["label"]
    return scores.mean(1) if scores.ndim == 3 else scores, labels.astype(np.int64) if labels.ndim == 1 else labels


def _single(labels: np.ndarray) -> np.ndarray:
    """One class per video -> int64 [n]; of a distribution over the classes, the likeliest."""
    return (labels if labels.ndim == 1 else labels.argmax(1)).astype(np.int64)


def _many_hot(labels: np.ndarray, num_classes: int) -> np.ndarray:
    return np.eye(num_classes, dtype=np.float32)[labels] if labels.ndim == 1 else labels


def _counts(predictions: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """The confusion matrix over all k classes, including absent ones -> int64 [k, k]; rows are the true classes."""
    return np.bincount(labels * k + predictions, minlength=k * k).reshape(k, k)
