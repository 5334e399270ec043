"""Annotations of own videos -> their files, and lists with lengths for the localizers."""

import collections
import json
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from actjax.data.datasets.records import ActivityNetRecord, VideoRecord
from actjax.data.datasets.units import check_units
from actjax.data.samples.untrimmed_shapes import make_untrimmed
from actjax.errors import shown
from actjax.localization import proposal_rows, save_localize_proposal_file
from actjax.metrics.ground_truth import annotations_of, read_entries
from actjax.paths import rewrite
from actjax.tasks.own.config import OwnData
from actjax.video.clock import Clock
from actjax.video.finding import VIDEO_SUFFIXES, find_videos, told_of

log = logging.getLogger("actjax")

SPLITS = ("train", "val")


class Annotated(NamedTuple):
    """An annotated video: the name in its file, and {"segment" in seconds, "label"} of each action."""

    video: str
    record: VideoRecord
    annotations: list[dict]


def open_annotated(data: OwnData) -> dict[str, list[Annotated]]:
    """The annotated videos of each split, "train" and "val"; writes the sample set on first use.

    Raises:
      FileNotFoundError: no such file or folder, or too many videos are missing. ValueError: an annotation that does not
        parse, a split without videos, a name that several files have.
    """
    if not data.videos:
        root = make_untrimmed(num_train=data.num_train, num_val=data.num_val, seed=data.seed)
        data = data._replace(videos=str(root / "videos"), **dict.fromkeys(SPLITS, str(root / "annotations.json")))
    found = find_videos(data.videos)
    if told := told_of(data.videos, found):
        log.warning("%s", told)
    paths = [str(path) for path in found.files]
    splits = {}
    for split, subset in zip(SPLITS, data.subsets, strict=True):
        file = getattr(data, split)
        entries = _entries(file, subset if data.train == data.val else None)
        splits[split] = _there(file, entries, paths, data)
    return splits


def _entries(file: str, subset: str | None) -> dict[str, list[dict]]:
    """The annotations of a file, by video; only of `subset`, if there is one."""
    entries = read_entries(file)
    if not entries:
        raise ValueError(
            f'{file} is empty; expected {{"VIDEO": {{"annotations": [{{"segment", "label"}}, ...]}}, ...}}'
        )
    found = {name: annotations_of(file, name, entry) for name, entry in entries.items()}
    if subset is None:
        return found
    if lacking := [name for name, entry in entries.items() if "subset" not in entry]:
        raise ValueError(
            f"{file}: video {shown(lacking[0])} has no subset; one file for both splits needs it, or give data.train "
            "and data.val a file each"
        )
    kept = {name: found[name] for name, entry in entries.items() if entry["subset"] == subset}
    if not kept:
        known = sorted({str(entry["subset"]) for entry in entries.values()})
        raise ValueError(f"{file}: no video of subset {subset!r}; it has {shown(known)}: set data.subsets=train,val")
    return kept


def _there(file: str, entries: Mapping, paths: Sequence[str], data: OwnData) -> list[Annotated]:
    """The annotated videos that have a file."""
    stems = collections.defaultdict(list)
    for path in paths:
        stems[pathlib.PurePath(path).stem].append(path)
    found = {name: path for name in entries if (path := _file_of(name, stems))}
    by_path = {path: name for name, path in found.items()}
    if twice := [name for name, path in found.items() if by_path[path] != name]:
        path = found[twice[0]]
        raise ValueError(f"{file}: videos {shown(twice[0])} and {shown(by_path[path])} are both {_end(path)}")
    if len(entries) - len(found) > data.max_missing * len(entries):
        missing = next(name for name in entries if name not in found)
        raise FileNotFoundError(
            f"{file}: {len(entries) - len(found)} of its {len(entries)} videos are not in {data.videos}, "
            f"{shown(missing)} the first; data.max_missing={data.max_missing:g} allows fewer"
        )
    if len(found) < len(entries):
        log.warning("%s: %d videos have no file and are left out", file, len(entries) - len(found))
    return [Annotated(name, VideoRecord(path), entries[name]) for name, path in found.items()]


