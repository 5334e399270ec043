"""ActivityNet 1.3: `activity_net.v1-3.min.json`, {"database": {id: {"duration", "subset", "annotations"}}}.

Videos, and the features made of them, are called after their ids, mostly with "v_" before them.
"""

import math
import pathlib

from actjax.data.lists.published import Untrimmed, Wanted, check_rows, find_file, labels
from actjax.errors import shown
from actjax.metrics.ground_truth import annotations_of
from actjax.text_files import read_json

_SUBSETS = {"training": "train", "validation": "val"}


def read_activitynet(annotations: pathlib.Path) -> Untrimmed:
    """The training and validation videos, with the classes sorted by name.

    Args:
      annotations: the file, or its folder.

    Raises:
      FileNotFoundError: no such file. ValueError: not such a file, another subset, a length that is no positive number,
        a class of validation that training lacks. ValueError, TypeError, KeyError: as `annotations_of`.
    """
    path = annotations
    if not path.is_file():
        path = find_file(annotations, r"activity_net\.v1-3(\.min)?\.json", like="activity_net.v1-3.min.json")
    content = read_json(path, what="the annotations of ActivityNet")
    database = content.get("database") if isinstance(content, dict) else None
    if not isinstance(database, dict):
        raise ValueError(f'{path}: {shown(content)}; expected {{"database": {{id: {{"subset", "annotations"}}}}}}')
    splits: dict[str, list[Wanted]] = {"train": [], "val": []}
    segments, seconds, tested = {}, {}, 0
    for number, (video, info) in enumerate(database.items(), 1):
        where = f"{path}, entry {number}, video {shown(video)}"
        subset = info.get("subset") if isinstance(info, dict) else None
        if subset not in ("testing", *_SUBSETS):
            raise ValueError(f"{where}: subset {shown(subset)}; expected training, validation or testing")
        if subset == "testing":
            tested += 1
            continue
        name = f"v_{video}"  # some ids begin with v_ themselves
        seconds[name] = _positive(where, info.get("duration"))
        rows = annotations_of(path, video, info)
        segments[name] = [{key: row[key] for key in ("segment", "label")} for row in rows]
        splits[_SUBSETS[subset]].append(Wanted(where, name, (name, video)))
    check_rows(splits, dict.fromkeys(splits, path))
    names = sorted({row["label"] for wanted in splits["train"] for row in segments[wanted.path]})
    label_of = labels(names, path)
    for wanted in splits["val"]:
        for row in segments[wanted.path]:
            label_of(row["label"], wanted.where)
    notes = [f"the {tested} videos for testing are skipped: their annotations are not published"] if tested else []
    return Untrimmed(names, splits, [path], segments, seconds, notes)


def _positive(where: str, value) -> float:
    if type(value) not in (int, float) or not 0 < value < math.inf:
        raise ValueError(f"{where}: duration {shown(value)}; it must be a positive number of seconds")
    return value
