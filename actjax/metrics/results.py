"""Result files: segments in ActivityNet 1.3's format, scores and labels of recognition."""

import gzip
import json
import pathlib
import zipfile
from typing import NamedTuple

import numpy as np

from actjax.errors import EmptyError, ShapeError
from actjax.metrics.matching import rows_of, unique_stems
from actjax.metrics.recognition import softmax
from actjax.segments import check_columns, check_scores, check_segments
from actjax.video_files import file_stems


class Predictions(NamedTuple):
    """Segments of a result file, one per row, in seconds."""

    name: str
    video: np.ndarray  # str [n]
    segments: np.ndarray  # float64 [n, 2]
    score: np.ndarray  # float64 [n]
    label: np.ndarray | None  # str [n]; None: proposals


def load_results(path) -> Predictions:
    """Reads {"results": {video: [{"segment": [start, end], "score": x, "label": name}]}}; proposals have no label.

    >>> results = [{"video_name": "v_a", "proposal_list": [{"segment": [0, 9], "score": 0.9}]}]
    >>> dump_results(results, "found.json", "json")
    >>> load_results("found.json").video.tolist(), load_results("found.json").segments.tolist()
    (['a'], [[0.0, 9.0]])

    Raises:
      KeyError: a field is missing. ValueError, TypeError: a value is NaN or not numeric, or a segment is reversed. All
        name the file and the entry.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("results"), dict):
        raise KeyError(f'{path}: no "results"; expected {{"version": ..., "results": {{video: [...]}}, ...}}')
    rows = [(video, row) for video, rows in content["results"].items() for row in rows]
    for field in ("segment", "score"):
        lacking = [video for video, row in rows if field not in row]
        if lacking:
            raise KeyError(f"{path}: an entry of video {lacking[0]!r} has no {field!r}")
    segments = check_segments(f"{path}: results", [row["segment"] for _, row in rows])
    score = check_scores(f"{path}: results", [row["score"] for _, row in rows])
    labels = [row.get("label") for _, row in rows]
    label = None if None in labels or not labels else np.array(labels, str)
    return Predictions(pathlib.Path(path).name, np.array([video for video, _ in rows], str), segments, score, label)


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
        content = {"version": version, "results": proposals2json(results), "external_data": {}}
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


def load_labels(path, *, multi_label: bool = False) -> tuple[list[str], list[list[int]]]:
    """Reads lines `file label` -> names, labels. A label is the last field; with `multi_label` all after the first.

    With `multi_label` a line may hold the file alone: it shows none of the classes.
    """
    names, labels = [], []
    for number, line in enumerate(pathlib.Path(path).read_text().splitlines(), 1):
        if not line.strip():
            continue
        name, *rest = line.split() if multi_label else line.rsplit(maxsplit=1)
        if not (rest or multi_label) or not all(field.isdecimal() for field in rest):
            raise ValueError(f"{path}:{number}: got {line!r}; expected a file and its label, an integer from 0")
        names.append(name)
        labels.append([int(field) for field in rest])
    if not names:
        raise EmptyError(f"{path}: the list is empty")
    return names, labels


def load_scores(path, names: list[str]) -> np.ndarray:
    """Scores of the videos `names` -> [n, k].

    Reads .npy or .json, with rows in the order of the names or {name: row}, or the `scores.npz` of a run, whose names
    are matched by `matching.rows_of`.
    """
    suffix = pathlib.Path(path).suffix
    if suffix == ".npz":
        dump = load_dump(path)
        content = dump["scores"][rows_of(names, dump["name"], path)]
    else:
        content = np.load(path, allow_pickle=False) if suffix == ".npy" else read_json(path)
    if isinstance(content, dict):
        missing = [name for name in names if name not in content]
        if missing:
            raise KeyError(f"{path}: no scores for {len(missing)} of {len(names)} videos, {missing[0]!r} the first")
        content = [content[name] for name in names]
    if len(content) != len(names):
        raise ShapeError(f"{path}: {len(content)} rows of scores for {len(names)} videos")
    scores = check_columns(str(path), content, columns=1) if not len(content) else np.array(content, np.float64)
    if scores.ndim != 2:
        raise ShapeError(f"{path}: scores have shape {scores.shape}; expected [n, k]")
    if np.isnan(scores).any():
        raise ValueError(f"{path}: row {int(np.argmax(np.isnan(scores).any(1)))} of the scores has NaN")
    return scores


def load_dump(path) -> dict[str, np.ndarray]:
    """Reads the `scores.npz` of a run: `name` [n], `scores` [n, k], `label` [n] or [n, k].

    Scores of several crops, [n, v, k], are averaged as in the run, by their logits.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            dump = {key: file[key] for key in ("name", "scores", "label")}
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not a scores.npz of --mode=eval: {error}") from error
    scores = dump["scores"].astype(np.float64)
    return dump | {"scores": _averaged(scores) if scores.ndim == 3 else scores}


