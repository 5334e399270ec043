"""Action recognition: classes of a video. Shapes: b videos, v views, t frames, h w pixels, c channels, k classes."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from actjax.losses import binary_cross_entropy, cross_entropy
from actjax.metrics import (
    class_mean_average_precision,
    mean_class_accuracy,
    sample_mean_average_precision,
    top_k_accuracy,
)
from actjax.models import TSM, TSN
from actjax.tasks.task import Task

MODELS = {"TSN": TSN, "TSM": TSM}


def recognition(
    model: nn.Module,
    *,
    average_clips: str,
    topk: tuple[int, ...] = (1, 5),
    augment: Callable | None = None,
    multi_label: bool = False,
    channels: int = 3,
) -> Task:
    """The task of a recogniser that maps clips `[n, t, h, w, c]` to scores `[n, k]`.

    Args:
      model: a recogniser of `actjax.models`.
      average_clips: how the views of a video become one answer: "prob", the mean of their softmax, or "score", the
        mean of their scores.
      topk: the ks of the reported top-k accuracies.
      augment: (video [n, t, h, w, c], targets [n, k], key) -> both, for training; see `models.make_augment`.
      multi_label: many-hot labels [b, k]: binary cross-entropy, sigmoid scores, mean average precisions.
      channels: of the clips; 3 for RGB.

    Labels are int [b], or float [b, k]: distributions over the classes or, with `multi_label`, many-hot.
    """
    criterion = binary_cross_entropy if multi_label else cross_entropy

    def init(key):
        clip = jnp.zeros((1, getattr(model, "num_segments", None) or 2, 32, 32, channels), jnp.uint8)
        return model.init(key, clip, train=False)

    def loss(variables, batch, key):
        video = batch["video"]
        b, v = video.shape[:2]
        collections = [name for name in variables if name != "params"]
        clips = video.reshape(b * v, *video.shape[2:])
        labels = jnp.repeat(batch["label"], v, axis=0)
        if augment is not None:
            targets = labels if labels.ndim == 2 else jax.nn.one_hot(labels, model.num_classes)
            clips, labels = augment(clips, targets, jax.random.fold_in(key, 1))
        scores, updated = model.apply(variables, clips, train=True, mutable=collections, rngs={"dropout": key})
        per_video = lambda x: x.reshape(b, v).mean(1)
        losses = per_video(criterion(scores, labels))
        if multi_label:
            return losses, updated, {}
        likeliest = labels if labels.ndim == 1 else labels.argmax(-1)
        return losses, updated, {"top1_acc": per_video((scores.argmax(-1) == likeliest).astype(jnp.float32))}

    def predict(variables, batch):
        video = batch["video"]
        b, v = video.shape[:2]
        scores = model.apply(variables, video.reshape(b * v, *video.shape[2:]), train=False)
        if multi_label:
            scores = jax.nn.sigmoid(scores)
        elif average_clips == "prob":
            scores = jax.nn.softmax(scores)
        return {"scores": scores.reshape(b, v, -1).mean(1)}

    def score(outputs, targets):
        scores, labels = outputs["scores"], targets["label"]
        if multi_label:
            return {
                "mAP": class_mean_average_precision(scores, labels),
                "sample_mAP": sample_mean_average_precision(scores, labels),
            }
        labels = (labels if labels.ndim == 1 else labels.argmax(1)).astype(np.int64)
        accuracies = top_k_accuracy(scores, labels, topk=topk)
        return {
            **{f"top{k}_acc": accuracy for k, accuracy in zip(topk, accuracies, strict=True)},
            "mean_class_accuracy": mean_class_accuracy(scores, labels),
            "confusion_matrix": _counts(scores.argmax(1), labels, scores.shape[1]),
        }

    return Task(init, loss, predict, score)


def _counts(predictions: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """The confusion matrix over all k classes, also those that do not occur -> int64 [k, k], rows real."""
    return np.bincount(labels * k + predictions, minlength=k * k).reshape(k, k)
