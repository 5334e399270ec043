"""What a recogniser returns for videos -> probabilities, after a check that it is finite."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from actjax import metrics
from actjax.errors import clear_errors


def probabilities(scores, *, average_clips: str, multi_label: bool) -> np.ndarray:
    """What a recogniser's `predict` returns -> float64 of the same shape: probabilities, whose order is that of scores.

    Args:
      scores: [..., k], probabilities for `average_clips` "prob", else logits.
      multi_label: the classes do not exclude each other: sigmoid in place of softmax.
    """
    scores = np.asarray(scores, np.float64)  # in float32 those near 0 and 1 would all be equal
    if average_clips == "prob":
        return scores
    return np.exp(-np.logaddexp(0, -scores)) if multi_label else metrics.softmax(scores, axis=-1)


def check_finite(scores: np.ndarray, name_of: Callable[[int], str], variables) -> None:
    """Checks the scores, or features, of videos, [n, ...].

    Args:
      name_of: row -> name of its video.
      variables: of the network, looked at for the reason.

    Raises:
      ValueError: NaN or infinity; it names the first video, and the weights if these are not finite.
    """
    wrong = np.flatnonzero(~np.isfinite(scores).all(axis=tuple(range(1, scores.ndim))))
    if not wrong.size:
        return
    reason = _blame(variables) or "the weights are finite, so the network overflows on this video; see model.dtype"
    with clear_errors():
        raise ValueError(
            f"{name_of(int(wrong[0]))}: the scores are not finite ({wrong.size} of {len(scores)} videos): {reason}"
        )


def check_weights(variables, where) -> None:
    """Checks the variables of a network. ValueError, which begins with `where`: NaN or infinity.

    Finite scores do not tell: a ReLU may turn NaN into 0.
    """
    if blame := _blame(variables):
        raise ValueError(f"{where}: {blame}")


def _blame(variables) -> str:
    """Which arrays are not finite; "" if all are. They may be spread over processes."""
    finite = jax.jit(lambda tree: jax.tree.map(lambda leaf: jnp.isfinite(leaf).all(), tree))(variables)
    arrays = flatten_dict(dict(finite), sep="/")
    bad = [path for path, all_finite in arrays.items() if not all_finite]
    if not bad:
        return ""
    return (
        f"{len(bad)} of the checkpoint's {len(arrays)} arrays are not finite, such as {bad[0]}; use another checkpoint"
    )
