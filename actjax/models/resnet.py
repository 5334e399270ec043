"""2-d ResNet, frame by frame, with a place for the temporal shift.

Source: He et al., arXiv:1512.03385, as torchvision and the API entry ResNet build it ("pytorch" style: the stride of
a bottleneck is in its 3x3 convolution). Parameter names follow torchvision: `stem`, `layer1_0/conv1`, ...
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from actjax.models.layers import ConvBN, max_pool

# depth: (bottleneck blocks?, blocks per stage). 10 is the smallest net of the family, for small pictures and tests.
DEPTHS = {
    10: (False, (1, 1, 1, 1)),
    18: (False, (2, 2, 2, 2)),
    34: (False, (3, 4, 6, 3)),
    50: (True, (3, 4, 6, 3)),
    101: (True, (3, 4, 23, 3)),
    152: (True, (3, 8, 36, 3)),
}


def stages_of(depth: int) -> tuple[bool, tuple[int, ...]]:
    """(bottleneck blocks?, blocks per stage) of a ResNet. ValueError: there is none of that depth."""
    if depth not in DEPTHS:
        raise ValueError(f"ResNet: depth={depth}; choose from {sorted(DEPTHS)}")
    return DEPTHS[depth]


def identity(x, stage: int, block: int):
    """No shift."""
    return x


class Block(nn.Module):
    """Residual block; `shift` acts on what enters the residual branch, `shift_block` on what enters the whole block."""

    planes: int
    stride: int
    bottleneck: bool
    shift: Callable[[jax.Array], jax.Array]
    shift_block: Callable[[jax.Array], jax.Array]
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x, *, train: bool):
        x = self.shift_block(x)
        width = self.planes * 4 if self.bottleneck else self.planes
        y = self.shift(x)
        if self.bottleneck:
            y = ConvBN(self.planes, 1, dtype=self.dtype, name="conv1")(y, train=train)
            y = ConvBN(self.planes, 3, self.stride, dtype=self.dtype, name="conv2")(y, train=train)
            y = ConvBN(width, 1, relu=False, dtype=self.dtype, name="conv3")(y, train=train)
        else:
            y = ConvBN(self.planes, 3, self.stride, dtype=self.dtype, name="conv1")(y, train=train)
            y = ConvBN(width, 3, relu=False, dtype=self.dtype, name="conv2")(y, train=train)
        if self.stride != 1 or x.shape[-1] != width:
            x = ConvBN(width, 1, self.stride, relu=False, dtype=self.dtype, name="downsample")(x, train=train)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """Frames -> feature maps, `[n, h, w, c] -> [n, ceil(h / 32), ceil(w / 32), planes]`.

    Attributes:
      depth: a key of `DEPTHS`.
      width: channels of the stem; stage k has width * 2^k planes (bottlenecks put out four times as many).
      small_input: a 3x3 stride-2 stem without the max-pool, for pictures far below 224 pixels (total stride 16).
      shift, shift_block: functions `(x, stage, block) -> x` on `[n, h, w, c]`, applied before the first convolution
        of the residual branch, or before the whole block.
      dtype: what convolutions compute in; parameters stay float32.
    """

    depth: int = 50
    width: int = 64
    small_input: bool = False
    shift: Callable = identity
    shift_block: Callable = identity
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool):
        bottleneck, stages = stages_of(self.depth)
        if self.small_input:
            x = ConvBN(self.width, 3, 2, dtype=self.dtype, name="stem")(x, train=train)
        else:
            x = ConvBN(self.width, 7, 2, dtype=self.dtype, name="stem")(x, train=train)
            x = max_pool(x)
        for stage, blocks in enumerate(stages):
            for block in range(blocks):
                x = Block(
                    planes=self.width * 2**stage,
                    stride=2 if stage > 0 and block == 0 else 1,
                    bottleneck=bottleneck,
                    shift=lambda x, at=(stage, block): self.shift(x, *at),
                    shift_block=lambda x, at=(stage, block): self.shift_block(x, *at),
                    dtype=self.dtype,
                    name=f"layer{stage + 1}_{block}",
                )(x, train=train)
            self.sow("intermediates", f"layer{stage + 1}", x)
        return x
