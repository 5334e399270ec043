"""Losses of classification. Shapes: b examples, k classes."""

import jax
import jax.numpy as jnp


def cross_entropy(scores, labels):
    """-sum of target x log softmax(scores), in float32 -> [b]. Source: the API entry CrossEntropyLoss.

    Args:
      scores: [b, k], before the softmax. labels: int [b], or float [b, k], a distribution over the classes.
    """
    log_probabilities = jax.nn.log_softmax(scores.astype(jnp.float32))
    if labels.ndim == 2:
        return -(labels * log_probabilities).sum(-1)
    return -log_probabilities[jnp.arange(len(labels)), labels]


def binary_cross_entropy(scores, targets):
    """Mean over classes of the cross-entropy of sigmoid(scores), in float32 -> [b].

    Args:
      scores: [b, k], before the sigmoid. targets: float [b, k] in [0, 1], many-hot.

    Source: the API entry BCELossWithLogits.
    """
    scores = scores.astype(jnp.float32)
    return (jax.nn.softplus(scores) - targets * scores).mean(-1)
