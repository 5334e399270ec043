"""SSN's proposal files: ground truth and proposals of many videos in one text file."""

import logging
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from actjax.errors import MissingError, ShapeError, shown
from actjax.metrics.ground_truth import annotations_of
from actjax.metrics.results import class_of, video_id
from actjax.paths import to_path
from actjax.segments import check_segments, pairs, temporal_iop, temporal_iou
from actjax.text_files import read_text

log = logging.getLogger(__name__)

_MOST = 10**9  # frames of a video, and what is larger is no number of frames

Video = tuple[str, int, list[list[str]], list[list[str]]]


def load_localize_proposal_file(filename) -> list[Video]:
    """Reads an SSN proposal file -> for each video (id, number of frames, ground-truth rows, proposal rows).

    Lines that start with # separate the videos. A video is: its id, two numbers whose product is the number of frames
    (frames and 1, or seconds and frames per second), the number of ground truths, as many rows `label start end`, the
    number of proposals, as many rows `label best_iou overlap_self start end`. Rows are lists of strings.

    >>> save_localize_proposal_file([("clip", 100, [["1", "10", "50"]], [])], "proposals.txt")
    >>> load_localize_proposal_file("proposals.txt")
    [('clip', 100, [['1', '10', '50']], [])]

    Raises:
      FileNotFoundError. ShapeError: a video ends too early, or has more proposal rows than announced. ValueError: a
        number does not parse. Both name the file, the line, its text and the expected field.

    Kept from MMAction2 0.6: there may be fewer proposal rows than announced, which is a warning, and blank lines after
    a video. Source: MMAction2's load_localize_proposal_file.
    """
    blocks = [(block, _parse_block(block)) for block in _blocks(to_path(filename))]
    if short := [(video[0], block) for block, video in blocks if len(video[3]) < block.announced]:
        video, block = short[0]
        log.warning("%s: %d videos have fewer proposals than they announce, %s the first, which announces %d; is the "
                    "file complete?", filename, len(short), shown(video), block.announced)  # fmt: skip
    return [video for _, video in blocks]


def ground_truth_by_class(videos, *, filter_gt: bool = True) -> tuple[list[str], dict[int, dict[str, list]]]:
    """Proposal-file videos -> ids of the videos to evaluate, {class from 0: {video: [[start, end], ...]}} as fractions.

    >>> ground_truth_by_class([("clip", 100, [["1", "10", "50"]], [])])
    (['clip'], {0: {'clip': [[0.1, 0.5]]}})

    Args:
      videos: from `load_localize_proposal_file`.
      filter_gt: skip videos without ground truth, as MMAction2 does.

    Drops rows that do not end after they start, or start after the last frame; clips ends to the last frame. Labels
    count from 1 in the file. Source: load_annotations and get_all_gts of MMAction2's SSNDataset.
    """
    ids, by_class = [], {}
    for video, num_frames, rows, _ in videos:
        valid = valid_rows(rows, num_frames)
        if valid or not filter_gt:
            ids.append(video)
        for label, start, end in valid:
            segment = [start / num_frames, min(end, num_frames) / num_frames]
            by_class.setdefault(int(label) - 1, {}).setdefault(video, []).append(segment)
    return ids, by_class


def valid_rows(rows: Sequence[Sequence[str]], num_frames: int) -> list[tuple]:
    """Rows `..., start, end` that end after they start and start inside the video, with start and end as ints."""
    rows = [(*fields, int(start), int(end)) for *fields, start, end in rows]
    return [row for row in rows if row[-2] < row[-1] and row[-2] < num_frames]


def denormalize(videos: Sequence[Video], frame_counts: Mapping[str, int]) -> list[Video]:
    """Videos with segments as fractions of their length -> the same in frames, rounded down.

    Args:
      videos: from `load_localize_proposal_file`, of a normalised file.
      frame_counts: {video: number of frames}.

    Raises:
      KeyError: a video without a count. ValueError: segments that are not fractions.
    """
    return [_denormalized(video, frame_counts) for video in videos]


