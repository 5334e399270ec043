"""A folder of classes -> training and validation records: a split that is there, or one that is drawn."""

import collections
import logging
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from actjax.data.datasets.class_folders import (
    Found,
    find_videos,
    given_splits,
    nearest_case,
    subfolders,
    told,
    visible,
)
from actjax.data.datasets.frame_folders import frames_of
from actjax.data.datasets.records import RawframesRecord, VideoRecord
from actjax.errors import check_number, named, shown
from actjax.paths import does_not_exist, local

log = logging.getLogger("actjax")

_MOST = 5  # classes that a message names
VAL_SHARE = 0.2


class Split(NamedTuple):
    """The records of both splits, and the sorted names of the classes.

    origin: what the split was made of: `folder`, and `val_share` and `seed`, both None if the folder was split already.
    summary, warnings: what to tell the user.
    """

    train: Sequence
    val: Sequence
    class_names: list[str]
    origin: Mapping
    summary: str = ""
    warnings: tuple[str, ...] = ()

    def tell(self) -> "Split":
        """Logs the summary and the warnings, and returns itself."""
        if self.summary:
            log.info("%s", self.summary)
        for warning in self.warnings:
            log.warning("%s", warning)
        return self


def split_folder(folder: str | os.PathLike, *, val_share: float = VAL_SHARE, seed: int = 0) -> Split:
    """The videos of a folder whose sub-folders are classes, split into training and validation.

    A split that the folder has (`train` and `val`) is taken. Otherwise `val_share` of the videos of every class,
    rounded, are drawn for the validation: at least one and not all of two or more, none of a single one.

    Args:
      seed: of the draw; the same folder and seed give the same split.

    Raises:
      FileNotFoundError: no such folder. ValueError: fewer than two classes, a class without a video, or one that only
        the validation has; video files and folders of frames in one set; frames that are not numbered one by one.
    """
    with named("data"):
        check_number("val_share", val_share, "(0, 1)")
        check_number("seed", seed, f"[0, {2**32})", whole=True)
    root = _checked(folder)
    places, beside = given_splits(root)
    if places:
        both = {split: _classes(place, kind=split) for split, place in places.items()}
        names, warnings = [*both["train"]], _check_same(root, both)
        origin = dict(folder=root, val_share=None, seed=None)
    else:
        both = {"train": _classes(root, kind="class"), "val": {}}
        names, warnings = [*both["train"]], []
        origin = dict(folder=root, val_share=val_share, seed=seed)
    if len(names) < 2:
        raise ValueError(f"{root} has one class, {shown(names[0])}; a network tells two or more apart")
    found = [found for classes in both.values() for found in classes.values()]
    _check_kind(found)
    records = {
        split: [_records(classes.get(name), k) for k, name in enumerate(names)] for split, classes in both.items()
    }
    if not places:
        drawn = [_drawn(members, val_share, seed=(seed, k)) for k, members in enumerate(records["train"])]
        records = {split: [pair[which] for pair in drawn] for which, split in enumerate(("train", "val"))}
        single = [name for name, members in zip(names, records["val"], strict=True) if not members]
        warnings += [f"{root}: {_some(single)} one video, to train on; the validation has none"] if single else []
    train, val = (sum(records[split], []) for split in ("train", "val"))
    _check_links(train + val)
    if not val:
        raise ValueError(f"{root}: every class has one video; add some, so that one of each can be validated on")
    left_out = sum((one.left_out for one in found), _beside_classes([*places.values()] or [root]))
    notes = [f"left out: {told(left_out)}"] * bool(left_out) + [f"{name!r} is not used" for name in beside]
    counts = f"{len(names)} classes, {len(train)} videos to train on, {len(val)} to validate on"
    summary = "; ".join([f"{root}: {counts}", *notes])
    return Split(train, val, names, origin, summary, tuple(warnings))


def _checked(folder: str | os.PathLike) -> str:
    """The absolute path of the folder."""
    if not os.fspath(folder):
        raise ValueError("data.folder is not set; give a folder whose sub-folders are the classes: data.folder=FOLDER")
    root = os.path.abspath(local(folder, "data.folder"))
    if not os.path.isdir(root):
        found = "is a file, not a folder of classes" if os.path.exists(root) else does_not_exist(root).partition(" ")[2]
        raise (ValueError if os.path.exists(root) else FileNotFoundError)(f"data.folder={root} {found}")
    return root


