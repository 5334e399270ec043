"""Functions that a config names are tried with shapes alone at launch. Shapes: n clips, k classes."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from actjax.errors import RangeError, named


def check_augment(augment: Callable, clip_shape: tuple[int, ...], num_classes: int) -> None:
    """Traces an augmentation for two videos of `clip_shape`, [v, t, h, w, c].

    Raises:
      ValueError: an operation fails, or does not return what `pixels.augment_in_order` asks for.
    """
    views, *shape = clip_shape
    clips = jax.ShapeDtypeStruct((2 * views, *shape), jnp.uint8)
    targets = jax.ShapeDtypeStruct((2 * views, num_classes), jnp.float32)
    jax.eval_shape(augment, clips, targets, jax.random.key(0))


def check_loss(criterion: Callable, name: str, num_classes: int, *, vectors: bool) -> None:
    """Traces a loss, (logits float32 [n, k], labels) -> losses [n].

    Args:
      name: of the loss in the config, for errors.
      vectors: labels are float32 [n, k], because data or augmentation mix classes, not int32 [n].

    Raises:
      ValueError: the loss fails for such labels, or returns anything but floats [n].
    """
    n = num_classes + 1  # so that an axis is not taken for the other one
    logits = jax.ShapeDtypeStruct((n, num_classes), jnp.float32)
    labels = jax.ShapeDtypeStruct((n, num_classes), jnp.float32) if vectors else jax.ShapeDtypeStruct((n,), jnp.int32)
    given = f"logits float32 {list(logits.shape)} and labels {labels.dtype} {list(labels.shape)}"
    try:
        with named("loss"):
            losses = jax.eval_shape(criterion, logits, labels)
    except RangeError:
        raise
    except Exception as error:
        raise ValueError(f"loss.name={name!r} failed on {given}: {type(error).__name__}: {error}") from error
    shape, dtype = getattr(losses, "shape", None), getattr(losses, "dtype", None)
    if shape != (n,) or not jnp.issubdtype(dtype, jnp.floating):
        found = type(losses).__name__ if shape is None else f"{dtype} {list(shape)}"
        raise ValueError(f"loss.name={name!r} returned {found} for {given}; it must return one float per clip, [{n}]")
