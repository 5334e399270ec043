"""Losses of classification. Shapes: b examples, k classes."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from actjax.errors import check_number


def cross_entropy(
    scores,
    labels,
    *,
    label_smoothing: float = 0.0,
    class_weights: Sequence[float] | None = None,
    loss_weight: float = 1.0,
):
    """-sum of target x log softmax(logits), in float32 -> [b]. Source: CrossEntropyLoss of MMAction2 0.6.

    Args:
      scores: logits [b, k]. labels: int [b], or float [b, k], a distribution over the classes.
      label_smoothing: share of the target to spread evenly over all classes. Source: arXiv:1512.00567.
      class_weights: [k]; an example gets its target's weight. Weights are divided by their mean over the batch, so
        the mean of the result is the weighted mean loss.
      loss_weight: factor of the result.
    """
    check_number("label_smoothing", label_smoothing, "[0, 1]")
    check_number("loss_weight", loss_weight, "(0, inf)")
    k = scores.shape[-1]
    log_probabilities = jax.nn.log_softmax(scores.astype(jnp.float32))
    if labels.ndim == 1 and not label_smoothing and class_weights is None:
        return -loss_weight * log_probabilities[jnp.arange(len(labels)), labels]
    targets = smoothed(labels if labels.ndim == 2 else jax.nn.one_hot(labels, k), label_smoothing)
    if class_weights is None:
        return -loss_weight * (targets * log_probabilities).sum(-1)
    weighted = targets * _checked(class_weights, k)
    return -loss_weight * (weighted * log_probabilities).sum(-1) / weighted.sum(-1).mean()


def binary_cross_entropy(
    scores,
    targets,
    *,
    label_smoothing: float = 0.0,
    class_weights: Sequence[float] | None = None,
    loss_weight: float = 1.0,
):
    """Mean over classes of the cross-entropy of sigmoid(logits), in float32 -> [b].

    Args:
      scores: logits [b, k]. targets: float [b, k] in [0, 1], multi-hot.
      label_smoothing, loss_weight: as in `cross_entropy`.
      class_weights: [k], factors of the classes' losses.

    Source: MMAction2's BCELossWithLogits.
    """
    check_number("label_smoothing", label_smoothing, "[0, 1]")
    check_number("loss_weight", loss_weight, "(0, inf)")
    scores = scores.astype(jnp.float32)
    losses = jax.nn.softplus(scores) - smoothed(targets, label_smoothing) * scores
    if class_weights is not None:
        losses *= _checked(class_weights, scores.shape[-1])
    return loss_weight * losses.mean(-1)


def smoothed(targets, share: float):
    """(1 - share) x targets + share / k -> [b, k]."""
    return targets * (1 - share) + share / targets.shape[-1]


def _checked(class_weights: Sequence[float], k: int):
    if len(class_weights) != k:
        raise ValueError(f"loss.class_weights has {len(class_weights)} numbers; the model has {k} classes")
    for weight in class_weights:
        check_number("class_weights", weight, "[0, inf)")
    if isinstance(class_weights, Sequence) and not any(class_weights):
        raise ValueError(f"loss.class_weights={class_weights}; at least one must be above 0")
    return jnp.asarray(class_weights, jnp.float32)


# Losses that a config can name.
LOSSES = {"cross_entropy": cross_entropy, "binary_cross_entropy": binary_cross_entropy}
