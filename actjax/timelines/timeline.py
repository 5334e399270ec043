"""The segments of one video, checked, and the colours of their classes."""

import zlib
from typing import NamedTuple

import numpy as np

from actjax.errors import MissingError, ShapeError, check_number, shown
from actjax.metrics.ground_truth import annotations_of
from actjax.segments import check_scores, check_segments

_LONGEST = 1000  # characters in a name; `load_results` reads no longer ones
PALETTE = (
    (31, 119, 180), (230, 107, 27), (44, 150, 72), (205, 48, 56), (128, 88, 180), (140, 86, 75),
    (214, 84, 160), (150, 140, 24), (20, 160, 175), (50, 60, 140), (232, 178, 20), (105, 115, 125),
)  # fmt: skip


class Timeline(NamedTuple):
    """The segments found in one video, and the ground truth where it is known.

    >>> Timeline("v_a", 60.0, [{"segment": [1.5, 9.0], "score": 0.87, "class": "jump"}])
    Timeline(video='v_a', seconds=60.0, segments=[{'segment': [1.5, 9.0], 'score': 0.87, 'class': 'jump'}], truth=None)

    video: its name. seconds: its length. segments: {"segment": [start, end], "score"} in seconds, with "class" in all
    of them or in none (proposals). truth: {"segment", "label"}; None: not known.
    """

    video: str
    seconds: float
    segments: list[dict]
    truth: list[dict] | None = None


def checked(timeline: Timeline) -> Timeline:
    """The same with plain floats and text, and no other fields in its rows.

    >>> checked(Timeline("a", 60, [{"segment": (1, 9), "score": 1, "class": "jump", "label": 3}])).segments
    [{'segment': [1.0, 9.0], 'score': 1.0, 'class': 'jump'}]

    Raises:
      ValueError: a length that is not positive, a reversed segment, a number that is not finite, a name that is empty,
        above 1,000 characters or holds a zero byte, a class in only some of the segments. TypeError: text for a number.
        KeyError: a field is missing. All name the video.
    """
    name = f"video {shown(timeline.video)}"
    _check_text(name, "its name", timeline.video)
    check_number(f"{name}: seconds", timeline.seconds, "(0, inf)")
    for field in ("segment", "score"):
        if any(field not in row for row in timeline.segments):
            raise MissingError(f"{name}: a segment has no {field!r}")
    for row in timeline.segments:
        if not isinstance(row["segment"], list | tuple | np.ndarray) or len(row["segment"]) != 2:
            raise ShapeError(f"{name}: the segment {shown(row['segment'])} is not [start, end]")
    where = "segment {}".format
    spans = check_segments(name, [[*row["segment"]] for row in timeline.segments], where=where, text=False)
    scores = check_scores(name, [row["score"] for row in timeline.segments], where=where, text=False)
    rows = [{"segment": span, "score": x} for span, x in zip(spans.tolist(), scores.tolist(), strict=True)]
    if has_classes(timeline):
        for k, (row, given) in enumerate(zip(rows, timeline.segments, strict=True)):
            if "class" not in given:
                raise MissingError(f"{name}: segment {k} has no class, others have one; give it to all or to none")
            _check_text(name, f"the class of segment {k}", given["class"])
            row["class"] = given["class"]
    return Timeline(timeline.video, float(timeline.seconds), rows, _truth(timeline))


def has_classes(timeline: Timeline) -> bool:
    """Whether the segments are detections, with classes, rather than proposals."""
    return any("class" in row for row in timeline.segments)


def classes(timeline: Timeline) -> list[str]:
    """The classes of the segments by descending sum of scores, then by name those that only the truth has.

    >>> rows = [{"segment": [0, 1], "score": x, "class": name} for x, name in ((0.5, "run"), (0.9, "jump"))]
    >>> classes(Timeline("a", 9.0, rows, [{"segment": [0, 1], "label": "walk"}]))
    ['jump', 'run', 'walk']
    """
    sums: dict[str, float] = {}
    for row in timeline.segments:
        if "class" in row:
            sums[row["class"]] = sums.get(row["class"], 0.0) + row["score"]
    missed = {row["label"] for row in timeline.truth or []} - sums.keys()
    return [*sorted(sums, key=lambda name: (-sums[name], name)), *sorted(missed)]


def colours(timeline: Timeline) -> dict[str, tuple[int, int, int]]:
    """Class -> RGB of 0 to 255. A class has the same colour in most videos; up to twelve in a video differ.

    >>> colours(Timeline("a", 9.0, [{"segment": [0, 1], "score": 0.5, "class": "run"}]))
    {'run': (20, 160, 175)}
    """
    found: dict[str, tuple[int, int, int]] = {}
    for name in classes(timeline):
        first = zlib.crc32(name.encode("utf-8", "surrogatepass"))
        options = [PALETTE[(first + k) % len(PALETTE)] for k in range(len(PALETTE))]
        found[name] = next((colour for colour in options if colour not in found.values()), options[0])
    return found


def opacity(timeline: Timeline, score: float) -> float:
    """How strongly a segment is drawn, 0.2 to 1; scores of SSN, which may exceed 1, are relative to the highest."""
    highest = max([1.0, *(row["score"] for row in timeline.segments)])
    return 0.2 + 0.8 * min(max(score / highest, 0.0), 1.0)


def _truth(timeline: Timeline) -> list[dict] | None:
    if timeline.truth is None:
        return None
    name = f"ground truth of {shown(timeline.video)}"
    rows = annotations_of(name, timeline.video, {"annotations": timeline.truth})
    for k, row in enumerate(rows):
        _check_text(name, f"the label of row {k}", row["label"])
    return [{"segment": [float(x) for x in row["segment"]], "label": row["label"]} for row in rows]


def _check_text(name: str, what: str, text) -> None:
    if not isinstance(text, str) or not text or "\0" in text:
        raise ValueError(f"{name}: {what} is {shown(text)}; expected text")
    if len(text) > _LONGEST:
        raise ValueError(f"{name}: {what} has {len(text)} characters; at most {_LONGEST} are allowed")
