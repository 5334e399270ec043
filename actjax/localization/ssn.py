"""SSN: network outputs -> detections. Shapes: n proposals, k classes."""

import numpy as np

from actjax.errors import ShapeError
from actjax.localization.nms import grouped_nms
from actjax.metrics import Instances, softmax
from actjax.metrics.average_precision import join
from actjax.segments import check_array

RESULT_KEYS = ("relative_proposal_list", "activity_scores", "completeness_scores", "bbox_preds")


def perform_regression(detections) -> np.ndarray:
    """Applies each detection's regression and clips its ends to [0, 1] -> as `detections`.

    >>> detections = np.array([[0.2, 0.6, 0.9, 0.25, 0.0]])  # a quarter of its length to the right
    >>> perform_regression(detections).round(2).tolist()
    [[0.3, 0.7, 0.9, 0.25, 0.0]]

    Args:
      detections: [n, 5 or more]: start, end (fractions of the video), score, shift of the centre in lengths, log of the
        scale of the length.

    Raises:
      TypeError: not an array. ShapeError: fewer columns.

    A very large scale gives the whole video. Source: perform_regression of MMAction2 0.6.
    """
    check_array("perform_regression: detections", detections, columns=5)
    start, end, _, shift, stretch = detections.T[:5]
    with np.errstate(over="ignore", invalid="ignore"):
        centre, length = (start + end) / 2 + (end - start) * shift, (end - start) * np.exp(stretch)
        ends = [np.clip(centre - length / 2, 0, 1), np.clip(centre + length / 2, 0, 1)]
    return np.concatenate([np.stack(ends, axis=1), detections[:, 2:]], axis=1)


def score_proposals(
    relative_proposal_list, activity_scores, completeness_scores, bbox_preds, *, top_k: int = 2000, name: str = ""
) -> tuple[np.ndarray, np.ndarray]:
    """Network outputs of one video -> class of each detection [d], rows [d, 5]: start, end, score, shift, log scale.

    >>> activity, completeness = np.array([[0.0, 3.0, 0.0]]), np.array([[0.5, 0.5]])
    >>> label, rows = score_proposals(np.array([[0.2, 0.6]]), activity, completeness, bbox_preds=None)
    >>> label.tolist(), rows.round(2).tolist()
    ([1, 0], [[0.2, 0.6, 0.08, 0.0, 0.0], [0.2, 0.6, 1.57, 0.0, 0.0]])

    Args:
      relative_proposal_list: [n, 2], fractions of the video.
      activity_scores: logits [n, k + 1], background first; it is dropped before the softmax, as in MMAction2.
      completeness_scores: [n, k]; a score is softmax(activity) x exp(completeness).
      bbox_preds: [n, k, 2] or [n, 2k], or None: no regression.
      top_k: as in `results_to_detections`.
      name: the video, for errors.

    Raises:
      ShapeError: shapes that do not match. ValueError: NaN.
    """
    if np.ndim(completeness_scores) != 2:
        shape = np.shape(completeness_scores)
        raise ShapeError(f"SSN result of video {name!r}: completeness scores have shape {shape}; expected [n, k]")
    n, k = np.shape(completeness_scores)
    bbox_preds = np.zeros((n, k, 2), np.float32) if bbox_preds is None else np.asarray(bbox_preds)
    if bbox_preds.shape == (n, 2 * k):
        bbox_preds = bbox_preds.reshape(n, k, 2)
    shapes = [np.shape(a) for a in (relative_proposal_list, activity_scores, bbox_preds)]
    if shapes != [(n, 2), (n, k + 1), (n, k, 2)]:
        raise ShapeError(
            f"SSN result of video {name!r}: proposals, activity, regression have shapes {shapes}; "
            f"expected {[(n, 2), (n, k + 1), (n, k, 2)]} for {n} x {k} completeness scores"
        )
    scores = softmax(activity_scores[:, 1:]) * np.exp(completeness_scores) if n else np.zeros((0, k))
    if np.isnan(scores).any():
        raise ValueError(f"SSN result of video {name!r}: proposal {int(np.argmax(np.isnan(scores).any(1)))} scores NaN")
    flat = np.arange(n * k) if top_k <= 0 else np.argsort(scores, axis=None, kind="stable")[-top_k:]
    proposal, label = np.divmod(flat, k)
    columns = relative_proposal_list[proposal], scores[proposal, label][:, None], bbox_preds[proposal, label]
    return label, np.concatenate(columns, axis=1)


def ssn_detections(results, *, top_k: int = 2000, nms: float = 0.2, use_regression: bool = True) -> Instances:
    """Network outputs of many videos -> detections after regression and per-class NMS; `video` indexes `results`.

    >>> activity, completeness = np.array([[0.0, 3.0, 0.0]]), np.array([[0.5, 0.5]])
    >>> found = ssn_detections([(np.array([[0.2, 0.6]]), activity, completeness, None)], top_k=1)
    >>> found.label.tolist(), found.segments.round(2).tolist()
    ([0], [[0.2, 0.6]])
    """
    found = []
    for i, result in enumerate(results):
        label, rows = score_proposals(*outputs_of(result), top_k=top_k, name=str(i))
        rows = perform_regression(rows) if use_regression else rows
        keep = grouped_nms(rows[:, :2], rows[:, 2], label, nms)
        found.append(Instances(np.full(len(keep), i), label[keep], rows[keep, :2], rows[keep, 2]))
    return join(found)


def outputs_of(result) -> tuple:
    """The four arrays of a result, a tuple or a dict; a dict may lack the last."""
    if isinstance(result, dict):
        return (*(result[key] for key in RESULT_KEYS[:3]), result.get(RESULT_KEYS[3]))
    return tuple(result)


def num_classes_of(results) -> int:
    """Number of classes in `results`; 0 if there are no results."""
    return np.shape(outputs_of(results[0])[2])[-1] if len(results) else 0
