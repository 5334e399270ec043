"""Proposal files of SSN -> records.

Segments are whole frames [first, frame after the last]. Classes count from 1; 0 is the background. Shapes: n
instances.
"""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from actjax.data.datasets.records import RawframesRecord, VideoRecord
from actjax.errors import shown
from actjax.localization.proposal_file import denormalize, load_localize_proposal_file, valid_rows
from actjax.text_files import read_json
from actjax.video.decoding import Video
from actjax.video.errors import VideoError

log = logging.getLogger(__name__)


class Instances(NamedTuple):
    """A table of segments, one per row.

    video: int64 [n], number of their record. num_frames: int64 [n], its length. segment: int64 [n, 2]. label: int64
    [n]. best_iou: float64 [n], with the nearest ground truth. overlap_self: float64 [n], share of the segment that a
    ground truth covers. coverage: float64 [n], length as a share of the video's; as in MMAction2 0.6, before ends are
    cut to the video. regression_targets: float64 [n, 2], shift of the centre in lengths, and log of the length ratio.
    """

    video: np.ndarray
    num_frames: np.ndarray
    segment: np.ndarray
    label: np.ndarray
    best_iou: np.ndarray
    overlap_self: np.ndarray
    coverage: np.ndarray
    regression_targets: np.ndarray

    @property
    def size(self) -> int:
        return len(self.video)

    def take(self, rows) -> "Instances":
        """The given rows, a mask or indices."""
        return Instances(*(column[rows] for column in self))


class SSNRecord(NamedTuple):
    """One untrimmed video: its frame folder or video file, its ground truth and its proposals.

    number: position among the records of the proposal file. num_frames: length according to that file.
    """

    number: int
    video: str
    num_frames: int
    frames: RawframesRecord | VideoRecord
    ground_truth: Instances
    proposals: Instances

    @property
    def path(self) -> str:
        return self.frames.path

    def decoder(self, backend: str | Sequence[str]) -> str:
        """The library that `open` uses, and its version."""
        return self.frames.decoder(backend)

    def open(self, *, backend: str | Sequence[str] = "pyav") -> Video:
        """Opens the video; `backend` is ignored for folders of images.

        Raises:
          VideoError: more than 1 % of the expected frames are missing, or the video has 5 % more: the proposal file was
            made of frames at another rate.
        """
        video = self.frames.open(backend=backend)
        if not 0.99 * self.num_frames <= video.num_frames <= 1.05 * self.num_frames + 1:
            raise VideoError(self.path, f"{video.num_frames} frames; the proposal file says {self.num_frames}")
        return video


def load_ssn(
    path: str | os.PathLike,
    *,
    data_prefix: str = "",
    frame_counts: Mapping[str, int] | str | os.PathLike | None = None,
    filter_gt: bool = True,
    suffix: str = "",
    **pictures,
) -> list[SSNRecord]:
    """The videos of a proposal file.

    Args:
      path: a proposal file, see `load_localize_proposal_file`.
      data_prefix: where the videos are.
      frame_counts: video -> number of frames, or a JSON file of it, if the segments in `path` are fractions. None: they
        are frames.
      filter_gt: leave out videos without ground truth; needed for training.
      suffix: "": every video is a folder of images; otherwise the suffix of video files, such as ".mp4"; ".*": videos
        are files whose names have their suffixes.
      pictures: `filename_tmpl`, `start_index`, `modality`, as in `RawframesRecord`.

    Segments that do not end after their start, or that begin after the end of the video, are left out with a warning.
    Ends are cut to the video.

    Raises:
      FileNotFoundError: no such file. ValueError: a row that does not parse, a ground truth with a class below 1, a
        video listed twice or without frames, fractions without `frame_counts`. KeyError: a video without a count.
    """
    videos = load_localize_proposal_file(path)
    if frame_counts is not None:
        if not isinstance(frame_counts, Mapping):
            frame_counts = _frame_counts(frame_counts)
        try:
            videos = denormalize(videos, frame_counts)
        except ValueError as error:  # or that a video has no count
            error.args = (f"{path}: {error}",)
            raise
    records, names, dropped = [], set(), 0
    for video, num_frames, truths, proposals in videos:
        try:
            if num_frames < 1 or video in names:
                raise ValueError("is listed twice" if video in names else f"has {num_frames} frames")
            segments = [_instances(len(records), num_frames, *rows) for rows in ((truths, 3), (proposals, 5))]
            if (segments[0].label < 1).any():
                raise ValueError("a ground truth has class 0; classes count from 1")
        except (ValueError, OverflowError) as error:
            fractions = any("." in end for row in truths + proposals for end in row[-2:])
            fix = "; fractions need frame_counts" if fractions else ""
            raise ValueError(f"{path}: video {shown(video)}: {error}{fix}") from None
        names.add(video)
        dropped += len(truths) + len(proposals) - sum(part.size for part in segments)
        if segments[0].size or not filter_gt:
            place = os.path.join(data_prefix, video + ("" if suffix == ".*" else suffix))
            frames = VideoRecord(place) if suffix else RawframesRecord(place, num_frames, **pictures)
            records.append(SSNRecord(len(records), video, num_frames, frames, *segments))
    if dropped:
        log.warning(
            "%s: left out %d segments that end before they start or begin after their video's end", path, dropped
        )
    return records


def _frame_counts(path) -> dict[str, int]:
    counts = read_json(path, what="a file of frame counts")
    if not isinstance(counts, dict):
        raise ValueError(f"{path}: {shown(counts)}; expected {{video: number of frames}}")
    for video, count in counts.items():
        if type(count) is not int or count < 1:
            raise ValueError(f"{path}: video {shown(video)}: {shown(count)}; expected a number of frames")
    return counts


def joined(parts: Iterable[Instances]) -> Instances:
    """The rows of all parts, one part after another."""
    return Instances(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _is_share(text: str) -> bool:
    try:
        return -1e-3 <= float(text) <= 1.001
    except ValueError:
        return False


def _instances(video: int, num_frames: int, rows: list[list[str]], num_fields: int) -> Instances:
    for row in rows:
        if len(row) != num_fields or row[-2].startswith("-"):
            what = "label start end" if num_fields == 3 else "label best_iou overlap_self start end"
            raise ValueError(f"{shown(' '.join(row))}; expected {what}, frames count from 0")
        if not all(field.isdecimal() and len(field) < 10 for field in (row[0], *row[-2:])):
            raise ValueError(f"{shown(' '.join(row))}: label, start and end must be whole numbers")
        if num_fields == 5 and not all(map(_is_share, row[1:3])):
            raise ValueError(f"{shown(' '.join(row))}: best_iou and overlap_self must be numbers in [0, 1]")
    rows = valid_rows(rows, num_frames)
    segment = np.array([row[-2:] for row in rows], np.int64).reshape(-1, 2)
    scores = np.array([row[1:-2] or (1, 0) for row in rows], np.float64).reshape(-1, 2)
    return Instances(
        video=np.full(len(rows), video),
        num_frames=np.full(len(rows), num_frames),
        segment=np.minimum(segment, num_frames),
        label=np.array([row[0] for row in rows], np.int64),
        best_iou=scores[:, 0],
        overlap_self=scores[:, 1],
        coverage=(segment[:, 1] - segment[:, 0]) / num_frames,
        regression_targets=np.zeros((len(rows), 2)),
    )
