"""Functions for compatibility with the API of MMAction2 0.6; nothing else in actjax uses them.

Packages re-export them: `actjax.metrics.pairwise_temporal_iou` is defined here. The last part has the final steps of
MMAction2's pipelines: layouts, types and dictionaries. actjax itself sends uint8 [v, t, h, w, c] to the device and
normalises there; `normalize` and `format_shape` compute the same numbers in NumPy, for export, comparison, or networks
of other frameworks.
"""

import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from actjax.errors import EmptyError, ShapeError
from actjax.localization.nms import proposal_list, soft_nms
from actjax.localization.proposal_file import (
    ground_truth_by_class,
)
from actjax.localization.proposals import bsp_feature, candidate_proposals, matched
from actjax.localization.ssn import num_classes_of, outputs_of, score_proposals, ssn_detections
from actjax.metrics.average_precision import average_precisions, eval_ap, join, truth_of_class
from actjax.metrics.average_recall import THRESHOLDS
from actjax.metrics.evaluation import check_results
from actjax.segments import pairs, temporal_iou
from actjax.tables import read_table
from actjax.video_files import found_file

INPUT_FORMATS = ("NCHW", "NCTHW", "NCHW_Flow", "NPTCHW", "NTHWC")


def pairwise_temporal_iou(candidate_segments, target_segments) -> np.ndarray:
    """Intersection over union of every target with every candidate -> float32 [n, m], or [n] for one candidate.

    >>> print(pairwise_temporal_iou(np.array([[0, 8], [4, 12]]), np.array([[0, 10]])))
    [[0.8 0.5]]

    Args:
      candidate_segments: [m, 2 or more] or [2], start and end; further columns are ignored.
      target_segments: [n, 2 or more].

    Raises:
      ValueError: other shapes.

    Rows are targets. Two segments of zero length give NaN. Source: pairwise_temporal_iou. Fixed: one candidate gives
    [n], as MMAction2 documents; its code gives [n, 1].
    """
    candidates, targets = np.asarray(candidate_segments), np.asarray(target_segments)
    if targets.ndim != 2 or candidates.ndim not in (1, 2) or min(targets.shape[1], candidates.shape[-1]) < 2:
        raise ValueError(f"pairwise_temporal_iou: candidates have shape {candidates.shape}, expected [m, 2] or [2]; "
                         f"targets have shape {targets.shape}, expected [n, 2]")  # fmt: skip
    iou = temporal_iou(*pairs(targets, np.atleast_2d(candidates))).astype(np.float32)
    return iou[:, 0] if candidates.ndim == 1 else iou


def average_precision_at_temporal_iou(ground_truth, prediction, temporal_iou_thresholds=THRESHOLDS) -> np.ndarray:
    """Average precision of one class of detections at each threshold -> float32 [t].

    >>> truth = {"a": np.array([[0, 10], [20, 30]])}
    >>> average_precision_at_temporal_iou(truth, [["a", 0, 0, 8, 0.9], ["a", 0, 21, 40, 0.8]], (0.4, 0.5)).tolist()
    [1.0, 0.5]

    Args:
      ground_truth: {video: [m, 2]}, start and end.
      prediction: rows [video, class, start, end, score] in any order; the class is ignored. Detections in videos that
        are not in `ground_truth` are false.

    Raises:
      ShapeError: a row without score. ValueError, TypeError: as `check_segments`.

    No prediction: 0. No ground truth: NaN. Matches as in `average_precisions`. Source:
    average_precision_at_temporal_iou. Fixed: MMAction2 uses only the first ground truth of each video, compares in
    float32, and fails on a video without ground truth.
    """
    return eval_ap({0: prediction}, {0: ground_truth}, temporal_iou_thresholds)[0].astype(np.float32)


