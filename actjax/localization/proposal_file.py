"""SSN's proposal files: ground truth and proposals of many videos in one text file."""

import pathlib
from collections.abc import Iterator

from actjax.errors import ShapeError


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
