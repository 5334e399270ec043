"""SSN: proposal files, network outputs -> detections, their mAP. Shapes: n proposals, k classes, t thresholds."""

import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from actjax.errors import ShapeError
from actjax.localization.nms import grouped_nms
from actjax.metrics import Instances, average_precisions, softmax
from actjax.metrics.average_precision import join
from actjax.metrics.evaluation import check_results

RESULT_KEYS = ("relative_proposal_list", "activity_scores", "completeness_scores", "bbox_preds")


def load_localize_proposal_file(filename) -> list[tuple[str, int, list[list[str]], list[list[str]]]]:
    """Videos of an SSN proposal file -> (video id, number of frames, ground-truth rows, proposal rows) each.

    Lines that start with # part the videos. A video is: its id, two numbers whose product is the number of frames
    (frames and 1, or seconds and frames per second), the number of ground truths, as many rows `label start end`, the
    number of proposals, as many rows `label best_iou overlap_self start end`. Rows are lists of strings.

    Raises:
      FileNotFoundError. ShapeError: a video ends too early. ValueError: a number does not parse. Both name file and
        line, the text, and what was expected.

    As in the reference fewer proposal rows than announced are accepted, and so are blank lines behind a video. Source:
    the API entry load_localize_proposal_file.
    """
    return [_parse_block(block) for block in _blocks(pathlib.Path(filename))]


def perform_regression(detections) -> np.ndarray:
    """Detections moved by their regression, ends clipped to [0, 1] -> as `detections`.

    Args:
      detections: [n, 5 or more]: start, end (fractions of the video), score, shift of the centre in lengths, log of the
        factor of the length.

    Raises:
      TypeError: no array. ShapeError: fewer columns.

    Too large a factor gives the whole video. Source: the API entry perform_regression.
    """
    if not isinstance(detections, np.ndarray):
        raise TypeError(f"perform_regression: detections are a {type(detections).__name__}; expected an array [n, 5]")
    if detections.ndim != 2 or detections.shape[1] < 5:
        raise ShapeError(f"perform_regression: detections have shape {detections.shape}; expected [n, 5 or more]")
    start, end, _, shift, stretch = detections.T[:5]
    with np.errstate(over="ignore", invalid="ignore"):
        centre, length = (start + end) / 2 + (end - start) * shift, (end - start) * np.exp(stretch)
        ends = [np.clip(centre - length / 2, 0, 1), np.clip(centre + length / 2, 0, 1)]
    return np.concatenate([np.stack(ends, axis=1), detections[:, 2:]], axis=1)


def results_to_detections(results, video_ids: Sequence[str], *, top_k: int = 2000) -> list[dict[str, np.ndarray]]:
    """Network outputs -> per class {video id: rows [n, 5]}: start, end, score, shift, log factor.

    Args:
      results: per video the four arrays of `score_proposals`, a tuple or a dict of `RESULT_KEYS`.
      video_ids: the videos, in the same order.
      top_k: the best (proposal, class) pairs of each video that are kept, the lowest first; 0 or less: all, in the
        order of proposals.

    Raises:
      ShapeError, as `score_proposals`, naming the video.

    Source: the method SSNDataset.results_to_detections; its `softmax_before_filter` and `cls_top_k` had no effect.
    """
    parts = [
        score_proposals(*_arrays(result), top_k=top_k, name=v) for v, result in zip(video_ids, results, strict=True)
    ]
    num_classes = _num_classes(results)
    return [
        {v: rows[label == k] for v, (label, rows) in zip(video_ids, parts, strict=True) if (label == k).any()}
        for k in range(num_classes)
    ]


def score_proposals(
    relative_proposal_list, activity_scores, completeness_scores, bbox_preds, *, top_k: int = 2000, name: str = ""
) -> tuple[np.ndarray, np.ndarray]:
    """Network outputs of one video -> class of each detection [d], rows [d, 5]: start, end, score, shift, log factor.

    Args:
      relative_proposal_list: [n, 2], fractions of the video.
      activity_scores: [n, k + 1], background first; it is dropped before the softmax, as in the reference.
      completeness_scores: [n, k]; a score is softmax(activity) x exp(completeness).
      bbox_preds: [n, k, 2] or [n, 2k], or None: no regression.
      top_k: as in `results_to_detections`.
      name: the video, for errors.

    Raises:
      ShapeError: shapes that do not belong together. ValueError: NaN.
    """
    n, k = np.shape(completeness_scores)
    bbox_preds = np.zeros((n, k, 2), np.float32) if bbox_preds is None else np.reshape(bbox_preds, (n, -1, 2))
    shapes = [np.shape(a) for a in (relative_proposal_list, activity_scores, bbox_preds)]
    if shapes != [(n, 2), (n, k + 1), (n, k, 2)]:
        raise ShapeError(
            f"SSN result of video {name!r}: proposals, activity, regression have shapes {shapes}; "
            f"expected {[(n, 2), (n, k + 1), (n, k, 2)]} beside {n} x {k} completeness scores"
        )
    scores = softmax(activity_scores[:, 1:]) * np.exp(completeness_scores) if n else np.zeros((0, k))
    if np.isnan(scores).any():
        raise ValueError(f"SSN result of video {name!r}: proposal {int(np.argmax(np.isnan(scores).any(1)))} scores NaN")
    flat = np.arange(n * k) if top_k <= 0 else np.argsort(scores, axis=None, kind="stable")[-top_k:]
    proposal, label = np.divmod(flat, k)
    columns = relative_proposal_list[proposal], scores[proposal, label][:, None], bbox_preds[proposal, label]
    return label, np.concatenate(columns, axis=1)