def generate_candidate_proposals(
    video_list,
    video_infos,
    tem_results_dir,
    temporal_scale: int,
    peak_threshold: float,
    tem_results_ext: str = ".csv",
    result_dict: dict | None = None,
) -> dict[str, np.ndarray]:
    """Candidate proposals of each video -> {video_name: float64 [k, 7]}, the highest score first.

    Args:
      video_list: indices into `video_infos`.
      video_infos: dicts with `video_name`, `duration_frame`, `duration_second`, `feature_frame` and `annotations`, each
        with a `segment` in seconds.
      tem_results_dir: folder of `<video_name>.csv`: a header, then action, start, end, tmin, tmax for each time step.
      temporal_scale, peak_threshold: as in `candidate_proposals`.
      result_dict: if given, updated with the results.

    Columns: as in `candidate_proposals`, then best IoU and best IoP with the ground truth (`match`; zeros without
    annotations, where MMAction2 fails).

    Raises:
      FileNotFoundError, ShapeError, ValueError: naming the file. NotImplementedError: an extension other than .csv.

    Source: generate_candidate_proposals.
    """
    _check_extensions(tem_results_ext)
    results = {}
    for info in _chosen(video_list, video_infos):
        name = info["video_name"]
        path = found_file(tem_results_dir, name, tem_results_ext)
        curves = read_table(path, columns=3)
        if temporal_scale > len(curves):
            raise ShapeError(f"{path}: {len(curves)} rows; temporal_scale={temporal_scale} needs as many")
        proposals = candidate_proposals(
            curves[:, 1], curves[:, 2], peak_threshold=peak_threshold, temporal_scale=temporal_scale
        )
        results[name] = matched(proposals, info)
    if result_dict is not None:
        result_dict.update(results)
    return results


def generate_bsp_feature(
    video_list,
    video_infos,
    tem_results_dir,
    pgm_proposals_dir,
    top_k: int = 1000,
    bsp_boundary_ratio: float = 0.2,
    num_sample_start: int = 8,
    num_sample_end: int = 8,
    num_sample_action: int = 16,
    num_sample_interp: int = 3,
    tem_results_ext: str = ".csv",
    pgm_proposal_ext: str = ".csv",
    result_dict: dict | None = None,
) -> dict[str, np.ndarray]:
    """Boundary-sensitive features of each video's proposals -> {video_name: float64 [k, 32]}.

    Args:
      video_list, video_infos (`video_name` only), tem_results_dir, result_dict: as in `generate_candidate_proposals`.
      pgm_proposals_dir: folder of `<video_name>.csv`: a header, then rows tmin, tmax, ..., best first.
      top_k: number of rows of the file to use.
      bsp_boundary_ratio, num_sample_start, num_sample_end, num_sample_action, num_sample_interp: as in `bsp_feature`.

    Raises:
      ValueError: also if `top_k` would truncate a file whose scores (column 5) are out of order.
      Others as in `generate_candidate_proposals`.

    Source: generate_bsp_feature. Fixed: a file with one proposal; `top_k=0` gives [0, 32].
    """
    _check_extensions(tem_results_ext, pgm_proposal_ext)
    results = {}
    for info in _chosen(video_list, video_infos):
        name = info["video_name"]
        curves = read_table(found_file(tem_results_dir, name, tem_results_ext), columns=5)
        results[name] = bsp_feature(
            curves[:, 0],
            _best_rows(found_file(pgm_proposals_dir, name, pgm_proposal_ext), top_k),
            step=curves[0, 4] - curves[0, 3],
            end=curves[-1, 4],
            bsp_boundary_ratio=bsp_boundary_ratio,
            num_sample_start=num_sample_start,
            num_sample_end=num_sample_end,
            num_sample_action=num_sample_action,
            num_sample_interp=num_sample_interp,
        )
    if result_dict is not None:
        result_dict.update(results)
    return results


