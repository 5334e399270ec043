"""A network and a backbone in plain Linen."""

import flax.linen as nn

from actjax.models.temporal import Temporal


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


class Shifted(nn.Module):
    """A backbone [n, h, w, c] -> [n, h', w', d] with the temporal shift."""

    width: int = 16
    temporal: Temporal = Temporal()

    @nn.compact
    def __call__(self, frames, *, train):
        x = nn.relu(nn.Conv(self.width, (5, 5), strides=4)(frames))
        for stage in range(2):
            y = self.temporal.in_residual(x, stage, 0)
            y = nn.Conv(x.shape[-1], (3, 3), use_bias=False)(y)
            x = nn.relu(x + nn.BatchNorm(use_running_average=not train)(y))
        return x
