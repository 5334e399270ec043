"""2-d MobileNet-V2, frame by frame.

Source: Sandler et al., arXiv:1801.04381, as torchvision and MMAction2 0.6 (MobileNetV2) build it.
"""

import re
from collections.abc import Iterable

import flax.linen as nn
import jax.numpy as jnp

from actjax.errors import check_number
from actjax.models.checkpoint_names import FROM_MMACTION2, MMACTION2, CheckpointNames
from actjax.models.freezing import Freezing, numbered_stages
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

# features.I of the files below -> layerL_B
PLACES = [f"layer{stage}_{block}" for stage, (_, _, blocks, _) in enumerate(STAGES, 1) for block in range(blocks)]


def read_names(names: Iterable[str]) -> dict[str, str]:
    """Names in a file of torchvision or the TSM authors -> plain names, see `CheckpointNames`.

    A block of the TSM authors is a flat list of convolution, batch norm, activation, convolution, ...; a block of
    torchvision is a list of pairs of convolution and batch norm, with the last pair unpacked.
    """
    names = list(names)
    flat = not any(re.match(r"features\.\d+\.conv\.\d\.\d\.", name) for name in names)
    return {name: plain for name in names if (plain := _read_name(name, flat=flat))}


def _read_name(name: str, *, flat: bool) -> str | None:
    kind = ("conv", "bn")
    if outer := re.fullmatch(r"features\.(0|18)\.([01])\.(\w+)", name):
        return f"{'stem' if outer[1] == '0' else 'conv2'}.{kind[int(outer[2])]}.{outer[3]}"
    inner = re.fullmatch(r"features\.(\d+)\.conv\.(\d)(?:\.([01]))?\.(?:net\.)?(\w+)", name)
    if not inner or not 1 <= int(inner[1]) <= len(PLACES):
        return None
    block, place = int(inner[1]), int(inner[2])
    last = 1 if block == 1 else 2  # the number of the block's last convolution
    if flat:
        number, which = divmod(place, 3)
    elif inner[3]:
        number, which = place, int(inner[3])
    else:
        number, which = last, place - last
    return f"{PLACES[block - 1]}.conv{number}.{kind[which]}.{inner[4]}" if which in (0, 1) else None


CHECKPOINT_NAMES = CheckpointNames(
    layout="MobileNet-V2 of torchvision",
    sign=r"features\.\d+\.",
    read=read_names,
    exported=(*MMACTION2, (r"^(layer\d\.\d+)\.conv(\d)\.", r"\1.conv.\2.")),
    restored=(*FROM_MMACTION2, (r"^(layer\d_\d+)\.conv\.(\d)\.", r"\1.conv\2.")),
    shifted=((r"^(layer\d\.[1-9]\d*\.conv\.0\.)", r"\1net."),),
)


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

    >>> import jax
    >>> model, frames = MobileNetV2(), jnp.zeros((4, 64, 64, 3))
    >>> jax.eval_shape(lambda key: model.init_with_output(key, frames, train=False)[0], jax.random.key(0)).shape
    (4, 2, 2, 1280)

    Attributes: as in `ResNet`; width: channels of the stem, all other layers in proportion.
    """

    width: int = 32
    temporal: Temporal = Temporal()
    freezing: Freezing = Freezing()
    dtype: jnp.dtype = jnp.float32

    stages = numbered_stages(len(STAGES))
    blocks = tuple(blocks for _, _, blocks, _ in STAGES)
    checkpoint_names = CHECKPOINT_NAMES

    @nn.compact
    def __call__(self, x, *, train: bool):
        check_number("width", self.width, "[2, inf)", whole=True)  # with 1, the first stage has no channels
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
        return last(x, train=self.freezing.last(train))