def _best_rows(path: pathlib.Path, top_k: int) -> np.ndarray:
    rows = read_table(path, columns=2)
    if top_k < len(rows) and rows.shape[1] > 4 and (np.diff(rows[:, 4]) > 0).any():
        row = int(np.argmax(np.diff(rows[:, 4]) > 0)) + 1
        raise ValueError(f"{path}: scores are out of order at row {row}; sort them to get the best {top_k}")
    return rows[:top_k]


def _chosen(video_list, video_infos) -> list[dict]:
    wrong = [i for i in video_list if not -len(video_infos) <= i < len(video_infos)]
    if wrong:
        raise ShapeError(f"video_list names video {wrong[0]}; video_infos has {len(video_infos)}")
    return [video_infos[i] for i in video_list]


def _check_extensions(*extensions: str) -> None:
    if set(extensions) != {".csv"}:
        raise NotImplementedError(f"extensions {extensions}; only '.csv' is supported")


def post_processing(
    result,
    video_info: dict,
    soft_nms_alpha: float,
    soft_nms_low_threshold: float,
    soft_nms_high_threshold: float,
    post_process_top_k: int,
    *,
    feature_extraction_interval: int = 16,
) -> list[dict]:
    """Proposals of BSN or BMN as an entry of a result file -> [{"score": x, "segment": [start, end]}] in seconds.

    >>> video = {"duration_frame": 320, "duration_second": 10.0}
    >>> proposals = np.array([[0.0, 0.5, 0.9], [0.6, 0.9, 0.7]])
    >>> post_processing(proposals, video, 0.4, 0.5, 0.9, post_process_top_k=1)
    [{'score': 0.9, 'segment': [0.0, 5.0]}]

    Args:
      result: [k, 3 or more], start and end as fractions of the part that features cover, score last.
      video_info: `duration_frame` and `duration_second`.
      soft_nms_alpha, soft_nms_low_threshold, soft_nms_high_threshold: as in `soft_nms`; a single row skips NMS.
      post_process_top_k: number of proposals to keep.
      feature_extraction_interval: frames per feature; features cover a whole number of these intervals.

    Source: post_processing of MMAction2's BSN and BMN.
    """
    if len(result) > 1:
        result = soft_nms(result, soft_nms_alpha, soft_nms_low_threshold, soft_nms_high_threshold, post_process_top_k)
    interval = feature_extraction_interval
    return proposal_list(result, video_info, top_k=post_process_top_k, feature_extraction_interval=interval)


