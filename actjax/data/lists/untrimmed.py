"""The annotation files of a set for localization, with the lengths of its videos."""

import itertools
import pathlib
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from actjax.data.datasets.activitynet import load_video_info
from actjax.data.datasets.features import open_features
from actjax.data.datasets.records import VideoRecord
from actjax.data.lists import looking, writing
from actjax.data.lists.published import Untrimmed
from actjax.data.lists.recognition import check_missing, told_of
from actjax.data.loading.snippet_reader import each_video
from actjax.errors import shown
from actjax.video.errors import VideoError

_READERS = 4
_TIMEOUT = 60.0  # seconds that opening a video may take
_STEP = 500  # videos between two lines about the progress
_TABLE = "video_info.csv"  # which --mode=extract writes beside the features


class Sources(NamedTuple):
    """Where the lengths are from, the folder of the videos or a table of them; and the folder of features, if any."""

    videos: pathlib.Path | None
    table: pathlib.Path | None
    features: pathlib.Path | None


def make_annotations(published: Untrimmed, sources: Sources, out: pathlib.Path) -> tuple[list[str], dict[str, str]]:
    """Writes `train.json`, `val.json`, `classes.txt` and `missing.txt` -> lines about them, and flags of the config.

    An entry has `duration_second` (as published, else the file's), `duration_frame`, `fps`, `feature_frame` and
    `annotations`. A table gives the lengths if there is one. Otherwise the video files do, and features are taken to
    cover the whole video. A video is called like its file, or its row in the table.

    Raises:
      FileNotFoundError: more than half of a split is missing. ValueError: neither videos nor a table; several files
        have the name of one video; a list would replace a published file.
    """
    suffix, _ = writing.FILES["untrimmed"]
    writing.check_out(out, suffix, published.files)
    if sources.table is None and sources.features and (sources.features / _TABLE).is_file():
        sources = sources._replace(table=sources.features / _TABLE)
    if sources.table is not None:
        place, lengths = f"--video_info={sources.table}", _of_table(published, sources.table)
    elif sources.videos is not None:
        place, lengths = f"--videos={sources.videos}", _of_files(published, sources.videos)
    else:
        raise ValueError("the lengths of the videos are needed: give --videos, or --video_info, a table of them")
    if sources.features:
        lengths = _with_features(lengths, sources.features)
    content, missing, lines, flags = {}, {}, [], {}
    for split, videos in published.splits.items():
        found = {video.path: lengths[video.path] for video in videos}
        missing[split] = {name: length for name, length in found.items() if isinstance(length, str)}
        check_missing(missing[split], len(videos), split, place, looked_for=next(iter(missing[split]), ""))
        there = [(path, *length) for path, length in found.items() if not isinstance(length, str)]
        content[split] = {name: _entry(published, path, length) for path, name, length in there}
        flags[f"data.{split}"] = str(out / f"{split}{suffix}")
        lines += told_of(out / f"{split}{suffix}", split, len(there), missing[split])
        lines += _differing(published, {path: length for path, _, length in there})
    out.mkdir(parents=True, exist_ok=True)
    for split, videos in content.items():
        writing.write_json(out / f"{split}{suffix}", videos)
    writing.write_names(out / "classes.txt", published.class_names)
    writing.write_missing(out / writing.MISSING, missing)
    if sources.features is None:
        lines.append("FEATURES: the folder of the features of these videos, which --mode=extract makes")
    return lines, flags | {"data.features": str(sources.features or "FEATURES")}


Lengths = dict[str, tuple[str, dict] | str]  # `Wanted.path` -> what the video is called, and its lengths; or a fault


def _of_table(published: Untrimmed, table: pathlib.Path) -> Lengths:
    known = load_video_info(table)
    lengths = {}
    for video in itertools.chain(*published.splits.values()):
        name = next((name for name in video.names if name in known), None)
        lengths[video.path] = (name, known[name]) if name else ""
    return lengths


def _of_files(published: Untrimmed, folder: pathlib.Path) -> Lengths:
    files = looking.video_files(folder)
    paths = {
        video.path: looking.find_video(files, video.names, where=video.where)
        for video in itertools.chain(*published.splits.values())
    }
    measured = _Measured()
    records = [VideoRecord(str(folder / path)) for path in paths.values() if path]
    with ThreadPoolExecutor(_READERS) as threads:  # each has a process that reads videos, and is ended if one hangs
        read = lambda part: each_video(part, _Measure(), measured.keep, quarantine=measured, timeout=_TIMEOUT)
        list(threads.map(read, filter(None, (records[k::_READERS] for k in range(_READERS)))))
    lengths: Lengths = dict.fromkeys(paths, "")
    for video, path in paths.items():
        if path:
            length = measured.found[str(folder / path)]
            lengths[video] = length if isinstance(length, str) else (pathlib.PurePath(path).stem, length)
    return lengths


class _Measure(NamedTuple):
    """Measures videos, in place of `Snippets` in a reader process."""

    def read(self, record: VideoRecord) -> Iterator[dict]:
        """Yields the lengths of a video, with a frame rate that fits its frames to its clock."""
        video = record.open()
        count = video.num_frames
        first, last = video.times([0, count - 1])
        if count < 2 or not last > first:
            raise VideoError(record.path, f"{count} frames in {last - first:g} s")
        seconds = float(last - first) * count / (count - 1)
        yield dict(duration_second=seconds, duration_frame=count, feature_frame=count, fps=count / seconds)


class _Measured:
    """The lengths of videos by their paths, or why one has none."""

    def __init__(self):
        self.found: dict[str, dict | str] = {}

    def keep(self, record: VideoRecord, parts: Iterator[dict]) -> None:
        """Keeps the lengths of a video."""
        self._put(record.path, next(parts))

    def add(self, error: VideoError) -> None:
        """Keeps why a video cannot be read."""
        self._put(error.path, error.reason)

    def _put(self, path: str, length: dict | str) -> None:
        self.found[path] = length
        if len(self.found) % _STEP == 0:
            print(f"{len(self.found)} videos are measured", file=sys.stderr, flush=True)


def _with_features(lengths: Lengths, folder: pathlib.Path) -> Lengths:
    """The same without videos that have no features."""
    there = open_features(folder).among(length[0] for length in lengths.values() if not isinstance(length, str))
    lacking = lambda length: not isinstance(length, str) and length[0] not in there
    return {video: f"no features in {folder}" if lacking(length) else length for video, length in lengths.items()}


def _entry(published: Untrimmed, video: str, length: Mapping) -> dict:
    seconds = published.seconds.get(video, length["duration_second"])
    numbers = {name: length[name] for name in ("duration_frame", "fps", "rfps", "feature_frame") if name in length}
    return {"duration_second": seconds} | numbers | {"annotations": published.annotations[video]}


def _differing(published: Untrimmed, lengths: Mapping[str, Mapping]) -> list[str]:
    """A line about videos whose length is not the published one, so that the segments may not fit."""
    pairs = {v: (length["duration_second"], published.seconds.get(v)) for v, length in lengths.items()}
    odd = {v: pair for v, pair in pairs.items() if pair[1] and abs(pair[0] - pair[1]) > 1 + 0.05 * pair[1]}
    if not odd:
        return []
    video, (seconds, expected) = next(iter(odd.items()))
    return [f"{len(odd)} videos have another length than published: {shown(video)} has {seconds:.1f} s, not "
            f"{expected:.1f}; their segments may not fit"]  # fmt: skip
