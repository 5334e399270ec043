"""A network -> its initial variables."""

import flax.linen as nn
import jax.numpy as jnp


def initialize(model: nn.Module, *, key) -> dict:
    """Initial variables: "params" and, for recognisers, "batch_stats". Works under `jax.jit`.

    >>> import jax
    >>> from actjax.models import PEM
    >>> variables = initialize(PEM(feat_dim=32, hidden_dim=4), key=jax.random.key(0))
    >>> variables["params"]["fc1"]["kernel"].shape
    (32, 4)
    """
    return model.init(key, jnp.zeros((1, *model.input_shape)))