def _classes(folder: str, *, kind: str) -> dict[str, Found]:
    """The videos of each sub-folder of `folder`, by its name."""
    names = subfolders(folder)
    if not names:
        inside = find_videos(folder)
        files = f"{len(inside.videos)} videos" if inside.videos else "nothing of use"
        raise ValueError(f"{folder} holds {files}, but no sub-folders; make one for each class, with its videos inside")
    classes = {}
    for name in names:
        place = os.path.join(folder, name)
        found = classes[name] = find_videos(place)
        if name != name.strip():
            raise ValueError(f"{shown(place)}: the name of a class begins or ends with a space; rename it")
        if place in found.frames:
            raise ValueError(
                f"{place} directly holds {len(found.frames[place])} pictures, such as {shown(found.frames[place][0])}; "
                "the frames of each video need a folder of their own in that of their class"
            )
        if not found.items and kind != "val":
            rest = f", only {told(found.left_out)}" if found.left_out else ""
            raise ValueError(f"{place} holds no video{rest}; move it, or begin its name with a dot")
    return classes


def _check_same(root: str, both: Mapping[str, dict[str, Found]]) -> list[str]:
    """Warnings of classes that the validation lacks. ValueError: the training lacks one."""
    train, val = ([name for name, found in both[split].items() if found.items] for split in ("train", "val"))
    if alone := [name for name in val if name not in train]:
        near = nearest_case(alone[0], train)
        raise ValueError(f"{root}: {_some(alone)} videos to validate on, but none to train on{near}")
    missing = [name for name in train if name not in val]
    return [f"{root}: {_some(missing)} no video to validate on"] if missing else []


def _check_kind(found: Sequence[Found]) -> None:
    """Raises ValueError for video files and folders of frames in one set, and for frames within frames."""
    videos = next((one.videos[0] for one in found if one.videos), None)
    frames = next((place for one in found for place in one.frames), None)
    if videos and frames:
        raise ValueError(
            f"video files, such as {shown(videos)}, and pictures, such as those in {shown(frames)}, are in one set; "
            "keep one kind"
        )
    for one in found:
        for place in one.frames:
            above = os.path.dirname(place)
            while above and above not in one.frames and above != os.path.dirname(above):
                above = os.path.dirname(above)
            if above in one.frames:
                raise ValueError(f"{shown(place)} holds pictures, and so does {shown(above)}; which are the frames?")


def _records(found: Found | None, label: int) -> list:
    """The records of the videos of a class, sorted by path."""
    if found is None:
        return []
    if not found.frames:
        return [VideoRecord(path, label) for path in sorted(found.videos)]
    made = []
    for place in sorted(found.frames):
        frames = frames_of(found.frames[place], folder=place)
        options = dict(filename_tmpl=frames.filename_tmpl, start_index=frames.start_index)
        made.append(RawframesRecord(place, frames.num_frames, label, **options))
    return made


def _check_links(records: Sequence) -> None:
    """Raises ValueError if two videos are one file, as links make it: it would be trained and validated on, or in two
    classes."""
    known: dict[str, str] = {}
    for record in records:
        path = os.path.realpath(record.path)
        if (other := known.setdefault(path, record.path)) != record.path:
            raise ValueError(f"{shown(record.path)} and {shown(other)} are one file, by a link; remove one of them")


def _drawn(records: list, share: float, *, seed: tuple[int, int]) -> tuple[list, list]:
    """The records of a class to train on, and those to validate on."""
    count = min(max(int(share * len(records) + 0.5), 1), len(records) - 1)
    chosen = {*np.random.default_rng(seed).permutation(len(records))[:count].tolist()}
    return [r for k, r in enumerate(records) if k not in chosen], [r for k, r in enumerate(records) if k in chosen]


def _beside_classes(places: Sequence[str]) -> collections.Counter:
    """The files that are in no class, by suffix."""
    names = (entry.name for place in places for entry in visible(place) if not entry.is_dir())
    return collections.Counter(os.path.splitext(name)[1].lower() or "no suffix" for name in names)


def _some(names: Sequence[str]) -> str:
    """ "class 'run' has", or "3 classes, 'run', 'jump' ..., have"."""
    if len(names) == 1:
        return f"class {shown(names[0])} has"
    more = " ..." * (len(names) > _MOST)
    return f"{len(names)} classes, {', '.join(map(shown, names[:_MOST]))}{more}, have"