def _file_of(name: str, stems: Mapping[str, list[str]]) -> str | None:
    """The file of a video: its path ends in the name, with or without the suffix and "v_"; None: there is none.

    Args:
      stems: name of a file without its suffix -> its paths.

    Raises:
      ValueError: several files.
    """
    last = pathlib.PurePath(name)
    bare = last.stem if last.suffix.lower() in VIDEO_SUFFIXES else last.name  # "match.2" has no suffix
    for own in dict.fromkeys((last.name, bare, f"v_{bare}", bare.removeprefix("v_"))):
        there = [
            path
            for path in stems.get(own, ())
            if pathlib.PurePath(path).parts[-len(last.parts) : -1] == last.parts[:-1]
        ]
        there = [path for path in there if pathlib.PurePath(path).name == last.name] or there
        if len(there) > 1:
            raise ValueError(
                f"video {shown(name)} may be {_end(there[0])} or {_end(there[1])}; name it with its folder and suffix"
            )
        if there:
            return there[0]
    return None


def _end(path: str) -> str:
    """A path for an error, of a long one its end."""
    return repr(path if len(path) <= 80 else f"...{path[-77:]}")


def check_times(data: OwnData, splits: Mapping[str, Sequence[Annotated]], clocks: Mapping[str, Clock]) -> None:
    """Raises ValueError if annotations do not lie in their videos, as those in frames or fractions; see `check_units`.

    Args:
      clocks: of the videos, by path; videos without one are not looked at.
    """
    for split, videos in splits.items():
        known = [(video, clocks[video.record.path]) for video in videos if video.record.path in clocks]
        records = [
            ActivityNetRecord(v.record.path, v.video, c.duration, c.num_frames, c.num_frames, v.annotations)
            for v, c in known
        ]
        check_units(getattr(data, split) or "the annotations", records)


def write_annotations(
    file: pathlib.Path, videos: Sequence[Annotated], clocks: Mapping[str, Clock], rows: Mapping
) -> int:
    """Writes the annotations of videos with their lengths, as `load_annotations("activitynet")` reads them.

    Times are those at which the segments would be if the frame rate were constant, as features count.

    Args:
      clocks: of the videos, by path. rows: of the table of features, by path; videos without one are left out.

    Returns:
      The number of videos.
    """
    content = {}
    for video in videos:
        if (row := rows.get(video.record.path)) is None:
            continue
        clock, seconds, frames = clocks[video.record.path], float(row["seconds"]), int(row["numFrame"])
        even = lambda segment, clock=clock, rate=frames / seconds: (
            segment if clock.times is None else (clock.frames(segment) / rate).tolist()
        )
        content[row["video"]] = {
            "duration_second": seconds,
            "duration_frame": frames,
            "feature_frame": int(row["featureFrame"]),
            "annotations": [each | {"segment": even(each["segment"])} for each in video.annotations],
        }
    rewrite(file, json.dumps(content, indent=1))
    return len(content)


def write_proposals(
    file: pathlib.Path,
    videos: Sequence[Annotated],
    clocks: Mapping[str, Clock],
    proposals: Mapping[str, list[dict]],
    classes: Sequence[str],
) -> int:
    """Writes a proposal file of SSN, whose ids are paths of video files -> the number of videos.

    Args:
      clocks, proposals: of the videos, by path; videos without either are left out.
    """
    number = {name: k for k, name in enumerate(classes, 1)}
    rows = []
    for video in videos:
        path = video.record.path
        if path not in clocks or path not in proposals:
            continue
        clock = clocks[path]
        truths = [whole_frames(clock, each["segment"]) for each in video.annotations]
        found = [whole_frames(clock, each["segment"]) for each in proposals[path]]
        labels = [number[each["label"]] for each in video.annotations]
        found = [segment for segment in found if segment[0] < segment[1]]
        truth = [[str(label), *map(str, segment)] for label, segment in zip(labels, truths, strict=True)]
        rows.append((path, clock.num_frames, truth, proposal_rows(found, truths, labels)))
    save_localize_proposal_file(rows, file)
    return len(rows)


def whole_frames(clock: Clock, segment: Sequence[float]) -> list[int]:
    """A segment in seconds -> first frame and frame after the last, inside the video."""
    return np.rint(clock.frames(segment)).astype(int).clip(0, clock.num_frames).tolist()
