"""Proposals and what is known of whole videos -> detections; and the proposals of knowing nothing."""

import numpy as np

from actjax.errors import ShapeError


def detections_from_proposals(
    proposals: dict[str, list[dict]], class_scores: dict, class_names: list[str], *, top_classes: int = 2
) -> dict[str, list[dict]]:
    """Every proposal with the best classes of its video -> {video: [{"label", "score", "segment"}]}, best first.

    Args:
      proposals: {video: [{"score", "segment"}]}.
      class_scores: {video: scores [k]}; a video without them has no detections.
      class_names: [k].
      top_classes: classes of a video; a detection's score is the product of the proposal's and its class's.

    Raises:
      ShapeError: not as many scores as names.

    Source: the published evaluations of BSN and BMN (Lin et al. 2018, section 4.4).
    """
    found = {}
    for video, rows in proposals.items():
        if video not in class_scores:
            continue
        scores = np.asarray(class_scores[video], np.float64)
        if scores.shape != (len(class_names),):
            raise ShapeError(f"class scores of {video!r} have shape {scores.shape}; there are {len(class_names)} names")
        best = np.argsort(-scores, kind="stable")[:top_classes]
        detections = [
            {"label": class_names[k], "score": float(scores[k]) * row["score"], "segment": row["segment"]}
            for k in best
            for row in rows
        ]
        found[video] = sorted(detections, key=lambda row: -row["score"])
    return found


def uniform_proposals(*, levels: int = 10) -> np.ndarray:
    """Windows that do not look at the video -> [levels^2, 3]: start and end as fractions, score.

    On level k windows of length 1 / k, half of which is their distance; longer ones score higher. Ten levels make the
    100 proposals of the usual budget.
    """
    rows = [(i / (2 * k), i / (2 * k) + 1 / k, 1 / k) for k in range(1, levels + 1) for i in range(2 * k - 1)]
    return np.array(rows)
