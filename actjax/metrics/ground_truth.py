"""Ground truth of ActivityNet 1.3 and THUMOS14, read from their annotation files."""

import logging
import pathlib
import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from actjax.errors import EmptyError, MissingError, NumberError, shown
from actjax.metrics.average_precision import Instances
from actjax.metrics.matching import repeated, stem
from actjax.metrics.results import class_of, video_id
from actjax.segments import check_segments
from actjax.text_files import read_json, read_lines, read_rows, suffix_of

log = logging.getLogger(__name__)

_IDS = ("video", "id", "video_id", "name", "youtube_id")  # columns of a block list
AMBIGUOUS = ("drop", "ignore", "class")
CLIFF_DIVING = ("both", "diving", "cliff_diving")


class GroundTruth(NamedTuple):
    """Annotated segments of a data set, in seconds."""

    name: str  # the file, the subset and every choice that affects a score
    videos: list[str]  # evaluated videos, including videos without an instance
    labels: list[str]  # class names
    instances: Instances  # `video` and `label` index the two lists
    left_out: frozenset[str] = frozenset()  # videos on the block list: their predictions are dropped
    ambiguous: Instances | None = None  # detections that touch these do not count as false
    durations: Mapping[str, float] = {}  # seconds, of the videos whose annotations give them


def load_activitynet(path, *, subset: str | None = None, video_info=None, block_list=None) -> GroundTruth:
    """Reads ActivityNet's ground truth.

    >>> entry = '{"subset": "validation", "annotations": [{"segment": [0, 9], "label": "jump"}]}'
    >>> _ = pathlib.Path("truth.json").write_text('{"database": {"a": ' + entry + "}}")
    >>> load_activitynet("truth.json", subset="validation").name
    'truth.json, validation, block list none: 1 videos, 1 instances, 1 classes'

    Args:
      path: JSON, optionally gzipped: the official file, {"database": {id: {"subset", "annotations"}}}, or an annotation
        file of MMAction2 0.6, {"v_id": {"annotations"}}; annotations are [{"segment", "label"}].
      subset: "training", "validation", "testing"; None: all.
      video_info: CSV with the columns `video` and `subset`, for MMAction2's files, which do not state the subset.
      block_list: JSON list or text file of video ids to leave out. The official toolkit downloads one (4,926 -> 4,710
        validation videos at one time); papers report 4,728. It is part of the name.

    Raises:
      ValueError, TypeError, KeyError: neither of these files, an unknown subset, a video that is there twice, a segment
        that is reversed or not two finite numbers, a label that is neither text nor a whole number.
      EmptyError: no instance is left. All name the file.
    """
    entries = _by_id(path)
    subsets = _subsets(path, entries, video_info) if subset else {}
    if subset and subset not in subsets.values():
        raise MissingError(f"{path}: no video of subset {subset!r}; there are {sorted(set(subsets.values()))}")
    left_out = read_block_list(block_list)
    _check_blocked(block_list, left_out, entries)
    videos = [v for v in entries if (not subset or subsets.get(v) == subset) and v not in left_out]
    name = f"{pathlib.Path(path).name}, {subset or 'all subsets'}, block list {_shown(block_list, left_out)}"
    truth = activitynet_ground_truth(path, name, {v: entries[v] for v in videos}, left_out=left_out)
    lengths = {v: entries[v].get("duration", entries[v].get("duration_second")) for v in videos}
    return truth._replace(durations={v: s for v, s in lengths.items() if isinstance(s, int | float) and s > 0})


def activitynet_ground_truth(
    path, name: str, entries: dict[str, dict], *, left_out: frozenset[str] = frozenset()
) -> GroundTruth:
    """Ground truth in memory, {id: {"annotations": [{"segment", "label"}]}}; `path` is for errors, `name` for reports.

    >>> annotations = {"a": {"annotations": [{"segment": [0, 9], "label": "jump"}]}}
    >>> activitynet_ground_truth("truth.json", "example", annotations).instances.segments.tolist()
    [[0.0, 9.0]]

    Raises: as `load_activitynet`.
    """
    rows = [(v, a["label"], *a["segment"]) for v, entry in entries.items() for a in annotations_of(path, v, entry)]
    return _ground_truth(path, name, list(entries), rows, left_out)


