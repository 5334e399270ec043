"""Action recognition: one label per video. Shapes: b videos, v views, t frames, h w pixels, c channels, k classes."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from actjax.losses import cross_entropy
from actjax.metrics import mean_class_accuracy, top_k_accuracy
from actjax.models import TSM, TSN
from actjax.tasks.task import Task

MODELS = {"TSN": TSN, "TSM": TSM}


def recognition(model: nn.Module, *, average_clips: str, topk: tuple[int, ...] = (1, 5)) -> Task:
    """The task of a recogniser that maps clips `[n, t, h, w, c]` to scores `[n, k]`.

    Args:
      model: a recogniser of `actjax.models`.
      average_clips: how the views of a video become one answer: "prob", the mean of their softmax, or "score", the
        mean of their scores.
      topk: the ks of the reported top-k accuracies.
    """

    def init(key):
        clip = jnp.zeros((1, getattr(model, "num_segments", None) or 2, 32, 32, 3), jnp.uint8)
        return model.init(key, clip, train=False)

    def loss(variables, batch, key):
        video = batch["video"]
        b, v = video.shape[:2]
        collections = [name for name in variables if name != "params"]
        scores, updated = model.apply(
            variables, video.reshape(b * v, *video.shape[2:]), train=True, mutable=collections, rngs={"dropout": key}
        )
        labels = jnp.repeat(batch["label"], v)
        hits = (scores.argmax(-1) == labels).astype(jnp.float32)
        per_video = lambda x: x.reshape(b, v).mean(1)
        return per_video(cross_entropy(scores, labels)), updated, {"top1_acc": per_video(hits)}

    def predict(variables, batch):
        video = batch["video"]
        b, v = video.shape[:2]
        scores = model.apply(variables, video.reshape(b * v, *video.shape[2:]), train=False)
        if average_clips == "prob":
            scores = jax.nn.softmax(scores)
        return {"scores": scores.reshape(b, v, -1).mean(1)}

    def score(outputs, targets):
        scores, labels = outputs["scores"], targets["label"].astype(np.int64)
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