def save_localize_proposal_file(videos: Sequence[Video], filename: str | os.PathLike) -> None:
    """Writes a file that `load_localize_proposal_file` reads; overlaps have four decimals.

    >>> videos = [("clip", 100, [["1", "10", "50"]], [["1", "0.8000", "1.0000", "10", "42"]])]
    >>> save_localize_proposal_file(videos, "proposals.txt")
    >>> load_localize_proposal_file("proposals.txt") == videos
    True
    """
    lines = []
    for k, (video, num_frames, truths, proposals) in enumerate(videos):
        if video.strip() != video or len(video.splitlines()) != 1 or not video or video.startswith("#"):
            raise ValueError(f"save_localize_proposal_file: {shown(video)} cannot be the id of a video in {filename}")
        lines += [f"# {k}", video, str(num_frames), "1", str(len(truths))]
        lines += [" ".join(row) for row in truths] + [str(len(proposals))]
        lines += [f"{a} {float(iou):.4f} {float(own):.4f} {start} {end}" for a, iou, own, start, end in proposals]
    pathlib.Path(filename).write_text("".join(line + "\n" for line in lines))


def proposal_rows(segments, truths, labels) -> list[list[str]]:
    """Segments of a video -> rows `label best_iou overlap_self start end` of a proposal file.

    >>> proposal_rows([[10, 42], [60, 70]], truths=[[10, 50]], labels=[1])
    [['1', '0.8000', '1.0000', '10', '42'], ['0', '0.0000', '0.0000', '60', '70']]

    Args:
      segments: [n, 2], whole frames. truths: [g, 2], ground truth. labels: [g], classes of the ground truth, from 1.

    A row has the class of the ground truth with the highest IoU, this IoU, and the share of the segment that this
    ground truth covers; zeros if none overlaps. Source: the published TAG proposals of SSN.
    """
    segments, truths = np.asarray(segments, np.int64).reshape(-1, 2), np.asarray(truths, np.float64).reshape(-1, 2)
    ious, covered = np.zeros(len(segments)), np.zeros(len(segments))
    classes = np.zeros(len(segments), np.int64)
    if len(truths) and len(segments):
        table, rows = temporal_iou(*pairs(segments, truths)), np.arange(len(segments))
        nearest = table.argmax(axis=1)
        ious = table[rows, nearest]
        covered = temporal_iop(*pairs(segments, truths))[rows, nearest]
        classes = np.where(ious > 0, np.asarray(labels, np.int64)[nearest], 0)
    parts = zip(classes, ious, covered, segments, strict=True)
    return [[str(k), f"{iou:.4f}", f"{own:.4f}", str(start), str(end)] for k, iou, own, (start, end) in parts]


def results_to_proposal_file(
    results: Mapping[str, Sequence[Mapping]],
    annotations: Mapping[str, Mapping],
    filename: str | os.PathLike,
    *,
    class_names: Sequence[str],
    top_k: int = 100,
) -> None:
    """Writes proposals, from BSN, BMN or elsewhere, as an SSN proposal file, best first.

    >>> segment = {"segment": [1, 5], "label": "jump"}
    >>> annotations = {"v_a": {"duration_second": 10, "duration_frame": 100, "annotations": [segment]}}
    >>> results = {"a": [{"segment": [1, 4], "score": 0.9}]}
    >>> results_to_proposal_file(results, annotations, "proposals.txt", class_names=["jump"])
    >>> load_localize_proposal_file("proposals.txt")
    [('v_a', 100, [['1', '10', '50']], [['1', '0.7500', '1.0000', '10', '40']])]

    Args:
      results: "results" of a result file: {video id: [{"segment": [start, end], "score"}]}, seconds.
      annotations: content of an annotation file: {video: {"duration_second", "duration_frame", "annotations":
        [{"segment", "label"}]}}. The proposal file has the same videos in the same order.
      class_names: names of the classes; the file numbers them from 1.
      top_k: number of proposals to keep per video.

    Raises:
      KeyError: a video without a result, or without a field; a label that is not a class name. ValueError: segments or
        lengths that are no finite numbers.
    """
    where = "results_to_proposal_file"
    numbers = {class_of(name, where, "class_names"): k for k, name in enumerate(class_names, 1)}
    videos = []
    for video, entry in annotations.items():
        if video_id(video) not in results:
            raise MissingError(f"results_to_proposal_file: no result for video {video!r}")
        known_rows = annotations_of(where, video, entry)
        unknown = [row["label"] for row in known_rows if row["label"] not in numbers]
        if unknown:
            raise MissingError(f"results_to_proposal_file: video {video!r}: label {unknown[0]!r} is not a class name")
        if not (0 < entry["duration_frame"] < _MOST and 0 < entry["duration_second"] < _MOST):
            raise ValueError(
                f"{where}: video {shown(video)}: its duration in frames and seconds must be positive numbers"
            )
        found = results[video_id(video)]
        check_segments(f"{where}: video {shown(video)}", [[*row["segment"], row["score"]] for row in found], columns=3)
        total = int(entry["duration_frame"])
        best = sorted(results[video_id(video)], key=lambda row: -row["score"])[:top_k]
        in_frames = lambda rows, n=total, s=entry["duration_second"]: np.clip(
            np.array([row["segment"] for row in rows], np.float64).reshape(-1, 2) / s * n, 0, n
        ).astype(np.int64)
        segments, truths = in_frames(best), in_frames(known_rows)
        labels = [numbers[row["label"]] for row in known_rows]
        segments = segments[segments[:, 1] > segments[:, 0]]
        known = [[str(k), str(start), str(end)] for k, (start, end) in zip(labels, truths, strict=True)]
        videos.append((video, total, known, proposal_rows(segments, truths, labels)))
    save_localize_proposal_file(videos, filename)