def _averaged(scores: np.ndarray) -> np.ndarray:
    """Probabilities of crops [n, v, k] -> those of their mean logits [n, k]. Others, of older runs, are logits."""
    if scores.min() < 0 or scores.max() > 1:
        return scores.mean(1)
    tiny = np.finfo(np.float64).tiny
    logs, rest = np.log(np.maximum(scores, tiny)).mean(1), np.log(np.maximum(1 - scores, tiny)).mean(1)
    if np.allclose(scores.sum(-1), 1, atol=1e-3):
        return softmax(logs)
    return np.exp(-np.logaddexp(0, rest - logs))


def load_class_scores(path) -> tuple[list[str], dict[str, np.ndarray]]:
    """Reads video-level scores -> class names [k], {video id: float64 [k]}.

    >>> _ = pathlib.Path("classes.json").write_text('{"class": ["jump", "run"], "results": {"v_a": [0.9, 0.1]}}')
    >>> names, scores = load_class_scores("classes.json")
    >>> names, scores["a"].tolist()
    (['jump', 'run'], [0.9, 0.1])

    Args:
      path: JSON {"class": names, "results": {video id: scores}}, the format of published ActivityNet classifications;
        or the `scores.npz` of a run, with `class_names.json` in the same folder.

    Raises:
      ValueError: neither of these, or the numbers of scores and names differ. All errors name the file.
    """
    path = pathlib.Path(path).expanduser()
    if path.suffix == ".npz":
        dump = load_dump(path)
        names = read_json(path.with_name("class_names.json"))
        results = dict(zip(unique_stems(dump["name"], path), dump["scores"], strict=True))
    else:
        content = read_json(path)
        if not isinstance(content, dict) or not {"class", "results"} <= set(content):
            raise ValueError(f'{path}: expected {{"class": [...], "results": {{video id: scores}}}}')
        names, results = content["class"], content["results"]
    scores = {video_id(video): np.asarray(row, np.float64) for video, row in results.items()}
    for video, row in scores.items():
        if row.shape != (len(names),):
            raise ValueError(f"{path}: video {video!r} has scores of shape {row.shape}; there are {len(names)} classes")
    return list(names), scores


def dumped_labels(path) -> tuple[list[str], list[list[int]], bool]:
    """Names and labels in a run's `scores.npz`, as `load_labels` returns them, and whether a video may have several.

    Of a distribution over the classes the likeliest counts, as in the run.
    """
    dump = load_dump(path)
    names, labels = list(map(str, dump["name"])), dump["label"]
    soft = labels.ndim == 2 and not np.isin(labels, (0, 1)).all() and np.allclose(labels.sum(1), 1, atol=1e-3)
    if labels.ndim == 1 or soft:
        return names, [[int(k)] for k in (labels.argmax(1) if soft else labels)], False
    return names, [np.flatnonzero(row == 1).tolist() for row in labels], True


def read_json(path):
    """Reads a JSON file, gzipped if its name ends in .gz. ValueError, naming the file: it does not parse."""
    try:
        with gzip.open(path, "rt") if str(path).endswith(".gz") else open(path) as file:
            return json.load(file)
    except (json.JSONDecodeError, gzip.BadGzipFile, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid JSON: {error}") from error


def video_id(name: str) -> str:
    """The id of an ActivityNet video: its name without the prefix "v_"."""
    return name.removeprefix("v_")
