"""Result files of localization: segments in the format of ActivityNet 1.3."""

import json
import numbers
import pathlib
from typing import NamedTuple

import numpy as np

from actjax.errors import MissingError, NumberError, shown
from actjax.segments import check_scores, check_segments
from actjax.text_files import read_json
from actjax.video_files import file_stems

_LONGEST = 1000  # characters in a name; an array of text takes the space of the longest for each


class Predictions(NamedTuple):
    """Segments of a result file, one per row, in seconds."""

    name: str
    video: np.ndarray  # str [n]
    segments: np.ndarray  # float64 [n, 2]
    score: np.ndarray  # float64 [n]
    label: np.ndarray | None  # str [n]; None: proposals


def load_results(path) -> Predictions:
    """Reads {"results": {video: [{"segment": [start, end], "score": x, "label": name}]}}; proposals have no label.

    Videos are named by their id, without "v_".

    >>> results = [{"video_name": "v_a", "proposal_list": [{"segment": [0, 9], "score": 0.9}]}]
    >>> dump_results(results, "found.json", "json")
    >>> load_results("found.json").video.tolist(), load_results("found.json").segments.tolist()
    (['a'], [[0.0, 9.0]])

    Raises:
      KeyError: a field is missing. ValueError, TypeError: a value is not a finite number, a label is neither text nor a
        whole number, a video is there twice, or a segment is reversed. All name the file and the video.
    """
    content = read_json(path, what="a result file")
    if not isinstance(content, dict) or not isinstance(content.get("results"), dict):
        raise MissingError(f'{path}: no "results"; expected {{"version": ..., "results": {{video: [...]}}, ...}}')
    rows, ids = [], {}
    for name, found in content["results"].items():
        video = video_id(name)
        if ids.setdefault(video, name) != name:
            raise ValueError(f"{path}: video {shown(video)} is there twice, with and without v_")
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise NumberError(f'{path}: video {shown(video)}: expected a list of {{"segment": [s, e], "score": x}}')
        rows += [(video, row) for row in found]
    for field in ("segment", "score"):
        lacking = [video for video, row in rows if field not in row]
        if lacking:
            raise MissingError(f"{path}: an entry of video {shown(lacking[0])} has no {field!r}")
    where = lambda row: f"an entry of video {shown(rows[row][0])}"
    segments = check_segments(str(path), [row["segment"] for _, row in rows], where=where, text=False)
    score = check_scores(str(path), [row["score"] for _, row in rows], where=where, text=False)
    labels = [row.get("label") for _, row in rows]
    for k, label in enumerate(labels):
        if label is not None and (type(label) is not str or not label):
            labels[k] = class_of(label, path, rows[k][0])
    label = None if None in labels or not labels else text_column(labels, path)
    return Predictions(pathlib.Path(path).name, text_column([v for v, _ in rows], path), segments, score, label)


def class_of(label, path, video: str) -> str:
    """The name of a class as annotations and results give it: text, or a whole number such as 0.

    >>> class_of(0, "results.json", "a"), class_of("jump", "results.json", "a")
    ('0', 'jump')

    Raises:
      ValueError: anything else, naming the file and the video.
    """
    whole = isinstance(label, numbers.Real) and not isinstance(label, bool) and float(label).is_integer()
    if not whole and (not isinstance(label, str) or not label):
        raise ValueError(
            f"{path}: video {shown(video)}: label {shown(label)}; a class is a name, or a whole number such as 0"
        )
    return label if isinstance(label, str) else str(int(label))


def text_column(names: list[str], path) -> np.ndarray:
    """Names as an array of text. ValueError: one has more than 1,000 characters, which each would then take."""
    if longest := next((name for name in names if len(name) > _LONGEST), None):
        raise ValueError(f"{path}: a name of {len(longest)} characters, {shown(longest)}; at most {_LONGEST} are read")
    return np.array(names, str)


def proposals2json(results) -> dict[str, list[dict]]:
    """[{"video_name": "v_id", "proposal_list": [...]}] -> {id: proposal_list}, the same objects in the same order.

    >>> proposals2json([{"video_name": "v_a", "proposal_list": [{"segment": [0, 9], "score": 0.9}]}])
    {'a': [{'segment': [0, 9], 'score': 0.9}]}

    Source: ActivityNetDataset.proposals2json of MMAction2 0.6, which cuts two characters off any name, not only "v_".
    """
    return {video_id(result["video_name"]): result["proposal_list"] for result in results}


def dump_results(results, out, output_format: str, version: str = "VERSION 1.3") -> None:
    """Writes results as a JSON file for `load_results` and the official toolkit, or as CSV tables.

    >>> results = [{"video_name": "v_a", "proposal_list": [{"segment": [0, 9], "score": 0.9}]}]
    >>> dump_results(results, "found.json", "json")
    >>> print(pathlib.Path("found.json").read_text())
    {"version": "VERSION 1.3", "results": {"a": [{"segment": [0, 9], "score": 0.9}]}, "external_data": {}}

    Args:
      results: for "json" as in `proposals2json`; for "csv" pairs (video name, [s, 5]).
      out: the JSON file, or the folder for `<video name>.csv` with the columns action, start, end, tmin, tmax. A name
        that cannot be a file's, such as a path, gives its last part and a digest.
      output_format: "json" or "csv".
      version: written into the JSON file.

    Raises:
      ValueError: another format; for "csv" a video that is there twice.

    Source: MMAction2's ActivityNetDataset.dump_results.
    """
    if output_format == "json":
        found = proposals2json(results)
        if len(found) < len(results):
            raise ValueError(f"dump_results: {len(results)} results for {len(found)} videos; join those of a video")
        content = {"version": version, "results": found, "external_data": {}}
        pathlib.Path(out).write_text(json.dumps(content))
    elif output_format == "csv":
        results, header = list(results), "action,start,end,tmin,tmax"
        names = [name for name, _ in results]
        stems = file_stems(names)
        if len(stems) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"dump_results: video {twice[:200]!r} is there {names.count(twice)} times; expected once")
        pathlib.Path(out).mkdir(parents=True, exist_ok=True)
        for name, table in results:
            np.savetxt(pathlib.Path(out, f"{stems[name]}.csv"), table, header=header, delimiter=",", comments="")
    else:
        raise ValueError(f"dump_results: output_format={output_format!r}; choose from ('json', 'csv')")


def video_id(name: str) -> str:
    """The id of an ActivityNet video: its name without the prefix "v_"."""
    return name.removeprefix("v_")
