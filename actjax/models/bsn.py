"""BSN's networks: temporal evaluation (TEM) and proposal evaluation (PEM).

Shapes: b videos, t time steps, p proposals, c features. Source: Lin et al., ECCV 2018 (arXiv:1806.02964).
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from actjax.models.layers import Conv1d, Dense


class TEM(nn.Module):
    """Features `[b, t, c]` -> probabilities of action, start and end at each step, float32 `[b, t, 3]`.

    >>> import jax
    >>> model, features = TEM(feat_dim=32, hidden_dim=8), jnp.zeros((2, 100, 32))
    >>> jax.eval_shape(lambda key: model.init_with_output(key, features)[0], jax.random.key(0)).shape
    (2, 100, 3)

    Attributes:
      temporal_scale: t. feat_dim: c.
      hidden_dim: channels of both convolutions.
      output_factor: multiplies the logits. 0.01 as in MMAction2 0.6; the BSN authors use 0.1.
      dtype: "float32" or "bfloat16".
    """

    temporal_scale: int = 100
    feat_dim: int = 400
    hidden_dim: int = 512
    output_factor: float = 0.01
    dtype: Any = "float32"

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.temporal_scale, self.feat_dim)

    @nn.compact
    def __call__(self, x):
        dtype = jnp.dtype(self.dtype)
        x = nn.relu(Conv1d(self.hidden_dim, dtype=dtype, name="conv1")(x))
        x = nn.relu(Conv1d(self.hidden_dim, dtype=dtype, name="conv2")(x))
        x = Conv1d(3, kernel=1, dtype=dtype, name="conv3")(x)
        return nn.sigmoid(self.output_factor * x.astype(jnp.float32))


class PEM(nn.Module):
    """Boundary-sensitive features of proposals `[b, p, c]` -> scores, float32 `[b, p]`.

    >>> import jax
    >>> model, features = PEM(feat_dim=32), jnp.zeros((2, 50, 32))
    >>> jax.eval_shape(lambda key: model.init_with_output(key, features)[0], jax.random.key(0)).shape
    (2, 50)

    Attributes:
      feat_dim: c. hidden_dim: units of the hidden layer.
      fc1_factor, fc2_factor: multiply the layers' outputs before the nonlinearity.
      dtype: "float32" or "bfloat16".
    """

    feat_dim: int = 32
    hidden_dim: int = 256
    fc1_factor: float = 0.1
    fc2_factor: float = 0.1
    dtype: Any = "float32"

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (1, self.feat_dim)

    @nn.compact
    def __call__(self, x):
        dtype = jnp.dtype(self.dtype)
        x = nn.relu(self.fc1_factor * Dense(self.hidden_dim, dtype=dtype, name="fc1")(x))
        x = Dense(1, dtype=dtype, name="fc2")(x)
        return nn.sigmoid(self.fc2_factor * x[..., 0].astype(jnp.float32))
