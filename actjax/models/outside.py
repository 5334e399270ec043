"""Recognisers that are not ours: any Linen module that maps clips to logits.

The contract: `__call__(clips [b, t, h, w, c], *, train) -> logits [b, k]`. Variables may be in "params" and any other
collections; `dropout` is the stream of random numbers in training. Optional attributes of the module, and what holds
without them:

  in_channels     c; without it, the module finds out from the clips.
  mean, std       of pixels in 0..255; without them ImageNet's for 3 channels, and 128 for flow. The module gets
                  normalised float32 clips.
  normalizes      True: the module gets uint8 clips and normalises them itself.
  dtype           "float32", "bfloat16" or "float16" (with loss scaling).
  freezing        an object with `patterns()`, regular expressions of the paths of frozen parameters; without it, all
                  parameters train.

A module that stores its pooled features by `self.sow("intermediates", "embedding", features)`, [b, d], can be used with
`embed` and `extract.what="embedding"`. In checkpoints for other programs its parameters are named by their paths.
"""

import inspect
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from actjax.models.freezing import Freezing
from actjax.models.tsm import _Recognizer
from actjax.pixels.normalize import IMAGENET_MEAN, IMAGENET_STD, normalize

FLOW = (128.0,)  # mean and standard deviation of the pixels of optical flow


class Outside(nn.Module):
    """A foreign module with the attributes of our recognisers; its parameters keep their paths.

    Attributes:
      module: the module.
      num_classes: k.
      input_shape: [t, h, w, c] of a clip.
    """

    module: nn.Module
    num_classes: int
    input_shape: tuple[int, ...]

    def setup(self):
        nn.share_scope(self, self.module)

    @property
    def mean(self) -> tuple[float, ...]:
        return tuple(getattr(self.module, "mean", IMAGENET_MEAN if self.input_shape[-1] == 3 else FLOW))

    @property
    def std(self) -> tuple[float, ...]:
        return tuple(getattr(self.module, "std", IMAGENET_STD if self.input_shape[-1] == 3 else FLOW))

    @property
    def dtype(self) -> str:
        return str(jnp.dtype(getattr(self.module, "dtype", None) or "float32"))

    @property
    def freezing(self):
        return getattr(self.module, "freezing", Freezing())

    def __call__(self, clips, *, train: bool = False):
        if clips.dtype == jnp.uint8 and not getattr(self.module, "normalizes", False):
            clips = normalize(clips, mean=self.mean, std=self.std)
        return self.module(clips, train=train).astype(jnp.float32)


def adapt(make: Callable, clip_shape: tuple[int, ...], *, name: str) -> nn.Module:
    """The recogniser that `make` makes for clips of `clip_shape`, [t, h, w, c]; a foreign module is wrapped.

    >>> class Net(nn.Module):
    ...     @nn.compact
    ...     def __call__(self, clips, *, train):
    ...         return nn.Dense(5)(clips.mean((1, 2, 3)))
    >>> adapt(Net, (8, 32, 32, 3), name="nets:Net").num_classes
    5

    Args:
      name: of the module in the config, for errors.

    Raises:
      ValueError: it is no Linen module, does not take clips, or returns no logits [b, k].
    """
    channels = clip_shape[-1]
    takes = inspect.signature(make).parameters
    module = make(**({"in_channels": channels} if "in_channels" in takes else {}))
    where = f"model.name={name!r}"
    if not isinstance(module, nn.Module):
        raise ValueError(f"{where} makes {type(module).__name__}; a network is a Linen module (flax.linen.nn.Module)")
    if not isinstance(module, _Recognizer):
        module = Outside(module, _count_classes(module, clip_shape, where), tuple(clip_shape))
    for attribute in ("mean", "std"):
        if len(getattr(module, attribute)) not in (1, channels):
            raise ValueError(
                f"{where}: {attribute} needs 1 or {channels} numbers: one for all channels or one for each"
            )
    return module


def _count_classes(module: nn.Module, clip_shape: tuple[int, ...], where: str) -> int:
    """k, from the shape of the logits of two clips."""
    clips = jax.ShapeDtypeStruct((2, *clip_shape), jnp.float32)

    def logits(clips):
        keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
        return module.init_with_output(keys, clips, train=True)[0]

    try:
        shape = jax.eval_shape(logits, clips)
    except TypeError as error:
        raise ValueError(
            f"{where}: a network is called as network(clips, train=True), clips {clips.shape} [b, t, h, w, c]: {error}"
        ) from error
    found = getattr(shape, "shape", type(shape).__name__)
    if (
        not isinstance(found, tuple)
        or len(found) != 2
        or found[0] != 2
        or not jnp.issubdtype(shape.dtype, jnp.floating)
    ):
        raise ValueError(f"{where}: a network returns logits [b, k]; for clips {clips.shape} it returned {found}")
    return found[1]
