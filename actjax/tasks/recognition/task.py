"""Action recognition. Shapes: b videos, v crops of each, n = b v clips, t frames, h w pixels, c channels, k classes."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from actjax.data.clips.spec import ClipSpec
from actjax.losses import binary_cross_entropy, cross_entropy
from actjax.models import TSM, TSN, initialize
from actjax.tasks.recognition.scoring import task_score
from actjax.training.task import Task

MODELS = {"TSN": TSN, "TSM": TSM}


class Test(NamedTuple):
    """How videos are scored: the task, and the spec of their clips."""

    task: Task
    clips: ClipSpec


def recognition_task(
    model: nn.Module,
    *,
    average_clips: str,
    clips_at_once: int = 0,
    topk: tuple[int, ...] = (1, 5),
    augment: Callable | None = None,
    multi_label: bool = False,
    criterion: Callable | None = None,
) -> Task:
    """The task of a recogniser that maps clips `[n, t, h, w, c]` to logits `[n, k]`.

    Args:
      model: a recogniser of `actjax.models`.
      average_clips: how the crops of a video are combined. "prob": mean of their probabilities. "score": mean of their
        logits. "none": `predict` returns all logits [b, v, k], and the metrics use their mean.
      clips_at_once: crops of each video that go through the network at a time, to bound memory; 0: all.
      topk: the ks of the reported top-k accuracies.
      augment: (video [n, t, h, w, c], targets [n, k], key) -> both, for training; see `pixels.make_augment`.
      multi_label: labels are many-hot [b, k]; uses binary cross-entropy, sigmoid and mean average precision.
      criterion: (logits [n, k], labels) -> losses [n]; None: the default cross-entropy of `actjax.losses`.

    Labels are int [b], or float [b, k]: distributions over the classes or, with `multi_label`, many-hot.
    """
    criterion = criterion or (binary_cross_entropy if multi_label else cross_entropy)
    probabilities = jax.nn.sigmoid if multi_label else jax.nn.softmax

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
        scores = _by_view(lambda clips: model.apply(variables, clips, train=False), batch["video"], clips_at_once)
        if average_clips == "prob":
            scores = probabilities(scores)
        return {"scores": scores if average_clips == "none" else scores.mean(1)}

    score = functools.partial(task_score, topk=topk, multi_label=multi_label)
    return Task(lambda key: initialize(model, key=key), loss, predict, score)


def _by_view(apply: Callable, video, clips_at_once: int):
    """Applies the network to `clips_at_once` crops of each video at a time: `[b, v, t, h, w, c] -> [b, v, k]`."""
    b, v = video.shape[:2]
    if not 0 < clips_at_once < v:
        return apply(video.reshape(b * v, *video.shape[2:])).reshape(b, v, -1)
    return jnp.moveaxis(jax.lax.map(apply, jnp.moveaxis(video, 1, 0), batch_size=clips_at_once), 0, 1)
