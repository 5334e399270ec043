"""TSN and TSM: a 2-d network over sparsely sampled frames, without and with the temporal shift.

Shapes: b clips, t frames (segments) per clip, h w pixels, c channels, k classes.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from actjax.models.pixels import IMAGENET_MEAN, IMAGENET_STD, normalize
from actjax.models.resnet import ResNet, identity, stages_of

SHIFT_PLACES = ("blockres", "block")


def temporal_shift(x, *, num_segments: int, shift_div: int = 8):
    """Moves a fraction of the channels one frame back, as many one frame forth -> `[b * t, h, w, c]`, as it came.

    Of every clip of t = `num_segments` adjacent frames, channels [0, f) take the next frame's values, channels
    [f, 2f) the previous frame's, with f = c // shift_div; past either end they are 0. c < shift_div: nothing moves.

    Raises:
      ValueError: the frames do not divide into clips of `num_segments`.

    Source: Lin et al., arXiv:1811.08383, section 3; the API entry TSM / `TemporalShift.shift`.
    """
    if x.shape[0] % num_segments:
        raise ValueError(f"temporal_shift: {x.shape[0]} frames do not divide into clips of num_segments={num_segments}")
    fold = x.shape[-1] // shift_div
    clips = x.reshape(-1, num_segments, *x.shape[1:])
    zeros = jnp.zeros_like(clips[:, :1, ..., :fold])
    future = jnp.concatenate([clips[:, 1:, ..., :fold], zeros], axis=1)
    past = jnp.concatenate([zeros, clips[:, :-1, ..., fold : 2 * fold]], axis=1)
    return jnp.concatenate([future, past, clips[..., 2 * fold :]], axis=-1).reshape(x.shape)


class _Recognizer(nn.Module):
    """What TSN and TSM share: uint8 clips in, backbone over all frames, global average pool, classifier."""

    num_classes: int
    depth: int = 50
    width: int = 64
    small_input: bool = False
    dropout: float = 0.5
    init_std: float = 0.001
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    dtype: Any = "float32"

    def features(self, video, *, train: bool, **shifts):
        """uint8 (normalised here) or float `[b, t, h, w, c]` -> float32 `[b, t, d]`."""
        b, t, h, w, c = video.shape
        dtype = jnp.dtype(self.dtype)
        frames = video.reshape(b * t, h, w, c)
        if frames.dtype == jnp.uint8:
            frames = normalize(frames, mean=self.mean, std=self.std, dtype=dtype)
        backbone = ResNet(self.depth, self.width, self.small_input, dtype=dtype, name="backbone", **shifts)
        maps = backbone(frames, train=train)
        return maps.astype(jnp.float32).mean((1, 2)).reshape(b, t, -1)

    def drop(self, x, *, train: bool):
        return nn.Dropout(self.dropout, deterministic=not train)(x)

    def classify(self, x):
        init = nn.initializers.normal(self.init_std)
        return nn.Dense(self.num_classes, kernel_init=init, name="fc_cls")(x)


class TSN(_Recognizer):
    """Temporal segment network: mean of the frames' features, dropout, classifier -> float32 `[b, k]`.

    Source: Wang et al., arXiv:1608.00859; the API entries TSN / TSNHead.
    """

    dropout: float = 0.4
    init_std: float = 0.01

    @nn.compact
    def __call__(self, video, *, train: bool = False):
        features = self.features(video, train=train).mean(1)
        return self.classify(self.drop(features, train=train))


class TSM(_Recognizer):
    """TSN with `temporal_shift` inside its backbone: dropout and classifier per frame, mean of the scores -> `[b, k]`.

    Attributes:
      num_segments: frames that shift among each other; None: all t frames of the clip.
      shift_div: a part 1 / shift_div of the channels moves each way.
      shift_place: "blockres": before the first convolution of every residual branch (of every second block in nets
        whose third stage has 23 blocks or more); "block": before every block, its shortcut included.

    Source: Lin et al., arXiv:1811.08383; the API entries ResNetTSM / TSMHead.
    """

    num_segments: int | None = None
    shift_div: int = 8
    shift_place: str = "blockres"

    @nn.compact
    def __call__(self, video, *, train: bool = False):
        if self.shift_place not in SHIFT_PLACES:
            raise ValueError(f"TSM: shift_place={self.shift_place!r}; choose from {SHIFT_PLACES}")
        every = 2 if self.shift_place == "blockres" and stages_of(self.depth)[1][2] >= 23 else 1
        num_segments = self.num_segments or video.shape[1]

        def shift(x, stage, block):
            return x if block % every else temporal_shift(x, num_segments=num_segments, shift_div=self.shift_div)

        residual = self.shift_place == "blockres"
        shifts = dict(shift=shift if residual else identity, shift_block=identity if residual else shift)
        features = self.features(video, train=train, **shifts)
        return self.classify(self.drop(features, train=train)).mean(1)
