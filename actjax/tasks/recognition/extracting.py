"""Videos -> feature files for localization, by a trained recogniser.

Shapes: n snippets of a video, d features of a snippet.
"""

import functools
import json
import logging
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from actjax.config.changes import differences, told
from actjax.data.clips.snippets import Snippets, embedded
from actjax.data.datasets.features import save_feature
from actjax.data.loading.order import Shard
from actjax.data.loading.quarantine import Quarantine
from actjax.data.loading.snippet_reader import Summary, counted, each_video
from actjax.data.prepared.reading import PreparedRecord, video_name
from actjax.paths import is_url, replace, rewrite
from actjax.tasks.localizing import NOTE, note_of, origin_of
from actjax.tasks.recognition.feature_table import (
    TABLE,
    append_row,
    complete_rows,
    join_info,
    known_rows,
    tables,
    write_table,
)
from actjax.tasks.videos import distinct_names
from actjax.video_files import file_stems, found_file

log = logging.getLogger("actjax")


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

    Features are called after the video files, without suffix; if several files have the same name, with the folders
    below the one that all have in common: `run_0.csv`, `walk_0.csv` for `run/0.mp4`, `walk/0.mp4`. `video_files` says
    how those of a name are called that cannot be a file's on every system.

    Every video also gets a row in `FOLDER/video_info.csv`, which `load_annotations("activitynet", video_info=)` reads.
    Its last columns, `path` and `stamp`, tie the features to the file: those of a file that was replaced are made
    again. Rows of older versions lack them. With several hosts each
    writes its own table, and `join_info` merges them.

    Args:
      records: the videos; one that is there twice, as in both splits, counts once.
      snippets: makes clips of the videos.
      embed: clips uint8 [chunk, v, t, h, w, c] -> float32 [chunk, d].
      quarantine: records unreadable videos.
      shard: this host's shard; it takes every count-th video.

    Raises:
      ValueError: two parts of one video, which would have the same name; the folder holds features of another video
        of that name; features are not finite.
      RuntimeError: more broken videos than the quarantine allows.
    """
    part = lambda record: (record.path, getattr(record, "offset", 0), getattr(record, "num_frames", None))
    records = [*{part(record): record for record in records}.values()]
    names = dict(zip((record.path for record in records), distinct_names([*map(video_name, records)]), strict=True))
    if any(TABLE.fullmatch(name) for name in names.values()):
        raise ValueError("a video is named like the table video_info.csv of all videos; rename it")
    folder.mkdir(parents=True, exist_ok=True)
    part = "" if shard.count == 1 else f"-{shard.index:05d}-of-{shard.count:05d}"
    info = folder / f"video_info{part}.csv"
    if shard.count == 1:
        join_info(folder)
    known = known_rows(folder)  # of any number of hosts
    for record in records:
        _check_source(folder, record, known.get(names[record.path]))
    mine = records[shard.index :: shard.count]
    stems = file_stems(names.values())
    todo = [record for record in mine if not _is_made(folder, record, known.get(names[record.path]), suffix)]
    if todo:
        anew = {names[record.path] for record in todo}
        write_table(info, [row for row in complete_rows(info) if row["video"] not in anew])
    write = save_feature if suffix == ".csv" else _save_array

    def save(record, parts) -> None:
        length, features = embedded(parts, embed, snippets.chunk, watch=inside)
        if not np.isfinite(features).all():
            raise ValueError(f"{record.path}: the features are not finite; use another checkpoint, or see model.dtype")
        file = folder / f"{stems[names[record.path]]}{suffix}"
        replace(file, functools.partial(write, feature=features))
        append_row(info, names[record.path], length, snippets.interval, source_of(record), stamp=stamp_of(record))

    shown, inside = counted(todo, progress, "extract")
    done = each_video(shown, snippets, save, quarantine=quarantine, timeout=timeout)
    return Summary(done, len(mine) - len(todo), len(todo) - done)


def note_origin(folder: pathlib.Path, origin: dict, *, about: Mapping = {}) -> None:
    """Notes in `FOLDER/extraction.json` what the features there are made with. A folder of an older version keeps its
    features, with a warning and without a note: some of them may be of another network.

    Args:
      origin: what the features depend on. about: what else is known, such as where the network is.

    Raises:
      ValueError: the folder has features that were made with something else.
    """
    known = note_of(folder)
    if known is not None and (changes := list(differences(origin_of(known), origin))):
        raise ValueError(f"{folder} holds features of another network or config: {told(changes)}; give another --out")
    if known is None and tables(folder):
        log.warning("%s: nothing tells which network made the features there; they are kept", folder)
    elif jax.process_index() == 0:
        rewrite(folder / NOTE, json.dumps(origin | dict(about), indent=1))


def _save_array(file, feature: np.ndarray) -> None:
    np.save(file, feature)


def source_of(record) -> str:
    """What a record's features are of, for the table; of a part of a video also its first frame."""
    if isinstance(record, PreparedRecord):
        path = f"{record.folder}/{record.split}/{record.name}"
    else:
        path = record.path if is_url(record.path) else os.path.abspath(record.path)
    offset = getattr(record, "offset", 0)
    return path.encode(errors="backslashreplace").decode() + (f"#{offset}" if offset else "")


def stamp_of(record) -> str:
    """What tells a file from another one that later has its path: its size and time; "" for URLs and prepared sets."""
    try:
        known = os.stat(record.path)
    except (OSError, ValueError):
        return ""
    return f"{known.st_size}-{known.st_mtime_ns}"


def _is_made(folder: pathlib.Path, record, row: dict | None, suffix: str) -> bool:
    """Whether the features of a record are there, and the file is the one that they were made of."""
    if row is None or not found_file(folder, row["video"], suffix).exists():
        return False
    return row.get("stamp") in (None, "", stamp_of(record))


def _check_source(folder: pathlib.Path, record, row: dict | None) -> None:
    """Refuses a record whose name is that of another video in the table, if that one's features are still there."""
    known, own = (row or {}).get("path"), source_of(record)
    if known and known != own and found_file(folder, row["video"], ".csv", ".npy").exists():
        end = lambda path: repr(path if len(path) <= 100 else f"...{path[-100:]}")
        raise ValueError(f"{folder} holds features of {end(known)}, named like those of {end(own)}; give another --out")
