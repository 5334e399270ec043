"""The lists of a set for recognition, of video files or of folders of frames."""

import os
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

from actjax.data.lists import looking, writing
from actjax.data.lists.published import Published
from actjax.errors import shown


class Found(NamedTuple):
    """Rows of the lists by split; why each missing video is missing; videos on the disk that no list names."""

    rows: dict[str, list[tuple]]
    missing: dict[str, dict[str, str]]
    unlisted: list[str]
    suffix: str = ""  # of frames


def find_videos(published: Published, folder: pathlib.Path, *, keep_missing: bool = False) -> Found:
    """Rows (path, label) of the video files.

    Args:
      keep_missing: videos that are missing stay in the lists, with the publisher's path.

    Raises:
      ValueError: several files have the name of one video, or one file is that of several.
    """
    files = looking.video_files(folder)
    rows, missing, listed = {}, {}, set()
    for split, videos in published.splits.items():
        rows[split], missing[split], used = [], {}, {}
        for video in videos:
            path = looking.find_video(files, video.names, where=video.where)
            if path is None:
                missing[split][video.path] = ""
                path = video.path if keep_missing else None
            elif (other := used.setdefault(path, video)) is not video:
                raise ValueError(f"{video.where}: {shown(path)} is also the file of {other.where}")
            if path is not None:
                rows[split].append((path, video.label))
        listed |= used.keys()
    listed |= {looking.find_video(files, video.names, where=video.where) for video in published.others}
    everything = [path for paths in files.values() for path in paths]
    return Found(rows, missing, [path for path in everything if path not in listed])


def find_frames(published: Published, folder: pathlib.Path) -> Found:
    """Rows (path, number of frames, label) of the folders of frames. All must have frames with the same suffix."""
    names = [video.path for videos in published.splits.values() for video in videos]
    there = looking.frame_folders(folder, names)
    suffix = next((frames.suffix for frames in there.values() if not frames.fault), ".jpg")
    rows, missing = {}, {}
    for split, videos in published.splits.items():
        rows[split], missing[split] = [], {}
        for video in videos:
            frames = there.get(video.path, looking.Frames())
            if not frames.fault and frames.number and frames.suffix != suffix:
                frames = looking.Frames(fault=f"has frames {frames.suffix}, other folders {suffix}")
            if frames.number:
                rows[split].append((video.path, frames.number, video.label))
            else:
                missing[split][video.path] = frames.fault
    known = {*names}
    folders = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    return Found(rows, missing, [name for name in folders if name not in known], suffix)


def check_missing(missing: Mapping[str, str], count: int, split: str, place: str, *, looked_for: str) -> None:
    """Raises FileNotFoundError if more than half of the `count` videos of a split are missing.

    Args:
      place: where they should be, with the option that says so. looked_for: one of `missing` as it was looked for.
    """
    if 2 * len(missing) > count:
        why = next(iter(missing.values()))
        raise FileNotFoundError(
            f"{len(missing)} of the {count} videos of {split} are not in {place}; an example is {looked_for}"
            f"{why and f': {why}'}. Is this the right place?"
        )


def make_lists(
    published: Published, folder: pathlib.Path, out: pathlib.Path, *, frames: bool, keep_missing: bool = False
) -> tuple[list[str], dict[str, str]]:
    """Writes `train.csv`, `val.csv`, `classes.txt` and `missing.txt` -> lines about them, and flags of the config.

    Args:
      folder: the videos. frames: they are folders of frames.
      keep_missing: see `find_videos`.

    Raises:
      FileNotFoundError: more than half of a split is missing. ValueError: as `find_videos`; a list would replace a
        published file.
    """
    suffix, header = writing.FILES["frames" if frames else "videos"]
    writing.check_out(out, suffix, published.files)
    found = find_frames(published, folder) if frames else find_videos(published, folder, keep_missing=keep_missing)
    for split, videos in published.splits.items():
        if not keep_missing:
            first = folder / next(iter(found.missing[split]), "")
            looked_for = str(first / "00001.jpg" if frames else first)
            check_missing(found.missing[split], len(videos), split, f"--videos={folder}", looked_for=looked_for)
    out.mkdir(parents=True, exist_ok=True)
    lines, flags = [], {}
    for split, rows in found.rows.items():
        path = out / f"{split}{suffix}"
        writing.write_csv(path, header, rows)
        flags[f"data.{split}"] = str(path)
        lines += told_of(path, split, len(rows), found.missing[split], kept=keep_missing)
    writing.write_names(out / "classes.txt", published.class_names)
    writing.write_missing(out / writing.MISSING, found.missing)
    if found.unlisted:
        first = writing.told(found.unlisted, len(found.unlisted))
        lines.append(f"{len(found.unlisted)} videos in {folder} are in no list: {first}")
    flags |= {"data.data_prefix": str(folder), "data.class_names": str(out / "classes.txt")}
    if frames:
        flags["data.filename_tmpl"] = f"{{:05d}}{found.suffix}"
    return lines, flags | {"model.num_classes": str(len(published.class_names))}


def told_of(path: pathlib.Path, split: str, count: int, missing: Mapping[str, str], *, kept: bool = False) -> list[str]:
    """Lines about a list and what is missing in it."""
    lines = [f"{path}: {count} videos"]
    if missing:
        first = writing.told(missing, len(missing))
        where = path.with_name(writing.MISSING)
        lines.append(f"missing{' but kept' * kept}: {len(missing)} videos of {split}, {first}; all are in {where}")
        if faults := {name: why for name, why in missing.items() if why}:
            name, why = next(iter(faults.items()))
            lines.append(f"of these {len(faults)} are there but cannot be used, such as {shown(name)}: {why}")
    return lines
