"""2-d MobileNet-V2, frame by frame.

Source: Sandler et al., arXiv:1801.04381, as torchvision and MMAction2 0.6 (MobileNetV2) build it.
"""

import flax.linen as nn
import jax.numpy as jnp

from actjax.models.freezing import Freezing
from actjax.models.layers import ConvBN
from actjax.models.temporal import Temporal

# Per stage: expansion, channels at width 32, blocks, stride of the first block.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
LAST = 1280


class InvertedResidual(nn.Module):
    """Block `at` = (stage, block): 1x1 expansion (omitted if `expansion` is 1), depthwise 3x3, 1x1 projection."""

    features: int
    stride: int
    expansion: int
    at: tuple[int, int]
    temporal: Temporal
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x, *, train: bool):
        inner = x.shape[-1] * self.expansion
        shortcut = self.stride == 1 and x.shape[-1] == self.features
        convs = [
            dict(features=inner, kernel=3, stride=self.stride, groups=inner, act=nn.relu6),
            dict(features=self.features, kernel=1, act=None),
        ]
        y = x
        if self.expansion != 1:
            convs.insert(0, dict(features=inner, kernel=1, act=nn.relu6))
            y = self.temporal.in_residual(x, *self.at) if shortcut else x
        for number, options in enumerate(convs):
            y = ConvBN(**options, dtype=self.dtype, name=f"conv{number}")(y, train=train)
        return x + y if shortcut else y


class MobileNetV2(nn.Module):
    """Frames -> feature maps, `[n, h, w, c] -> [n, ceil(h / 32), ceil(w / 32), 40 * width]`.

    Only `temporal.in_residual` is used: before the expansion, in blocks with a shortcut.

    Attributes: as in `ResNet`; width: channels of the stem, all other layers in proportion.
    """

    width: int = 32
    temporal: Temporal = Temporal()
    freezing: Freezing = Freezing()
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool):
        if self.freezing.frozen_stages > len(STAGES):
            raise ValueError(f"MobileNetV2: frozen_stages={self.freezing.frozen_stages}; it has {len(STAGES)} stages")
        scaled = lambda features: features * self.width // 32
        stem = ConvBN(self.width, 3, 2, act=nn.relu6, dtype=self.dtype, name="stem")
        x = stem(x, train=self.freezing.stem(train))
        for stage, (expansion, features, blocks, stride) in enumerate(STAGES):
            for block in range(blocks):
                x = InvertedResidual(
                    features=scaled(features),
                    stride=stride if block == 0 else 1,
                    expansion=expansion,
                    at=(stage, block),
                    temporal=self.temporal,
                    dtype=self.dtype,
                    name=f"layer{stage + 1}_{block}",
                )(x, train=self.freezing.stage(stage, train))
            self.sow("intermediates", f"layer{stage + 1}", x)
        last = ConvBN(scaled(LAST), 1, act=nn.relu6, dtype=self.dtype, name="conv2")
        return last(x, train=train and not (self.freezing.norm_eval or self.freezing.partial_bn))
