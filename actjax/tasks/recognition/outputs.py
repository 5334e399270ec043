"""What a recogniser returns for videos -> probabilities, after a check that it is finite."""

import numpy as np

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


def check_finite(scores: np.ndarray, video: str) -> None:
    """Raises ValueError if the scores or features of a video are not finite."""
    if not np.isfinite(scores).all():
        with clear_errors():
            raise ValueError(
                f"{video}: the scores are not finite: the network overflows on this video; use another checkpoint, or "
                "see model.dtype"
            )
