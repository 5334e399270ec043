"""Annotation files of ActivityNet -> records."""

import pathlib

from actjax.data.datasets.parsing import joined_path, parsed
from actjax.data.datasets.records import ActivityNetRecord
from actjax.paths import to_path
from actjax.segments import check_segments


def activitynet(path, prefix, *, subset: str | None = None, video_info=None) -> list[ActivityNetRecord]:
    """Kind "activitynet" of `load_annotations`."""
    known = _video_info(to_path(video_info)) if video_info else {}

    def parse(item) -> ActivityNetRecord | None:
        name, info = item
        video = f"v_{name}" if f"v_{name}" in known else name  # the official file has bare ids, the table names "v_ID"
        info = known.get(video, {}) | info
        if subset and "subset" not in info:
            raise KeyError("subset; set video_info to a table with the columns video and subset")
        if subset and info["subset"] != subset:
            return None
        if "duration_frame" not in info and known:
            return None  # a video of the official list without published features
        fields = {name: info[name] for name in ActivityNetRecord._fields[2:] if name in info}
        check_segments("annotations", [row["segment"] for row in info["annotations"]])
        if not all(row["label"] for row in info["annotations"]):
            raise ValueError("an annotation without a label")
        return ActivityNetRecord(joined_path(prefix, video), video, **fields)

    fields = '{"duration_second", "duration_frame", "feature_frame", "annotations": [{"segment", "label"}, ...]}'
    records = parsed(path, parse, line=f'"NAME": {fields}', columns=fields)
    return [record for record in records if record is not None]


def _video_info(path: pathlib.Path) -> dict[str, dict]:
    """A table of ActivityNet's videos -> {name: the fields of an annotation file, except the annotations}."""

    def parse(row: dict) -> tuple[str, dict]:
        numbers = dict(duration_second="seconds", duration_frame="numFrame", feature_frame="featureFrame",
                       fps="fps", rfps="rfps")  # fmt: skip
        kinds = {name: int if name.endswith("frame") else float for name in numbers}
        return row["video"], {"subset": row["subset"]} | {n: kinds[n](row[key]) for n, key in numbers.items()}

    columns = "video, numFrame, seconds, fps, rfps, subset, featureFrame"
    return dict(parsed(path, parse, line=columns, columns=columns))
