"""Proposals x video-level class scores -> detections. Also a content-blind baseline of sliding windows."""

from collections.abc import Sequence

import numpy as np

from actjax.errors import ShapeError


def detections_from_proposals(
    proposals: dict[str, list[dict]], class_scores: dict, class_names: list[str], *, top_classes: int = 2
) -> dict[str, list[dict]]:
    """Combines proposals with the top classes of their video -> {video: [{"label", "score", "segment"}]}, best first.

    >>> proposals = {"a": [{"score": 0.5, "segment": [0, 9]}]}
    >>> detections_from_proposals(proposals, {"a": [0.2, 0.8]}, ["jump", "run"], top_classes=1)
    {'a': [{'label': 'run', 'score': 0.4, 'segment': [0, 9]}]}

    Args:
      proposals: {video: [{"score", "segment"}]}.
      class_scores: {video: scores [k]}; a video without scores gets no detections.
      class_names: [k].
      top_classes: number of classes per video. A detection's score is proposal score x class score.

    Raises:
      ShapeError: the numbers of scores and names differ.

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


def classified(proposals: Sequence[dict], times, scores, names: Sequence[str], *, top_classes: int = 1) -> list[dict]:
    """Proposals x class scores along the video -> detections, best first. A proposal has the mean of the scores in it.

    >>> found = [{"segment": [0.0, 2.0], "score": 0.5}]
    >>> classified(found, [0.5, 1.5, 2.5], [[0.2, 0.8], [0.4, 0.6], [1, 0]], ["jump", "run"])
    [{'segment': [0.0, 2.0], 'score': 0.35, 'class': 'run'}]

    Args:
      proposals: {"segment": [start, end] in seconds, "score"}.
      times: [n], the middles of even steps in seconds. scores: [n, k], of the classes at each step. names: [k].
      top_classes: detections of each proposal; the score of one is proposal score x class score.
    """
    scores = np.asarray(scores, np.float64)
    step = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else 2.0 * times[0]
    sums = np.concatenate([np.zeros((1, scores.shape[1])), np.cumsum(scores, axis=0)])
    found = []
    for row in proposals:
        first, last = _steps(row["segment"], step, len(scores))
        mean = (sums[last] - sums[first]) / (last - first)
        for k in np.argsort(-mean, kind="stable")[:top_classes]:
            found.append(row | {"score": float(row["score"] * mean[k]), "class": names[k]})
    return sorted(found, key=lambda row: -row["score"])


def _steps(segment: Sequence[float], step: float, total: int) -> tuple[int, int]:
    """The steps [first, last) whose middles lie in a segment, one at least; rounding takes none in or out."""
    first, last = (int(np.clip(np.ceil(second / step - 0.5 - 1e-6), 0, total)) for second in segment)
    if last > first:
        return first, last
    nearest = int(np.clip(sum(segment) / 2 / step, 0, total - 1))
    return nearest, nearest + 1


def uniform_proposals(*, levels: int = 10) -> np.ndarray:
    """Sliding windows, the same for every video -> [levels^2, 3]: start and end as fractions, score.

    Level k has windows of length 1 / k at a stride of half their length; longer windows score higher. Ten levels give
    100 proposals, the usual budget.

    >>> uniform_proposals(levels=2).tolist()
    [[0.0, 1.0, 1.0], [0.0, 0.5, 0.5], [0.25, 0.75, 0.5], [0.5, 1.0, 0.5]]
    """
    rows = [(i / (2 * k), i / (2 * k) + 1 / k, 1 / k) for k in range(1, levels + 1) for i in range(2 * k - 1)]
    return np.array(rows)