def ssn_detections(results, *, top_k: int = 2000, nms: float = 0.2, use_regression: bool = True) -> Instances:
    """Network outputs of many videos -> detections after regression and NMS per class, `video` counting the results."""
    found = []
    for i, result in enumerate(results):
        label, rows = score_proposals(*_arrays(result), top_k=top_k, name=str(i))
        rows = perform_regression(rows) if use_regression else rows
        keep = grouped_nms(rows[:, :2], rows[:, 2], label, nms)
        found.append(Instances(np.full(len(keep), i), label[keep], rows[keep, :2], rows[keep, 2]))
    return join(found)


def ground_truth_by_class(videos, *, filter_gt: bool = True) -> tuple[list[str], dict[int, dict[str, list]]]:
    """Proposal-file videos -> ids of those that count, {class from 0: {video: [[start, end], ...]}} as fractions.

    Args:
      videos: what `load_localize_proposal_file` returns.
      filter_gt: leave out videos without ground truth, as the reference does.

    A row that ends where it starts, or starts behind the last frame, is dropped; ends are cut to the last frame. Labels
    count from 1 in the file. Source: the methods load_annotations and get_all_gts of the reference's SSNDataset.
    """
    ids, by_class = [], {}
    for video, num_frames, rows, _ in videos:
        valid = [(int(a) - 1, int(s), min(int(e), num_frames)) for a, s, e in rows
                 if int(s) < int(e) and int(s) < num_frames]  # fmt: skip
        if valid or not filter_gt:
            ids.append(video)
        for label, start, end in valid:
            by_class.setdefault(label, {}).setdefault(video, []).append([start / num_frames, end / num_frames])
    return ids, by_class


def evaluate_ssn(
    results,
    videos,
    *,
    metrics="mAP",
    top_k: int = 2000,
    nms: float = 0.2,
    use_regression: bool = True,
    filter_gt: bool = True,
    iou_thresholds=tuple(np.arange(0.1, 1.0, 0.1)),
) -> dict[str, float]:
    """mAP of SSN on a proposal file's ground truth -> {"mAP@0.10": ..., ..., "mAP@0.90": ...}.

    Args:
      results: a list, one entry per video as `results_to_detections` takes it, in the order of the file, without the
        videos that `filter_gt` leaves out.
      videos: what `load_localize_proposal_file` returns.
      metrics: "mAP", or a list of it.
      top_k, nms, use_regression: as in `ssn_detections`.

    Raises:
      TypeError: results are no list. ShapeError: another number of results than videos. KeyError: another metric.

    Each is the mean over all classes of the network. Kept from the reference: one class with detections but without
    ground truth makes it NaN. Source: the method SSNDataset.evaluate with `eval_dataset="thumos14"`.
    """
    ids, by_class = ground_truth_by_class(videos, filter_gt=filter_gt)
    check_results(results, len(ids), metrics, allowed=("mAP",))
    number = {video: i for i, video in enumerate(ids)}
    rows = [
        (number[v], k, *segment) for k, of in by_class.items() for v, segments in of.items() for segment in segments
    ]
    table = np.array(rows, np.float64).reshape(-1, 4)
    num_classes = _num_classes(results)
    table = table[table[:, 1] < num_classes]
    truth = Instances(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2:])
    found = ssn_detections(results, top_k=top_k, nms=nms, use_regression=use_regression)
    precisions = average_precisions(truth, found, num_classes=num_classes, thresholds=iou_thresholds)
    return {f"mAP@{t:.2f}": float(x) for t, x in zip(iou_thresholds, precisions.mean(axis=0), strict=True)}


def _arrays(result) -> tuple:
    return tuple(result.get(key) for key in RESULT_KEYS) if isinstance(result, dict) else tuple(result)


def _num_classes(results) -> int:
    return np.shape(_arrays(results[0])[2])[1] if len(results) else 0


def _blocks(path: pathlib.Path) -> Iterator["_Lines"]:
    block = _Lines(path)
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.startswith("#"):
            block.rows.append((number, line.strip()))
        elif block.rows:
            yield block
            block = _Lines(path)
    if block.rows:
        yield block


class _Lines:
    """The lines of one video, taken one by one."""

    def __init__(self, path: pathlib.Path):
        self.path, self.rows, self.at = path, [], 0

    def take(self, what: str) -> tuple[int, str]:
        if self.at == len(self.rows):
            number, text = self.rows[-1]
            raise ShapeError(f"{self.path}:{number}: the video ends after {text!r}; expected {what}")
        self.at += 1
        return self.rows[self.at - 1]

    def number(self, what: str, kind):
        number, text = self.take(what)
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"{self.path}:{number}: got {text!r}; expected {what}") from None


def _parse_block(lines: _Lines) -> tuple:
    video = lines.take("a video id")[1]
    frames = lines.number("the number of frames or seconds", float) * lines.number("frames per second, or 1", float)
    num_truths = lines.number("the number of ground truths", int)
    truths = [lines.take("a ground truth: label start end")[1].split() for _ in range(num_truths)]
    num_proposals = lines.number("the number of proposals", int)
    proposals = lines.rows[lines.at : lines.at + num_proposals]
    return video, int(frames), truths, [text.split() for _, text in proposals]
