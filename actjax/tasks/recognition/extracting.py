"""Videos -> feature files for localization, by a trained recogniser.

Shapes: n snippets of a video, d features of a snippet.
"""

import csv
import functools
import io
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from actjax.data.clips.snippets import Length, Snippets, embedded
from actjax.data.datasets.features import save_feature
from actjax.data.loading.order import Shard
from actjax.data.loading.quarantine import Quarantine
from actjax.data.loading.snippet_reader import Summary, each_video
from actjax.data.prepared.writing import repeated
from actjax.paths import replace

INFO = ("video", "numFrame", "seconds", "fps", "rfps", "subset", "featureFrame")


def extract_features(
    records: Sequence,
    folder: pathlib.Path,
    snippets: Snippets,
    embed: Callable,
    *,
    quarantine: Quarantine,
    suffix: str = ".csv",
    shard: Shard = Shard(),
    timeout: float = 30.0,
    progress: Callable = lambda items, total, what: items,
) -> Summary:
    """Writes features [n, d] of every video to `FOLDER/<video>.csv` or `.npy`, resuming where a killed run stopped.

    Every video also gets a row in `FOLDER/video_info.csv`, which `load_annotations("activitynet", video_info=)` reads.
    With several hosts each writes its own table, and `join_info` merges them.

    Args:
      records: the videos; feature files are named after the video files, without their suffix.
      snippets: makes clips of the videos.
      embed: clips uint8 [chunk, v, t, h, w, c] -> float32 [chunk, d].
      quarantine: records unreadable videos.
      shard: this host's shard; it takes every count-th video.

    Raises:
      ValueError: two videos have the same name.
      RuntimeError: more broken videos than the quarantine allows.
    """
    if twice := repeated([_name(record) for record in records]):
        raise ValueError(f"several videos are named {twice[:5]}; the names must differ, as they name the feature files")
    folder.mkdir(parents=True, exist_ok=True)
    part = "" if shard.count == 1 else f"-{shard.index:05d}-of-{shard.count:05d}"
    info = folder / f"video_info{part}.csv"
    known = set().union(*map(_known, folder.glob("video_info*.csv")))  # whatever the number of hosts was
    mine = records[shard.index :: shard.count]
    todo = [r for r in mine if _name(r) not in known or not (folder / (_name(r) + suffix)).exists()]
    write = save_feature if suffix == ".csv" else _save_array

    def save(record, parts) -> None:
        length, features = embedded(parts, embed, snippets.chunk)
        replace(folder / (_name(record) + suffix), functools.partial(write, feature=features))
        _append(info, _name(record), length, snippets.interval)

    shown = progress(todo, len(todo), "extract")
    done = each_video(shown, snippets, save, quarantine=quarantine, timeout=timeout)
    return Summary(done, len(mine) - len(todo), len(todo) - done)


def join_info(folder: pathlib.Path) -> None:
    """Merges the tables of several hosts into `video_info.csv`, once all hosts are done."""
    parts = sorted(folder.glob("video_info-*-of-*.csv"))
    if not parts:
        return
    info = folder / "video_info.csv"
    rows = {row["video"]: row for part in (info, *parts) for row in _complete(part)}

    def write(file) -> None:
        text = io.TextIOWrapper(file, newline="", write_through=True)
        writer = csv.DictWriter(text, INFO)
        writer.writeheader()
        writer.writerows(rows[name] for name in sorted(rows))
        text.detach()

    replace(info, write)
    for part in parts:
        part.unlink()


def _name(record) -> str:
    return pathlib.PurePath(record.path).stem


def _save_array(file, feature: np.ndarray) -> None:
    np.save(file, feature)


def _known(info: pathlib.Path) -> set[str]:
    return {row["video"] for row in _complete(info)}


def _complete(info: pathlib.Path) -> list[dict]:
    """The complete rows of a table; a killed run may have left half a row."""
    if not info.exists():
        return []
    with info.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row.get("featureFrame")]


def _append(info: pathlib.Path, name: str, length: Length, interval: int) -> None:
    fps = length.fps or ""  # unknown for folders of pictures
    seconds = length.num_frames / fps if fps else ""
    row = (name, length.num_frames, seconds, fps, fps, "", length.num_snippets * interval)
    new = not info.exists()
    with info.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(INFO)
        writer.writerow(row)
