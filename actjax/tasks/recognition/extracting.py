"""Videos -> feature files of localization, by a network that was trained to classify.

Shapes: n snippets of a video, d numbers of each.
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
    """Writes `FOLDER/<video>.csv` or `.npy`, [n, d], for every video, or goes on where a killed run stopped.

    `FOLDER/video_info.csv` gets a row for each, in the form that `load_annotations("activitynet", video_info=)` reads;
    with several hosts each writes a table of its own, for `join_info`.

    Args:
      records: videos; a file is named after its video's, without the ending.
      snippets: how they become clips.
      embed: clips uint8 [chunk, v, t, h, w, c] -> float32 [chunk, d].
      quarantine: where videos go that cannot be read.
      shard: this host's place: it takes every count-th video.

    Raises:
      ValueError: two videos of one name. RuntimeError: more broken videos than the quarantine allows.
    """
    if twice := repeated([_name(record) for record in records]):
        raise ValueError(f"several videos are named {twice[:5]}; feature files are told apart by the names")
    folder.mkdir(parents=True, exist_ok=True)
    part = "" if shard.count == 1 else f"-{shard.index:05d}-of-{shard.count:05d}"
    info = folder / f"video_info{part}.csv"
    known = set().union(*map(_known, folder.glob("video_info*.csv")))  # also of a run with more or fewer hosts
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
    """Makes one `video_info.csv` of the tables of several hosts, which are done."""
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
    """The rows of a table; a killed run may have left half of one."""
    if not info.exists():
        return []
    with info.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row.get("featureFrame")]


def _append(info: pathlib.Path, name: str, length: Length, interval: int) -> None:
    fps = length.fps or ""  # pictures do not tell
    seconds = length.num_frames / fps if fps else ""
    row = (name, length.num_frames, seconds, fps, fps, "", length.num_snippets * interval)
    new = not info.exists()
    with info.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(INFO)
        writer.writerow(row)
