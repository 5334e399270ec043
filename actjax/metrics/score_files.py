"""Score files of recognition, and the lists of labels that they are held against."""

import pathlib
from collections.abc import Iterator

import numpy as np

from actjax.array_files import read_array, read_arrays
from actjax.errors import EmptyError, NumberError, ShapeError, shown
from actjax.metrics.matching import rows_of, unique_stems
from actjax.metrics.recognition import softmax
from actjax.metrics.results import class_of, video_id
from actjax.segments import check_columns
from actjax.text_files import read_json, read_lines, read_rows, suffix_of


def load_labels(path, *, multi_label: bool = False, frames: bool = False) -> tuple[list[str], list[list[int]]]:
    """Reads a list of labelled videos, as those for training -> names, labels.

    Lines are `file label`; with `multi_label`, `file [label ...]`: a video may show none of the classes. With `frames`
    a number of frames comes before the labels. CSV has the columns path (or filename, frame_dir) and label, with
    several labels as `3;7`; JSON is [{"filename", "label": [...]}]. Of a distribution, `3:0.7;7:0.3`, the likeliest
    class counts, or with `multi_label` the classes of weight 1.

    Raises:
      ValueError: an entry that does not parse. EmptyError: there is none. Both name the file.
    """
    names, labels = [], []
    for place, name, given in _labelled(path, multi_label, frames):
        fields = _hard([str(label).strip() for label in given], multi_label)
        whole = all(field.isdecimal() and len(field) < 10 for field in fields)
        if not isinstance(name, str) or not name or not whole or not (multi_label or len(fields) == 1):
            found = shown([name, *given])
            raise ValueError(f"{path}:{place}: got {found}; expected a file and its label, an integer from 0")
        names.append(name)
        labels.append([int(field) for field in fields])
    if not names:
        raise EmptyError(f"{path}: the list is empty")
    return names, labels


def _hard(labels: list[str], multi_label: bool) -> list[str]:
    """Labels without their weights, if they have some."""
    pairs = [label.partition(":") for label in labels]
    try:
        weights = {k: float(weight) for k, _, weight in pairs}
    except ValueError:
        return labels
    if not weights:
        return labels
    return [k for k, weight in weights.items() if weight == 1] if multi_label else [max(weights, key=weights.get)]


def _labelled(path, multi_label: bool, frames: bool) -> Iterator[tuple[int, object, list]]:
    """(line or entry, file, labels) of each entry of a list."""
    what = "a list of videos and their labels"
    if suffix_of(path) not in (".csv", ".json"):
        for number, line in read_lines(path, what=what):
            name, *labels = line.split() if multi_label or frames else line.rsplit(maxsplit=1)
            if frames and not (labels and labels.pop(0).isdecimal()):
                raise ValueError(f"{path}:{number}: got {shown(line)}; expected a folder, its number of frames, labels")
            yield number, name, labels
        return
    if suffix_of(path) == ".csv":
        rows = read_rows(path, what=what)
    elif isinstance(content := read_json(path, what=what), list):
        rows = enumerate(content, 1)
    else:
        raise ValueError(f'{path}: {shown(content)}; expected [{{"filename": ..., "label": [...]}}]')
    for number, row in rows:
        row = row if isinstance(row, dict) else {}
        label = row.get("label", [])
        label = [part for part in label.split(";") if part.strip()] if isinstance(label, str) else label
        name = row.get("path") or row.get("filename") or row.get("frame_dir")
        yield number, name, label if isinstance(label, list) else [label]


def load_scores(path, names: list[str]) -> np.ndarray:
    """Scores of the videos `names` -> float64 [n, k].

    Reads .npy or .json with rows in the order of the names, or .json with {name: row} or the `scores.npz` of a run,
    whose names are matched by `matching.rows_of`.

    Raises:
      ValueError, TypeError: another file, or a score that is not a finite number. KeyError: a video has no scores.
        ShapeError: rows that do not fit. All name the file.
    """
    suffix = suffix_of(path)
    if suffix == ".npz":
        dump = load_dump(path)
        known, content = [str(name) for name in dump["name"]], dump["scores"]
    else:
        content = read_array(path) if suffix == ".npy" else read_json(path, what="scores, in .npy, .npz or .json")
        known = None
        if isinstance(content, dict):
            known, content = list(content), list(content.values())
    if not isinstance(content, list | np.ndarray):
        raise NumberError(f"{path}: is a {type(content).__name__}; expected rows of scores, or {{file: row}}")
    where = (lambda row: f"scores of {shown(known[row])}") if known else "row {}".format
    scores = _table(path, content, where)
    if known is None and len(scores) != len(names):
        raise ShapeError(f"{path}: {len(scores)} rows of scores for {len(names)} videos")
    return scores if known is None else scores[rows_of(names, known, path)]


