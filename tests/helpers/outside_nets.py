"""Backbones of another package, made of Linen's own layers: configs name them, e.g. "outside_nets:TinyNet"."""

import flax.linen as nn
import jax.numpy as jnp

from actjax.models.checkpoint_names import CheckpointNames, renamed
from actjax.models.freezing import Freezing
from actjax.models.temporal import Temporal


class PlainNet(nn.Module):
    """Offers nothing but the call. Some modules are called as parts of ResNet or as wrappers of MMAction2."""

    @nn.compact
    def __call__(self, frames, *, train: bool):
        x = nn.Conv(6, (4, 4), strides=4, name="layer1_0")(frames)
        x = nn.BatchNorm(use_running_average=not train, name="conv1")(x)
        x = nn.Conv(6, (3, 3), feature_group_count=6, use_bias=False, name="net")(x)
        x = nn.LayerNorm()(x) * self.param("gain", nn.initializers.ones, ())
        return nn.Dense(10, name="stem")(nn.relu(x))


class TinyBlock(nn.Module):
    at: tuple[int, int]
    temporal: Temporal
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x, *, train: bool):
        x = self.temporal.before_block(x, *self.at)
        y = self.temporal.in_residual(x, *self.at)
        y = nn.Conv(x.shape[-1], (3, 3), use_bias=False, dtype=self.dtype)(y)
        y = nn.BatchNorm(use_running_average=not train, dtype=self.dtype)(y)
        return nn.relu(x + y)


class TinyNet(nn.Module):
    """A backbone with all that a config can ask for: two stages of two blocks."""

    channels: int = 8
    temporal: Temporal = Temporal()
    freezing: Freezing = Freezing()
    dtype: jnp.dtype = jnp.float32

    stages = {"patches": r"patches_(conv|bn)/.*", "early": r"early_\d/.*", "late": r"late_\d/.*"}
    blocks = (2, 2)

    @nn.compact
    def __call__(self, frames, *, train: bool):
        x = nn.Conv(self.channels, (4, 4), strides=4, use_bias=False, dtype=self.dtype, name="patches_conv")(frames)
        x = nn.BatchNorm(use_running_average=not self.freezing.stem(train), dtype=self.dtype, name="patches_bn")(x)
        for stage, name in enumerate(("early", "late")):
            x = self.temporal.before_stage(x, stage)
            for block in range(2):
                make = TinyBlock((stage, block), self.temporal, self.dtype, name=f"{name}_{block}")
                x = make(x, train=self.freezing.stage(stage, train))
                x = self.temporal.after_block(x, stage, block, train=self.freezing.added(stage, train))
        return nn.Dense(2 * self.channels, dtype=self.dtype, name="widen")(x)


class NamedNet(TinyNet):
    """The same, whose parameters others call `patch.0.weight`, `blocks.0.0.conv.weight`, ... in their files."""

    def read(names):
        table = [
            (r"^patch\.0\.", "patches_conv."),
            (r"^patch\.1\.", "patches_bn."),
            (r"^blocks\.0\.(\d)\.", r"early_\1."),
            (r"^blocks\.1\.(\d)\.", r"late_\1."),
            (r"\.conv\.", ".Conv_0."),
            (r"\.bn\.", ".BatchNorm_0."),
            (r"^out\.", "widen."),
        ]
        return {name: renamed(name, table) for name in names if not name.startswith("fc.")}

    checkpoint_names = CheckpointNames(
        layout="NamedNet of others", sign=r"blocks\.", read=read, exported=((r"^patches_conv\.", "patch."),)
    )


class DeafNet(PlainNet):
    """Has the hooks and calls none of them."""

    temporal: Temporal = Temporal()


class MistakenNet(TinyNet):
    """A pattern of its stages matches nothing."""

    stages = {"patches": r"patches_.*", "early": r"early_\d/.*", "late": r"lte_\d/.*"}


class OddNormNet(TinyNet):
    """A batch norm with a name that tells nothing."""

    @nn.compact
    def __call__(self, frames, *, train: bool):
        x = nn.Conv(8, (4, 4), strides=4, name="patches_conv")(frames)
        x = nn.Conv(8, (1, 1), name="early_0")(x)
        return nn.BatchNorm(use_running_average=not train, name="late_0")(x)


class VectorNet(nn.Module):
    """Returns a vector for each frame."""

    @nn.compact
    def __call__(self, frames, *, train: bool):
        return nn.Dense(8)(frames.mean((1, 2)))


class HalfNet(TinyNet):
    """Loses half of its maps."""

    def __call__(self, frames, *, train: bool):
        maps = super().__call__(frames, train=train)
        return maps[: len(maps) // 2]


class TwinNet(nn.Module):
    """Two parameters of one module that torch would both call weight."""

    @nn.compact
    def __call__(self, frames, *, train: bool):
        kernel, scale = (self.param(name, nn.initializers.ones, (3,)) for name in ("kernel", "scale"))
        return frames * kernel * scale


def not_a_module():
    """A function."""
