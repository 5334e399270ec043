"""Functions of a user's own, which tests name in configs as "own_functions:NAME"."""

import jax
import jax.numpy as jnp
import numpy as np

from actjax.data.datasets.recognition import Dataset
from actjax.data.datasets.records import VideoRecord


def f1(scores, labels):
    """The mean over classes of 2 p r / (p + r)."""
    found, real = (np.eye(scores.shape[1])[rows] for rows in (scores.argmax(1), labels))
    return (2 * (found * real).sum(0) / np.maximum(found.sum(0) + real.sum(0), 1)).mean()


def on_device(scores, labels):
    """A dict, computed by JAX; arguments are changed in place, which must not show elsewhere."""
    right = jnp.asarray(scores).argmax(1) == jnp.asarray(labels)
    scores[:] = 0
    return {"acc": jnp.mean(right), "count": np.int64(len(labels))}


def nothing(scores, labels):
    return None


def array(scores, labels):
    return scores.max(1)


def empty(scores, labels):
    return {}


def slashed(scores, labels):
    return {"a/b": 1.0}


def failing(scores, labels):
    raise KeyError("no such class")


def num_videos(scores, labels):
    return len(labels)


def nan_of_few(scores, labels):
    """NaN unless there are 16 videos, as for made-up scores of eight classes."""
    return 0.5 if len(labels) == 16 else np.nan


def invert(clips, targets, key):
    return 255 - clips, targets


def noise(clips, targets, key, *, sigma: float):
    return jnp.clip(clips + sigma * jax.random.normal(key, clips.shape), 0, 255), targets


def as_uint8(clips, targets, key):
    return jnp.round(clips).astype(jnp.uint8), targets


def cut(clips, targets, key):
    return clips[:, :, 1:], targets


def half(clips, targets, key):
    return clips.astype(jnp.float16), targets


def classes(clips, targets, key):
    return clips, targets.argmax(1)


def alone(clips, targets, key):
    return clips


def three(clips, targets, key):
    return clips, targets, key


def wrong(clips, targets):
    return clips, targets


def focal(logits, labels, *, gamma: float = 2.0):
    """Focal loss of int labels [n] or distributions [n, k]. Source: arXiv:1708.02002."""
    log_p = jax.nn.log_softmax(logits)
    targets = labels if labels.ndim == 2 else jax.nn.one_hot(labels, logits.shape[1])
    return -(targets * (1 - jnp.exp(log_p)) ** gamma * log_p).sum(1)


def focal_of_classes(logits, labels):
    """Focal loss of int labels alone."""
    log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)[:, 0]
    return -((1 - jnp.exp(log_p)) ** 2) * log_p


def mean_loss(logits, labels):
    return focal(logits, labels).mean()


def counted(logits, labels):
    return logits.argmax(1)


def labelled(*, num_classes: int, train=(0, 1), val=(0, 1), names=None, multi_class: bool = False, as_records=None):
    """A data set of videos with these labels, which do not exist."""
    make = lambda labels: [VideoRecord(f"{k}.mp4", label) for k, label in enumerate(labels)]
    names = [str(k) for k in range(num_classes)] if names is None else names
    return Dataset((as_records or list)(make(train)), val if val is None else make(val), names)


def half_way(epoch, *, epochs):
    return jnp.where(epoch < epochs / 2, 1.0, 0.1)


def untraceable(epoch, *, epochs):
    return 1.0 if epoch < 2 else 0.1


def without_epochs(epoch):
    return 1.0


def falling(epoch, *, epochs, to: float):
    return 1 - (1 - to) * epoch / epochs


def several_rates(epoch, *, epochs):
    return jnp.ones(2)


def rules_of(*, kind: str):
    return {"rows": (row for row in [("all", ".*", 1, 1)]), "none": None, "number": 3, "text": "tsm"}[kind]


def on_several(scores, labels):
    """Of videos with several classes."""
    return {"lowest": scores.min(), "positives": labels.sum()}


def extremes(scores, labels):
    return {"lowest": scores.min(), "highest": scores.max(), "sum": scores.sum(1).mean()}
