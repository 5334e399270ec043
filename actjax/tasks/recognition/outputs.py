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
    sound = jax.jit(lambda tree: jax.tree.map(lambda leaf: jnp.isfinite(leaf).all(), tree))(variables)
    bad = [path for path, finite in flatten_dict(dict(sound), sep="/").items() if not finite]
    reason = (
        f"{len(bad)} arrays of the checkpoint are not finite, {bad[0]} the first; use another checkpoint"
        if bad
        else "the weights are finite, so the network overflows on this video; check it, and model.dtype"
    )
    with clear_errors():
        raise ValueError(
            f"{name_of(int(wrong[0]))}: the scores are not finite ({wrong.size} of {len(scores)} videos): {reason}"
        )