def annotations_of(path, video: str, entry: dict) -> list[dict]:
    """The annotations of a video's entry, [{"segment": [start, end], "label": text, ...}]; numbers become text.

    >>> annotations_of("truth.json", "a", {"annotations": [{"segment": [0, 9], "label": 3, "id": 7}]})
    [{'segment': [0, 9], 'label': '3', 'id': 7}]

    Raises:
      KeyError: a field is missing. ValueError, TypeError: as `check_segments` and `class_of`. All name the file and the
        video.
    """
    expected = "expected {'annotations': [{'segment': [start, end], 'label': name}]}"
    rows = entry.get("annotations") if isinstance(entry, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise MissingError(f"{path}: video {shown(video)} is {shown(entry)}; {expected}")
    for field in ("segment", "label"):
        if lacking := [row for row in rows if row.get(field) is None]:
            raise MissingError(f"{path}: video {shown(video)}: the annotation {shown(lacking[0])} has no {field}")
    where = lambda row: f"annotation {row + 1} of video {shown(video)}"
    for k, row in enumerate(rows):
        if not isinstance(row["segment"], list | tuple | np.ndarray) or len(row["segment"]) != 2:
            raise NumberError(f"{path}: {where(k)}: segment {shown(row['segment'])}; expected [start, end]")
    check_segments(str(path), [row["segment"] for row in rows], where=where, text=False)
    return [row | {"label": class_of(row["label"], path, video)} for row in rows]


def load_thumos14(
    folder, *, ambiguous: str = "drop", cliff_diving: str = "both", block_list=None, subset: str = "test"
) -> GroundTruth:
    """Reads THUMOS14's ground truth. Papers use different variants; the options choose one.

    >>> _ = pathlib.Path("HighJump_test.txt").write_text("video_test_0000001 3.0 4.5")
    >>> load_thumos14(".").labels, load_thumos14(".").instances.segments.tolist()
    (['HighJump'], [[3.0, 4.5]])

    Args:
      folder: has `<class>_<subset>.txt` with lines `video start end`, in seconds; other subsets' files are ignored.
      ambiguous: rows of the file Ambiguous. "drop": leave them out (test: 3,358 instances in 212 videos). "ignore":
        detections that touch them do not count as false, as in the official kit. "class": a class of their own (3,457
        in 213 videos).
      cliff_diving: every CliffDiving row is also in the file Diving. "both": as in the files, 20 classes. "diving":
        only as Diving. "cliff_diving": only as CliffDiving.
      block_list: text file of videos to leave out (its first column; the published lists also name a class, but the
        whole video is left out).
      subset: "test" or "val".

    Raises:
      FileNotFoundError, ValueError: naming file and line.
    """
    for option, value, allowed in (("ambiguous", ambiguous, AMBIGUOUS), ("cliff_diving", cliff_diving, CLIFF_DIVING)):
        if value not in allowed:
            raise ValueError(f"load_thumos14: {option}={value!r}; choose from {allowed}")
    files = sorted(pathlib.Path(folder).glob(f"*_{subset}.txt"))
    if not files:
        raise FileNotFoundError(f"{folder}: no file <class>_{subset}.txt; expected THUMOS14's temporal annotations")
    left_out = read_block_list(block_list)
    rows = [row for file in files for row in _thumos14_rows(file, subset)]
    _check_blocked(block_list, left_out, {row[0] for row in rows})
    rows = [row for row in rows if row[0] not in left_out]
    cliffs = {(v, s, e) for v, label, s, e in rows if label == "CliffDiving"}
    if cliff_diving == "diving":
        rows = [row for row in rows if row[1] != "CliffDiving"]
    elif cliff_diving == "cliff_diving":
        rows = [row for row in rows if row[1] != "Diving" or (row[0], *row[2:]) not in cliffs]
    counted = [row for row in rows if row[1] != "Ambiguous" or ambiguous == "class"]
    name = (f"THUMOS14 {subset}, ambiguous rows: {ambiguous}, CliffDiving rows: {cliff_diving}, "
            f"block list {_shown(block_list, left_out)}")  # fmt: skip
    videos = list(dict.fromkeys(row[0] for row in counted))
    truth = _ground_truth(folder, name, videos, counted, left_out)
    if ambiguous != "ignore":
        return truth
    unclear = [row for row in rows if row[1] == "Ambiguous" and row[0] in set(videos)]
    return truth._replace(ambiguous=_instances(folder, unclear, videos, ["Ambiguous"]))


def read_block_list(path) -> frozenset[str]:
    """Ids of videos to leave out; empty without a path. Suffixes of files are no part of an id.

    Reads a JSON list, the first column of a text file, or the column `video` of a CSV file with a header.
    """
    if not path:
        return frozenset()
    if suffix_of(path) == ".csv":
        rows = [row for _, row in read_rows(path, what="a block list")]
        column = next((name for name in _IDS if rows and name in rows[0]), None)
        if column is None:
            raise ValueError(f"{path}: line 1 is the header, {shown([*rows[0]] if rows else [])}; expected video, ...")
        return frozenset(video_id(stem(row[column] or "")) for row in rows)
    if suffix_of(path) != ".json":
        lines = (line for _, line in read_lines(path, what="a block list"))
        return frozenset(video_id(stem(re.split(r"[\s,;]+", line.strip("\"'"))[0].strip("\"'"))) for line in lines)
    ids = read_json(path, what="a block list")
    if not isinstance(ids, list) or not all(isinstance(name, str) and name.strip() for name in ids):
        raise ValueError(f"{path}: {shown(ids)}; expected a list of video ids")
    return frozenset(video_id(name.strip()) for name in ids)


def _check_blocked(block_list, left_out: frozenset[str], known: Collection[str]) -> None:
    """ValueError: none of the videos on a block list is known; warns if some are not."""
    if strange := sorted(left_out.difference(known)):
        told = f"{block_list}: {len(strange)} of {len(left_out)} ids are of no video, {shown(strange[0])} the first"
        if len(strange) == len(left_out):
            raise ValueError(f"{told}; expected ids such as {shown(next(iter(known)))}, one in a line")
        log.warning("%s", told)


def read_entries(path) -> dict[str, dict]:
    """The entries of an annotation file, of either form that `load_activitynet` reads: name of a video -> its entry.

    >>> _ = pathlib.Path("truth.json").write_text('{"database": {"v_a": {"annotations": []}}}')
    >>> read_entries("truth.json")
    {'v_a': {'annotations': []}}

    Raises:
      ValueError: not JSON, or no such mapping; an entry is checked by `annotations_of`.
    """
    content = read_json(path, what="an annotation file")
    if not isinstance(content, dict):
        raise ValueError(f'{path}: is a {type(content).__name__}; expected {{"database": ...}} or {{"v_id": ...}}')
    given = content.get("database", content)
    if not isinstance(given, dict):
        raise ValueError(f'{path}: "database" is a {type(given).__name__}; expected {{id: {{"subset", ...}}}}')
    return given


def _by_id(path) -> dict[str, dict]:
    """Video id -> its entry in an annotation file."""
    given = read_entries(path)
    entries = {video_id(video): entry for video, entry in given.items()}
    if len(entries) < len(given):
        twice = next(video for video in given if f"v_{video}" in given)
        raise ValueError(f"{path}: video {shown(twice)} is there twice, with and without v_")
    return entries


def _shown(block_list, left_out: Collection) -> str:
    return f"{pathlib.Path(block_list).name} ({len(left_out)} videos)" if block_list else "none"


def _subsets(path, entries: dict, video_info) -> dict[str, str]:
    if video_info is None:
        found = {v: str(e["subset"]) for v, e in entries.items() if isinstance(e, dict) and "subset" in e}
        if not found:
            told = "looks like a result file" if "results" in entries else "has no subsets"
            raise MissingError(
                f"{path}: {told}; name a CSV with the columns video,subset: --video-info, or video_info="
            )
        return found
    rows = [row for _, row in read_rows(video_info, what="a table of videos")]
    if not rows or not {"video", "subset"} <= set(rows[0]):
        raise MissingError(f"{video_info}: expected a CSV with the columns video and subset, got {shown([*rows[:1]])}")
    table = {video_id(row["video"] or ""): row["subset"] for row in rows}
    for row in rows:
        if table[video_id(row["video"] or "")] != row["subset"]:
            raise ValueError(f"{video_info}: video {shown(row['video'])} is there twice, with different subsets")
    return table


def _ground_truth(path, name: str, videos: list[str], rows: list[tuple], left_out: frozenset) -> GroundTruth:
    if not rows:
        raise EmptyError(f"{path}: {name}: no instance to score against")
    labels = sorted({row[1] for row in rows})
    instances = _instances(path, rows, videos, labels)
    name = f"{name}: {len(videos)} videos, {len(rows)} instances, {len(labels)} classes"
    return GroundTruth(name, videos, labels, instances, left_out)


def _instances(path, rows: Sequence[tuple], videos: list[str], labels: list[str]) -> Instances:
    video, label = ({name: i for i, name in enumerate(names)} for names in (videos, labels))
    numbers = np.array([(video[row[0]], label[row[1]]) for row in rows], np.int64).reshape(-1, 2)
    where = lambda row: f"a segment of {shown(rows[row][1])} in video {shown(rows[row][0])}"
    segments = check_segments(str(path), [row[2:] for row in rows], where=where, text=False)
    return Instances(numbers[:, 0], numbers[:, 1], segments)


def _thumos14_rows(file: pathlib.Path, subset: str) -> list[tuple[str, str, float, float]]:
    label, rows = file.name.removesuffix(f"_{subset}.txt"), []
    for number, line in read_lines(file, what="a file of THUMOS14's annotations"):
        try:
            video, start, end = line.split()
            rows.append((video, label, *check_segments("", [[float(start), float(end)]])[0].tolist()))
        except ValueError:
            raise ValueError(f"{file}:{number}: got {shown(line)}; expected `video start end`, in seconds") from None
    if len({*rows}) < len(rows):
        twice = repeated(f"{video} {start:g} {end:g}" for video, _, start, end in rows)
        raise ValueError(f"{file}: the row {shown(twice)} is there twice; remove one")
    if not rows:
        raise EmptyError(f"{file} is empty; every class has an instance, one in a line: `video start end`")
    return rows