def _table(path, content, where) -> np.ndarray:
    """Rows of finite scores, float64 [n, k]."""
    if isinstance(content, np.ndarray):
        if content.ndim != 2 or not content.shape[1]:
            raise ShapeError(f"{path}: scores have shape {list(content.shape)}; expected rows of scores, [n, k]")
        width = content.shape[1]
    else:
        content = [row.tolist() if isinstance(row, np.ndarray) else row for row in content]
        width = len(content[0]) if content and isinstance(content[0], list) else 1
        for k, row in enumerate(content):
            if not isinstance(row, list) or len(row) != width or not width:
                raise ShapeError(f"{path}: {where(k)}: {shown(row)}; expected rows of scores of one length, [n, k]")
    scores = check_columns(f"{path}: scores", content, columns=width, where=where, text=False)
    if not np.isfinite(scores).all():
        row = int(np.argmin(np.isfinite(scores).all(1)))
        value = scores[row][~np.isfinite(scores[row])][0]
        raise ValueError(f"{path}: {where(row)}: {'NaN' if np.isnan(value) else value}; scores must be finite numbers")
    return scores


def load_dump(path) -> dict[str, np.ndarray]:
    """Reads the `scores.npz` of a run: `name` [n], `scores` [n, k], `label` [n] or [n, k].

    Scores of several crops, [n, v, k], are averaged as in the run, by their logits.

    Raises:
      FileNotFoundError: no such file. ValueError: the file is another or damaged, or its arrays do not fit each other.
    """
    expected = "a scores.npz of --mode=eval"
    arrays = read_arrays(path, what=expected)
    if missing := {"name", "scores", "label"} - arrays.keys():
        raise ValueError(f"{path}: not {expected}: it lacks {sorted(missing)}")
    name, scores, label = (arrays[key] for key in ("name", "scores", "label"))
    if {len(name := np.atleast_1d(name)), len(np.atleast_1d(label))} != {len(np.atleast_1d(scores))}:
        raise ValueError(f"{path}: {len(name)} names, {label.shape} labels, {scores.shape} scores; they must agree")
    if name.dtype.kind != "U" or scores.dtype.kind not in "fiu" or scores.ndim not in (2, 3):
        raise ValueError(f"{path}: names {name.dtype}, scores {scores.dtype} {scores.shape}; expected text and numbers")
    if label.ndim == 2 and not (np.isfinite(label).all() and ((label >= 0) & (label <= 1)).all()):
        raise ValueError(f"{path}: labels of several classes must be numbers from 0 to 1")
    if not np.isfinite(scores).all() or label.dtype.kind not in "fiu" or label.ndim > 2 or (
        label.ndim == 2 and label.shape[1] != scores.shape[-1]
    ):  # fmt: skip
        raise ValueError(f"{path}: scores must be finite, labels [n] or [n, k] as the scores, numbers")
    if label.ndim == 1 and not (np.isfinite(label).all() and (label == np.floor(label)).all()):
        raise ValueError(f"{path}: a label is no whole number, and so no class")
    scores = scores.astype(np.float64)
    return {"name": name, "label": label, "scores": _averaged(scores) if scores.ndim == 3 else scores}


def _averaged(scores: np.ndarray) -> np.ndarray:
    """Probabilities of crops [n, v, k] -> those of their mean logits [n, k]. Others, of older runs, are logits."""
    if not scores.size or scores.min() < 0 or scores.max() > 1:
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
    if suffix_of(path) == ".npz":
        dump = load_dump(path)
        names = read_json(path.with_name("class_names.json"), what="the class names of a run")
        results = dict(zip(unique_stems(dump["name"], path), dump["scores"], strict=True))
    else:
        content = read_json(path, what="class scores")
        if not isinstance(content, dict) or not {"class", "results"} <= set(content):
            raise ValueError(f'{path}: expected {{"class": [...], "results": {{video id: scores}}}}')
        names, results = content["class"], content["results"]
    if not isinstance(names, list) or not isinstance(results, dict):
        raise ValueError(f"{path}: expected a list of class names, and {{video id: scores}}")
    names = [class_of(name, path, "class names") for name in names]
    scores = {}
    for video, row in results.items():
        row = _table(path, [row], lambda _, video=video: f"video {shown(video)}")[0]
        if row.shape != (len(names),):
            raise ValueError(f"{path}: video {shown(video)} has {len(row)} scores; there are {len(names)} classes")
        if video_id(video) in scores:
            raise ValueError(f"{path}: video {shown(video_id(video))} is there twice, with and without v_")
        scores[video_id(video)] = row
    return names, scores


def dumped_labels(path) -> tuple[list[str], list[list[int]], bool]:
    """Names and labels in a run's `scores.npz`, as `load_labels` returns them, and whether a video may have several.

    Of a distribution over the classes the likeliest counts, as in the run.
    """
    dump = load_dump(path)
    names, labels = list(map(str, dump["name"])), dump["label"]
    if not names:
        raise EmptyError(f"{path}: holds no videos")
    soft = labels.ndim == 2 and not np.isin(labels, (0, 1)).all() and np.allclose(labels.sum(1), 1, atol=1e-3)
    if labels.ndim == 1 or soft:
        return names, [[int(k)] for k in (labels.argmax(1) if soft else labels)], False
    return names, [np.flatnonzero(row == 1).tolist() for row in labels], True