def results_to_detections(results, video_ids: Sequence[str], *, top_k: int = 2000) -> list[dict[str, np.ndarray]]:
    """Network outputs -> for each class {video id: rows [n, 5]}: start, end, score, shift, log scale.

    >>> outputs = (np.array([[0.2, 0.6]]), np.array([[0.0, 3.0]]), np.array([[0.5]]), None)
    >>> (found,) = results_to_detections([outputs], ["a"])  # of the only class
    >>> found["a"].round(2).tolist()
    [[0.2, 0.6, 1.65, 0.0, 0.0]]

    Args:
      results: for each video the four arrays of `score_proposals`, as a tuple or a dict with `RESULT_KEYS`.
      video_ids: the videos, in the same order.
      top_k: number of (proposal, class) pairs to keep per video, the lowest score first; 0 or less: all, in the order
        of proposals.

    Raises:
      ShapeError: as `score_proposals`, naming the video.

    Source: SSNDataset.results_to_detections, whose `softmax_before_filter` and `cls_top_k` have no effect.
    """
    if len(results) != len(video_ids):
        raise ShapeError(f"results_to_detections: {len(results)} results for {len(video_ids)} videos")
    parts = [
        score_proposals(*outputs_of(result), top_k=top_k, name=v) for v, result in zip(video_ids, results, strict=True)
    ]
    num_classes = num_classes_of(results)
    return [
        {v: rows[label == k] for v, (label, rows) in zip(video_ids, parts, strict=True) if (label == k).any()}
        for k in range(num_classes)
    ]


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

    >>> videos = [("a", 100, [["1", "20", "50"]], [])]
    >>> outputs = (np.array([[0.2, 0.6]]), np.array([[0.0, 3.0]]), np.array([[0.5]]), None)
    >>> evaluate_ssn([outputs], videos, iou_thresholds=(0.5, 0.9))
    {'mAP@0.50': 1.0, 'mAP@0.90': 0.0}

    Args:
      results: list with one entry per video, as in `results_to_detections`, in the order of the file, without the
        videos that `filter_gt` removes.
      videos: from `load_localize_proposal_file`.
      metrics: "mAP", or a list of it.
      top_k, nms, use_regression: as in `ssn_detections`.

    Raises:
      TypeError: results are not a list. ShapeError: the numbers of results and videos differ. KeyError: unknown metric.
      EmptyError: no ground truth.

    Each mAP is the mean over all classes of the network. Kept from MMAction2: a class with detections but no ground
    truth makes it NaN. Source: SSNDataset.evaluate with `eval_dataset="thumos14"`.
    """
    ids, by_class = ground_truth_by_class(videos, filter_gt=filter_gt)
    if not by_class:
        raise EmptyError(f"evaluate_ssn: none of {len(videos)} videos has ground truth")
    if not check_results(results, len(ids), metrics, allowed=("mAP",)):
        return {}
    number, num_classes = {video: i for i, video in enumerate(ids)}, num_classes_of(results)
    truth = join([truth_of_class(k, by_class.get(k, {}), number) for k in range(num_classes)])
    found = ssn_detections(results, top_k=top_k, nms=nms, use_regression=use_regression)
    precisions = average_precisions(truth, found, num_classes=num_classes, thresholds=iou_thresholds)
    return {f"mAP@{t:.2f}": float(x) for t, x in zip(iou_thresholds, precisions.mean(axis=0), strict=True)}


def normalize(frames: np.ndarray, *, mean, std, to_bgr: bool = False, scale_factor=None) -> np.ndarray:
    """`(frames - mean) / std` per channel -> float32 [..., c].

    Args:
      frames: [..., c], RGB or flow (x, y).
      mean, std: one number per channel, in the order of the output channels.
      to_bgr: reverse the channels first.
      scale_factor: x and y factors of flow, `views.scale_factor(view)` (MMAction2's `adjust_magnitude=True`). None: no
        scaling.

    Raises:
      ValueError: not one mean and std per channel, a std that is not positive, `to_bgr` without three channels, a
        `scale_factor` without two. Source: Normalize.
    """
    channels = frames.shape[-1]
    mean, std = np.asarray(mean, np.float32), np.asarray(std, np.float32)
    for name, values in dict(mean=mean, std=std).items():
        if values.shape != (channels,):
            raise ValueError(
                f"normalize: {name}={values.tolist()}; expected one number for each of {channels} channels"
            )
    if not (std > 0).all():
        raise ValueError(f"normalize: std={std.tolist()}; every value must be positive")
    if to_bgr and channels != 3:
        raise ValueError(f"normalize: to_bgr=True for {channels} channels; only RGB can be reversed")
    out = ((frames[..., ::-1] if to_bgr else frames) - mean) / std
    if scale_factor is None:
        return out
    if channels != 2 or np.shape(scale_factor) != (2,):
        raise ValueError(f"normalize: scale_factor={scale_factor} for {channels} channels; expected (x, y), for flow")
    return out * np.asarray(scale_factor, np.float32)


def format_shape(
    frames: np.ndarray, input_format: str, *, num_clips: int, clip_len: int, num_proposals: int = 1
) -> np.ndarray:
    """Frames -> the input layout of a network.

    Args:
      frames: [m, h, w, c], m = crops * clips * frames per clip, in this order (as from `render`).
      input_format: "NCHW" -> [m, c, h, w]; "NCTHW" -> [crops * clips, c, t, h, w]; "NTHWC" -> [crops * clips, t, h,
        w, c]; "NCHW_Flow" -> [crops * clips, t * c, h, w], channels x0, y0, x1, y1, ...; "NPTCHW" -> [proposals,
        clips * t, c, h, w].
      num_clips: clips of a video, or of a proposal.
      clip_len: frames t of a clip.
      num_proposals: for "NPTCHW".

    Raises:
      ValueError: an unknown format; m is not a multiple of clips * t ("NPTCHW": not equal to proposals * clips * t;
        "NCHW": any m is valid). Source: FormatShape; "NTHWC" is ours.
    """
    if input_format not in INPUT_FORMATS:
        raise ValueError(f"format_shape: input_format={input_format!r}; choose from {INPUT_FORMATS}")
    m, h, w, c = frames.shape
    if input_format == "NCHW":
        return frames.transpose(0, 3, 1, 2)
    if input_format == "NPTCHW":
        if m != num_proposals * num_clips * clip_len:
            raise ValueError(
                f"format_shape: {m} frames; expected num_proposals * num_clips * clip_len = "
                f"{num_proposals} * {num_clips} * {clip_len}"
            )
        return frames.reshape(num_proposals, num_clips * clip_len, h, w, c).transpose(0, 1, 4, 2, 3)
    if m % (num_clips * clip_len):
        raise ValueError(f"format_shape: {m} frames; expected a multiple of {num_clips} clips of {clip_len}")
    clips = frames.reshape(m // clip_len, clip_len, h, w, c)
    if input_format == "NTHWC":
        return clips
    if input_format == "NCTHW":
        return clips.transpose(0, 4, 1, 2, 3)
    return clips.transpose(0, 1, 4, 2, 3).reshape(m // clip_len, clip_len * c, h, w)


def transpose(array: np.ndarray, order) -> np.ndarray:
    """Reorders the axes: `(2, 0, 1)` turns [h, w, c] into [c, h, w].

    Raises:
      ValueError: `order` does not name every axis once. Source: Transpose, ImageToTensor.
    """
    if sorted(order) != list(range(array.ndim)):
        raise ValueError(f"transpose: order={tuple(order)} for shape {array.shape}; name each axis once")
    return array.transpose(order)


def to_array(value) -> np.ndarray:
    """Converts a number or list to an array: int64 for integers and bools, else float32; one number becomes [1].

    Arrays are returned unchanged.

    Raises:
      TypeError: another type (str, None, a NumPy scalar). ValueError: a list of anything but numbers.
      Source: ToTensor.
    """
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        return value
    if not isinstance(value, (int, float, list, tuple)):
        raise TypeError(f"to_array: {value!r} of type {type(value).__name__}; expected a number, a list or an array")
    array = np.atleast_1d(np.array(value))
    if array.dtype.kind not in "biuf":
        raise ValueError(f"to_array: {value!r}; expected numbers only")
    return array.astype(np.float32 if array.dtype.kind == "f" else np.int64)


def collect(record: Mapping, keys: Iterable[str], meta_keys: Iterable[str]) -> tuple[dict, dict]:
    """Copies `keys` and `meta_keys` of `record` into two new dictionaries.

    Raises:
      ValueError: `record` lacks a key. Source: Collect; a batch is a dictionary of arrays, so DataContainer has no
      counterpart.
    """
    keys, meta_keys = list(keys), list(meta_keys)
    missing = [key for key in keys + meta_keys if key not in record]
    if missing:
        raise ValueError(f"collect: the record lacks {missing}; it has {sorted(record)}")
    return {key: record[key] for key in keys}, {key: record[key] for key in meta_keys}


def compose(*functions: Callable) -> Callable:
    """Chains `functions`: each is called with the previous result; None ends the chain.

    Raises:
      TypeError: an argument is not callable. Source: Compose.
    """
    for function in functions:
        if not callable(function):
            raise TypeError(f"compose: {function!r} is not callable")

    def composed(value):
        for function in functions:
            if value is None:
                break
            value = function(value)
        return value

    return composed
