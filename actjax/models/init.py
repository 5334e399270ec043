"""A network -> its variables before training."""

import flax.linen as nn
import jax.numpy as jnp


def initialize(model: nn.Module, *, key) -> dict:
    """The variables of a network, "params" and with a recogniser "batch_stats"; also under `jax.jit`."""
    return model.init(key, jnp.zeros((1, *model.input_shape)))
