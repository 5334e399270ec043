"""A network -> its initial variables."""

import flax.linen as nn
import jax.numpy as jnp


def initialize(model: nn.Module, *, key) -> dict:
    """Initial variables: "params" and, for recognisers, "batch_stats". Works under `jax.jit`."""
    return model.init(key, jnp.zeros((1, *model.input_shape)))
