"""A network and a backbone in plain Linen."""

import flax.linen as nn


class Tiny(nn.Module):
    """Clips [b, t, h, w, c] -> logits [b, k]."""

    classes: int
    channels: int

    @nn.compact
    def __call__(self, clips, *, train):
        x = nn.Conv(self.channels, (3, 3, 3), strides=(1, 4, 4), name="first")(clips)
        x = nn.relu(nn.BatchNorm(use_running_average=not train, name="norm")(x))
        x = nn.relu(nn.Conv(2 * self.channels, (3, 3, 3), strides=(2, 2, 2), name="second")(x))
        x = nn.Dropout(0.1, deterministic=not train)(x.mean((1, 2, 3)))
        return nn.Dense(self.classes, name="last")(x)
