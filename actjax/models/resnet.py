"""2-d ResNet, frame by frame, with hooks for temporal modules.

Source: He et al., arXiv:1512.03385, as torchvision and MMAction2 0.6 (ResNet) build it. Parameter names follow
torchvision: `stem`, `layer1_0/conv1`, ...
"""

import re

import flax.linen as nn
import jax.numpy as jnp

from actjax.errors import check_number
from actjax.models.checkpoint_names import FROM_MMACTION2, MMACTION2, CheckpointNames, renamed
from actjax.models.freezing import Freezing, numbered_stages
from actjax.models.layers import ConvBN, max_pool
from actjax.models.temporal import Temporal

# depth: (bottleneck blocks?, blocks per stage). 10 is the smallest net of the family, for small frames and tests.
DEPTHS = {
    10: (False, (1, 1, 1, 1)),
    18: (False, (2, 2, 2, 2)),
    34: (False, (3, 4, 6, 3)),
    50: (True, (3, 4, 6, 3)),
    101: (True, (3, 4, 23, 3)),
    152: (True, (3, 8, 36, 3)),
}
STYLES = ("pytorch", "caffe")

TORCHVISION = (
    (r"^conv1\.", "stem.conv."),
    (r"^bn1\.", "stem.bn."),
    (r"^layer(\d)\.(\d+)\.", r"layer\1_\2."),
    (r"\.conv(\d)\.(net\.)?weight$", r".conv\1.conv.weight"),
    (r"\.bn(\d)\.", r".conv\1.bn."),
    (r"\.downsample\.0\.", ".downsample.conv."),
    (r"\.downsample\.1\.", ".downsample.bn."),
)
CHECKPOINT_NAMES = CheckpointNames(
    layout="ResNet of torchvision",
    sign=r"layer1\.0\.conv1\.(net\.)?weight$",
    read=lambda names: {name: renamed(name, TORCHVISION) for name in names if re.match(r"conv|bn1\.|layer", name)},
    exported=MMACTION2,
    restored=FROM_MMACTION2,
    shifted=((r"^(layer\d\.\d+\.conv1\.conv\.)", r"\1net."),),
)


def stages_of(depth: int) -> tuple[bool, tuple[int, ...]]:
    """(bottleneck blocks?, blocks per stage) of a ResNet. ValueError: unknown depth."""
    if depth not in DEPTHS:
        raise ValueError(f"ResNet: depth={depth}; choose from {sorted(DEPTHS)}")
    return DEPTHS[depth]


class Block(nn.Module):
    """Residual block `at` = (stage, block); attributes as in `ResNet`."""

    planes: int
    stride: int
    bottleneck: bool
    style: str
    at: tuple[int, int]
    temporal: Temporal
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x, *, train: bool):
        def conv(features, kernel, stride=1, *, name, act=nn.relu):
            return ConvBN(features, kernel, stride, act=act, dtype=self.dtype, name=name)

        x = self.temporal.before_block(x, *self.at)
        y = self.temporal.in_residual(x, *self.at)
        if self.bottleneck:
            width = self.planes * 4
            strides = (1, self.stride) if self.style == "pytorch" else (self.stride, 1)
            y = conv(self.planes, 1, strides[0], name="conv1")(y, train=train)
            y = conv(self.planes, 3, strides[1], name="conv2")(y, train=train)
            y = conv(width, 1, name="conv3", act=None)(y, train=train)
        else:
            width = self.planes
            y = conv(width, 3, self.stride, name="conv1")(y, train=train)
            y = conv(width, 3, name="conv2", act=None)(y, train=train)
        if self.stride != 1 or x.shape[-1] != width:
            x = conv(width, 1, self.stride, name="downsample", act=None)(x, train=train)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """Frames -> feature maps, `[n, h, w, c] -> [n, ceil(h / 32), ceil(w / 32), planes]`.

    >>> import jax
    >>> model, frames = ResNet(depth=18), jnp.zeros((4, 64, 64, 3))
    >>> jax.eval_shape(lambda key: model.init_with_output(key, frames, train=False)[0], jax.random.key(0)).shape
    (4, 2, 2, 512)

    Attributes:
      depth: a key of `DEPTHS`.
      width: channels of the stem; stage k has width * 2^k planes (bottlenecks output four times as many).
      small_input: a 3x3 stride-2 stem without max pooling, for frames far below 224 pixels (total stride 16).
      style: stride of a bottleneck in the 3x3 convolution ("pytorch") or in the first 1x1 ("caffe").
      temporal: see `Temporal`.
      freezing: see `Freezing`.
      dtype: compute dtype; parameters stay float32.
    """

    depth: int = 50
    width: int = 64
    small_input: bool = False
    style: str = "pytorch"
    temporal: Temporal = Temporal()
    freezing: Freezing = Freezing()
    dtype: jnp.dtype = jnp.float32

    stages = numbered_stages(4)
    checkpoint_names = CHECKPOINT_NAMES

    @property
    def blocks(self) -> tuple[int, ...]:
        """Blocks of each stage."""
        return stages_of(self.depth)[1]

    @nn.compact
    def __call__(self, x, *, train: bool):
        check_number("width", self.width, "[1, inf)", whole=True)
        bottleneck, stages = stages_of(self.depth)
        if self.style not in STYLES:
            raise ValueError(f"ResNet: style={self.style!r}; choose from {STYLES}")
        stem = ConvBN(self.width, 3 if self.small_input else 7, 2, dtype=self.dtype, name="stem")
        x = stem(x, train=self.freezing.stem(train))
        x = x if self.small_input else max_pool(x)
        for stage, blocks in enumerate(stages):
            x = self.temporal.before_stage(x, stage)
            for block in range(blocks):
                x = Block(
                    planes=self.width * 2**stage,
                    stride=2 if stage > 0 and block == 0 else 1,
                    bottleneck=bottleneck,
                    style=self.style,
                    at=(stage, block),
                    temporal=self.temporal,
                    dtype=self.dtype,
                    name=f"layer{stage + 1}_{block}",
                )(x, train=self.freezing.stage(stage, train))
                x = self.temporal.after_block(x, stage, block, train=self.freezing.added(stage, train))
            self.sow("intermediates", f"layer{stage + 1}", x)
        return x
