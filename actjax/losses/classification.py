"""Losses of classification. Shapes: b examples, k classes."""

import jax
import jax.numpy as jnp


def cross_entropy(scores, labels):
    """-log softmax(scores)[label], in float32 -> [b]. Source: the API entry CrossEntropyLoss.

    Args:
      scores: [b, k], before the softmax. labels: int [b].
    """
    log_probabilities = jax.nn.log_softmax(scores.astype(jnp.float32))
    return -log_probabilities[jnp.arange(len(labels)), labels]