def denormalize_proposal_file(normalized, standard, *, frame_counts: Mapping[str, int]) -> None:
    """Converts a proposal file from fractions to frames. Source: MMAction2's tool of this name.

    For training, `load_annotations("ssn", normalized, frame_counts=...)` does the same in memory.
    """
    save_localize_proposal_file(denormalize(load_localize_proposal_file(normalized), frame_counts), standard)


def _is_fraction(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1.01
    except ValueError:
        return False


def _denormalized(given: Video, frame_counts: Mapping[str, int]) -> Video:
    video, _, truths, proposals = given
    if video not in frame_counts:
        raise MissingError(f"video {video!r} has no entry among the {len(frame_counts)} frame counts")

    def in_frames(row: list[str]) -> list[str]:
        if not all(_is_fraction(end) for end in row[-2:]):
            raise ValueError(f"video {video!r}: {' '.join(row)!r}; with frame counts, start and end must be fractions")
        return row[:-2] + [str(int(float(end) * frame_counts[video])) for end in row[-2:]]

    return video, frame_counts[video], [in_frames(row) for row in truths], [in_frames(row) for row in proposals]


def _blocks(path: pathlib.Path) -> Iterator["_Lines"]:
    block = _Lines(path)
    text = read_text(path, what="a proposal file").rstrip()
    for number, line in enumerate(text.split("\n") if text else [], 1):
        if not line.startswith("#"):
            block.rows.append((number, line.strip()))
        elif block.rows:
            yield block
            block = _Lines(path)
    if block.rows:
        yield block


class _Lines:
    """The lines of one video, read one by one."""

    def __init__(self, path: pathlib.Path):
        self.path, self.rows, self.at, self.announced = path, [], 0, 0

    def take(self, what: str) -> tuple[int, str]:
        if self.at == len(self.rows):
            number, text = self.rows[-1]
            raise ShapeError(f"{self.path}:{number}: the video ends after {shown(text)}; expected {what}")
        self.at += 1
        return self.rows[self.at - 1]

    def number(self, what: str, kind):
        number, text = self.take(what)
        try:
            if "_" not in text and 0 <= (value := kind(text)) <= _MOST:  # Python reads 1_000
                return value
        except ValueError:
            pass
        raise ValueError(f"{self.path}:{number}: got {shown(text)}; expected {what}")


def _parse_block(lines: _Lines) -> tuple:
    video = lines.take("a video id")[1]
    frames = lines.number("the number of frames or seconds", float) * lines.number("frames per second, or 1", float)
    num_truths = lines.number("the number of ground truths", int)
    truths = [lines.take("a ground truth: label start end")[1].split() for _ in range(num_truths)]
    num_proposals = lines.number("the number of proposals", int)
    proposals = [row for row in lines.rows[lines.at : lines.at + num_proposals] if row[1]]
    lines.announced = num_proposals
    if surplus := [row for row in lines.rows[lines.at + num_proposals :] if row[1]]:
        number, text = surplus[0]
        raise ShapeError(f"{lines.path}:{number}: got {shown(text)} after the {num_proposals} proposals of "
                         f"{shown(video)}; the number above them is too small, or a # is missing")  # fmt: skip
    return video, int(frames), truths, [text.split() for _, text in proposals]
