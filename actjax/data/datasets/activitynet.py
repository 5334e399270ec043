"""Annotation files of ActivityNet -> records."""

import math
import numbers
import os

from actjax.data.datasets.parsing import joined_path, parsed
from actjax.data.datasets.records import ActivityNetRecord
from actjax.data.datasets.units import check_units
from actjax.errors import shown
from actjax.metrics.ground_truth import annotations_of
from actjax.metrics.matching import repeated
from actjax.paths import to_path

_LENGTHS = ("duration_second", "duration_frame", "feature_frame")


def activitynet(path, prefix, *, subset: str | None = None, video_info=None) -> list[ActivityNetRecord]:
    """Kind "activitynet" of `load_annotations`."""
    known = load_video_info(video_info) if video_info else {}
    subsets: set[str] = set()

    def parse(item) -> ActivityNetRecord | None:
        name, info = item
        video = f"v_{name}" if f"v_{name}" in known else name  # the official file has bare ids, the table names "v_ID"
        info = known.get(video, {}) | info
        if subset and "subset" not in info:
            raise KeyError("subset; set video_info to a table with the columns video and subset")
        if "subset" in info:
            subsets.add(str(info["subset"]))
        if subset and str(info["subset"]) != subset:
            return None
        if "duration_frame" not in info and known:
            return None  # a video of the official list without published features
        annotations = annotations_of(path, video, info)
        where = f"{path}: video {shown(video)}"
        fields = {field: _positive(where, info, field) for field in _LENGTHS}
        fields |= {field: _positive(where, info, field) for field in ("fps", "rfps") if info.get(field) is not None}
        return ActivityNetRecord(joined_path(prefix, video), video, annotations=annotations, **fields)

    fields = '{"duration_second", "duration_frame", "feature_frame", "annotations": [{"segment", "label"}, ...]}'
    records = parsed(path, parse, line=f'"NAME": {fields}', columns=fields)
    records = [record for record in records if record is not None]
    if twice := repeated(record.video for record in records):
        raise ValueError(f"{path}: video {shown(twice)} is there twice")
    if not records and subset not in {None, *subsets}:
        raise ValueError(
            f"{path} holds no records of subset {subset!r}; its subsets are {shown(sorted(subsets))}: set "
            "data.subsets=train,val or the like"
        )
    check_units(path, records)
    return records


def _positive(where: str, info: dict, field: str) -> float:
    if field not in info:
        raise ValueError(
            f"{where} has no {field}, which the network's features need; it has {shown(list(info))}. Add it, or set "
            "data.video_info to a table: video,numFrame,seconds,fps,rfps,subset,featureFrame"
        )
    value = info[field]
    if not isinstance(value, numbers.Real) or isinstance(value, bool) or not 0 < value < math.inf:
        raise ValueError(f"{where}: {field} is {shown(value)}; it must be a positive, finite number")
    return value


def load_video_info(path: str | os.PathLike) -> dict[str, dict]:
    """A table of ActivityNet's videos -> {name: the fields of an annotation file, except the annotations}.

    Raises:
      ValueError: a row that does not parse, or a video that is there twice with different values.
    """
    path = to_path(path)

    def parse(row: dict) -> tuple[str, dict]:
        numbers = dict(duration_second="seconds", duration_frame="numFrame", feature_frame="featureFrame",
                       fps="fps", rfps="rfps")  # fmt: skip
        kinds = {name: int if name.endswith("frame") else float for name in numbers}
        return row["video"], {"subset": row["subset"]} | {n: kinds[n](row[key]) for n, key in numbers.items()}

    columns = "video, numFrame, seconds, fps, rfps, subset, featureFrame"
    rows = parsed(path, parse, line=columns, columns=columns)
    table = dict(rows)
    if twice := [video for video, info in rows if info != table[video]]:
        raise ValueError(f"{path}: video {shown(twice[0])} is there twice, with different values; keep one of the rows")
    return table
