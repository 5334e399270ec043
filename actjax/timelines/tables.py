"""Segments of many videos as one table (CSV) or one result file (JSON), and back."""

import csv
import io
from collections.abc import Iterable

from actjax.errors import NumberError, shown
from actjax.metrics import dump_results, load_results
from actjax.paths import rewrite, to_path
from actjax.segments import check_segments
from actjax.text_files import read_rows
from actjax.timelines.timeline import Timeline, checked, has_classes

COLUMNS = ("video", "start", "end", "class", "score")


def write_csv(path, timelines: Iterable[Timeline]) -> None:
    """Writes the segments of videos as a table `video,start,end,class,score`, quoted as RFC 4180 says.

    >>> write_csv("found.csv", [Timeline("a", 60.0, [{"segment": [1.5, 9.0], "score": 0.87, "class": "jump, run"}])])
    >>> print(to_path("found.csv").read_text())
    video,start,end,class,score
    a,1.5,9.0,"jump, run",0.87
    <BLANKLINE>

    Numbers have all their digits. The class of a proposal is empty. A video without segments has no row. In names a
    carriage return becomes a line feed, and halves of characters, which UTF-8 cannot hold, are written as in Python.

    Raises:
      ValueError, TypeError, KeyError: as `checked`.
    """
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(COLUMNS)
    for timeline in map(checked, timelines):
        for row in timeline.segments:
            start, end = row["segment"]
            table.writerow([_field(timeline.video), start, end, _field(row.get("class", "")), row["score"]])
    rewrite(to_path(path), text.getvalue())


def read_csv(path) -> dict[str, list[dict]]:
    """What `write_csv` wrote -> {video: [{"segment", "score", "class" if there is one}]}.

    >>> write_csv("found.csv", [Timeline("a", 60.0, [{"segment": [1.5, 9.0], "score": 0.87}])])
    >>> read_csv("found.csv")
    {'a': [{'segment': [1.5, 9.0], 'score': 0.87}]}

    Raises:
      FileNotFoundError. ValueError: a column is missing, a number is not finite, a segment is reversed, or as
        `read_rows`. All name the file.
    """
    found: dict[str, list[dict]] = {}
    for line, fields in read_rows(path, what="a table of segments"):
        if missing := [name for name in COLUMNS if fields.get(name) is None]:
            raise ValueError(f"{path}, line {line}: no {missing[0]}; expected the columns {','.join(COLUMNS)}")
        where = f"{path}, line {line}"
        start, end, score = (_number(where, name, fields[name]) for name in ("start", "end", "score"))
        check_segments(where, [[start, end]], where=lambda row: "the segment")
        row = {"segment": [start, end], "score": score}
        found.setdefault(fields["video"], []).append(row | ({"class": fields["class"]} if fields["class"] else {}))
    return found


def write_results(path, timelines: Iterable[Timeline]) -> None:
    """Writes the segments of videos as a result file in ActivityNet's format, for `python -m actjax.metrics`.

    >>> write_results("found.json", [Timeline("v_a", 60.0, [{"segment": [1.5, 9.0], "score": 0.87, "class": "jump"}])])
    >>> read_results("found.json")
    {'a': [{'segment': [1.5, 9.0], 'score': 0.87, 'class': 'jump'}]}

    Videos are named by their id, without "v_".

    Raises:
      ValueError, TypeError, KeyError: as `checked`; a video is there twice; some videos have classes and others have
        none, which is no result of one kind.
    """
    timelines = [checked(timeline) for timeline in timelines]
    kinds = {has_classes(timeline): timeline.video for timeline in timelines if timeline.segments}
    if len(kinds) > 1:
        raise ValueError(
            f"write_results: {shown(kinds[True])} has classes, {shown(kinds[False])} has none; write two files"
        )
    results = [{"video_name": timeline.video, "proposal_list": _official(timeline)} for timeline in timelines]
    dump_results(results, path, "json")


def read_results(path) -> dict[str, list[dict]]:
    """A result file in ActivityNet's format -> {video: [{"segment", "score", "class" if there is one}]}.

    Videos without segments are left out.

    >>> write_results("found.json", [Timeline("a", 60.0, [{"segment": [1.5, 9.0], "score": 0.87}])])
    >>> read_results("found.json")
    {'a': [{'segment': [1.5, 9.0], 'score': 0.87}]}

    Raises: as `load_results`.
    """
    found: dict[str, list[dict]] = {}
    results = load_results(path)
    labels = [None] * len(results.video) if results.label is None else results.label.tolist()
    rows = zip(results.video.tolist(), results.segments.tolist(), results.score.tolist(), labels, strict=True)
    for video, segment, score, label in rows:
        row = {"segment": segment, "score": score}
        found.setdefault(video, []).append(row | ({} if label is None else {"class": label}))
    return found


def _official(timeline: Timeline) -> list[dict]:
    names = {"class": "label"}
    return [{names.get(key, key): value for key, value in row.items()} for row in timeline.segments]


def _field(name: str) -> str:
    return name.replace("\r\n", "\n").replace("\r", "\n").encode(errors="backslashreplace").decode()


def _number(where: str, name: str, text: str) -> float:
    try:
        value = float(text.replace("_", "x"))  # Python reads 1_000
    except ValueError:
        value = float("nan")
    if not abs(value) < float("inf"):
        raise NumberError(f"{where}: {name} is {shown(text)}; expected a finite number")
    return value
