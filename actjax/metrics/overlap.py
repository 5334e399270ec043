"""Overlap of segments under its name in the API reference."""

import numpy as np

from actjax.segments import pairs, temporal_iou


def pairwise_temporal_iou(candidate_segments, target_segments) -> np.ndarray:
    """Intersection over union of every target with every candidate -> float32 [n, m], or [n] for one candidate.

    Args:
      candidate_segments: [m, 2 or more] or [2], start and end; further columns are not looked at.
      target_segments: [n, 2 or more].

    Raises:
      ValueError: other shapes.

    Rows are targets. Two segments without length give NaN. Source: the API entry pairwise_temporal_iou; fixed: one
    candidate gives [n], as the reference's text says, where its code gave [n, 1].
    """
    candidates, targets = np.asarray(candidate_segments), np.asarray(target_segments)
    if targets.ndim != 2 or candidates.ndim not in (1, 2) or min(targets.shape[1], candidates.shape[-1]) < 2:
        raise ValueError(f"pairwise_temporal_iou: candidates have shape {candidates.shape}, expected [m, 2] or [2]; "
                         f"targets have shape {targets.shape}, expected [n, 2]")  # fmt: skip
    iou = temporal_iou(*pairs(targets, np.atleast_2d(candidates))).astype(np.float32)
    return iou[:, 0] if candidates.ndim == 1 else iou
