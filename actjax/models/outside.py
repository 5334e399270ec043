"""Recognisers that are not ours: any Linen module that maps clips to logits.

The contract: `__call__(clips [b, t, h, w, c], *, train) -> logits [b, k]`, the same k in training and at test.

  parameters      in "params", made with `train=False`, too. All are floating point.
  collections     of any other name, such as "batch_stats", change in training alone.
  randomness      `dropout` is the only stream of random numbers, and there is none at test.
  sown values     are dropped, those of the collections "losses" and "intermediates" whatever they are. Features [b, d],
                  stored once by `self.sow("intermediates", "embedding", features)`, are for `embed` and for
                  `extract.what="embedding"`.

Optional attributes of the class, or fields. Without them, or if they are None, this holds:

  in_channels     c; without it, the module finds out from the clips.
  mean, std       of pixels in 0..255, a number or one for each channel; ImageNet's for 3 channels, and 128 for flow.
                  The module gets normalised float32 clips.
  normalizes      True: the module gets uint8 clips and normalises them itself; False.
  dtype           "float32", "bfloat16" or "float16" (with loss scaling); "float32".
  freezing        an object with `patterns()`, regular expressions of the paths of frozen parameters; without it, all
                  parameters train.

The names of submodules and parameters are free. In checkpoints for other programs parameters are named by their paths.
"""

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from actjax.errors import RangeError, named
from actjax.models.contract import attributes_of, check_freezing, traced, without_sown
from actjax.models.freezing import Freezing
from actjax.models.tsm import _Recognizer
from actjax.pixels.normalize import normalize


@dataclasses.dataclass(frozen=True, eq=False)
class Outside:
    """A foreign module with the methods and attributes of our recognisers. It is no module itself, so that no name of
    the foreign one can clash with its own.

    Attributes:
      module: the foreign one.
      input_shape: [t, h, w, c] of a clip.
      mean, std, dtype, freezing, normalizes: see above.
      num_classes: k.
    """

    module: nn.Module
    input_shape: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    dtype: str = "float32"
    freezing: Any = Freezing()
    normalizes: bool = False
    num_classes: int = 0

    def init(self, key, clips) -> dict:
        """The initial variables, for clips of this shape."""
        pixels = jnp.zeros(clips.shape, jnp.uint8)
        return without_sown(self.module.init(key, self.prepared(pixels), train=False))

    def apply(self, variables, clips, *, train: bool = False, **options):
        """Logits, float32 [b, k], of clips uint8 or normalised; `options` as in Linen's `Module.apply`."""
        result = self.module.apply(variables, self.prepared(clips), train=train, **options)
        if options.get("mutable", False) is False:
            return result.astype(jnp.float32)
        logits, updated = result
        return logits.astype(jnp.float32), updated

    def prepared(self, clips):
        """Clips as the module gets them."""
        if self.normalizes or clips.dtype != jnp.uint8:
            return clips
        return normalize(clips, mean=self.mean, std=self.std)


def adapt(make: Callable, clip_shape: tuple[int, ...], *, name: str, tested: Sequence[tuple[int, ...]] = ()):
    """The recogniser that `make` makes for clips of `clip_shape`, [t, h, w, c]; a foreign module is wrapped.

    >>> class Net(nn.Module):
    ...     @nn.compact
    ...     def __call__(self, clips, *, train):
    ...         return nn.Dense(5)(clips.mean((1, 2, 3)))
    >>> adapt(Net, (8, 32, 32, 3), name="nets:Net").num_classes
    5

    Args:
      name: of the module in the config, for errors.
      tested: shapes of the clips that a foreign module gets in evaluations.

    Raises:
      ValueError: it is no Linen module, or it breaks the contract; it is traced with shapes alone.
    """
    channels = clip_shape[-1]
    takes = inspect.signature(make).parameters
    where = f"model.name={name!r}"
    try:
        with named("model"):
            module = make(**({"in_channels": channels} if "in_channels" in takes else {}))
    except RangeError:
        raise
    except Exception as error:
        raise ValueError(f"{where} failed: {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise ValueError(f"{where} makes {type(module).__name__}; a network is a Linen module (flax.linen.nn.Module)")
    foreign = not isinstance(module, _Recognizer)
    if foreign:
        module = Outside(module, tuple(clip_shape), **attributes_of(module, channels, where))
    for attribute in ("mean", "std"):
        if len(getattr(module, attribute)) not in (1, channels):
            raise ValueError(
                f"{where}: {attribute} needs 1 or {channels} numbers: one for all channels or one for each"
            )
    if not foreign:
        return module
    num_classes, paths = traced(module, where, tested=tested)
    check_freezing(module.freezing, paths, where)
    return dataclasses.replace(module, num_classes=num_classes)
