"""What a folder of classes holds: the videos of every class, at any depth, and what is left out."""

import collections
import os
import re
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from actjax.errors import shown
from actjax.video.finding import VIDEO_SUFFIXES

PICTURES = (".jpeg", ".jpg", ".png")
_ODD = re.compile(r"[\x00-\x1f\ud800-\udfff]")  # control characters, and bytes that are not UTF-8
_VAL = ("val", "validation", "valid", "test")  # names of the validation split, the first one that is there


class Found(NamedTuple):
    """videos: paths of video files. frames: {folder: the names of its pictures}. left_out: {suffix: files}."""

    videos: list[str]
    frames: dict[str, list[str]]
    left_out: collections.Counter

    @property
    def items(self) -> list[str]:
        """The paths of all videos, sorted: files, or folders of frames."""
        return sorted((*self.videos, *self.frames))


def find_videos(folder: str) -> Found:
    """The videos below a folder: files with the suffix of a video, and folders that directly hold pictures.

    Names that begin with a dot are passed over. Links are followed.

    Raises:
      ValueError: a name that is not UTF-8 or has control characters, which no list can hold.
    """
    found = Found([], {}, collections.Counter())
    for place, entries in _walk(folder, ()):
        pictures = []
        for entry in entries:
            name, suffix, path = entry.name, os.path.splitext(entry.name)[1].lower(), os.path.join(place, entry.name)
            if not entry.is_file():
                found.left_out["no file"] += 1  # a link to nothing, a pipe
            elif suffix in VIDEO_SUFFIXES:
                found.videos.append(path)
            elif suffix in PICTURES:
                pictures.append(name)
            else:
                found.left_out[suffix or "no suffix"] += 1
        if pictures:
            found.frames[place] = pictures
    return found


def _walk(folder: str, above: tuple[str, ...]) -> Iterator[tuple[str, list[os.DirEntry]]]:
    """(folder, its files) of a folder and those below it; a link that leads back up is passed over."""
    real = os.path.realpath(folder)
    if real in above:
        return
    entries = visible(folder)
    yield folder, [entry for entry in entries if not entry.is_dir()]
    for entry in entries:
        if entry.is_dir():
            yield from _walk(os.path.join(folder, entry.name), (*above, real))


def visible(folder: str) -> list[os.DirEntry]:
    """What is in a folder, sorted by name, but for names that begin with a dot.

    Raises:
      ValueError: a name that no list can hold.
    """
    with os.scandir(folder) as found:
        entries = sorted((each for each in found if not each.name.startswith(".")), key=lambda each: each.name)
    for name in (entry.name for entry in entries):
        if _ODD.search(name):
            raise ValueError(
                f"{shown(os.path.join(folder, name))}: a name that is no UTF-8 or has line ends; rename it"
            )
    return entries


def subfolders(folder: str) -> list[str]:
    """The sorted names of the folders in a folder."""
    return [entry.name for entry in visible(folder) if entry.is_dir()]


def given_splits(folder: str) -> tuple[dict[str, str], list[str]]:
    """The folders of a split that is there, {"train": path, "val": path}, and those that are left out beside them.

    A folder is split if it has `train` and `val` (or `validation`, `valid`, `test`), in any case, with folders inside.
    Without these, ({}, []).

    Raises:
      ValueError: two folders of one name but for its case, two for the validation, others beside the split.
    """
    names = subfolders(folder)
    by_role = collections.defaultdict(list)
    for name in names:
        if name.lower() in ("train", *_VAL) and subfolders(os.path.join(folder, name)):
            by_role[name.lower()].append(name)
    roles = [role for role in _VAL if role in by_role]
    if "train" not in by_role or not roles:
        return {}, []
    rivals = [by_role[role] for role in roles if role != "test" or roles == ["test"]]
    if several := next((found for found in (by_role["train"], sum(rivals, [])) if len(found) > 1), None):
        raise ValueError(f"{folder}: {' and '.join(map(shown, several))} are the same split; keep one of them")
    train, val = by_role["train"][0], by_role[roles[0]][0]
    rest = [name for name in names if name not in (train, val)]
    if others := [name for name in rest if name not in by_role["test"]]:
        raise ValueError(
            f"{folder} has the splits {train!r} and {val!r}, and beside them {shown(others[0])}, which is neither; "
            "move it, or begin its name with a dot"
        )
    return {"train": os.path.join(folder, train), "val": os.path.join(folder, val)}, rest


def told(left_out: collections.Counter) -> str:
    """Counts of files by suffix: "2 .txt, 1 .db", the most frequent first."""
    ordered = sorted(left_out.items(), key=lambda pair: (-pair[1], pair[0]))
    more = [f"{sum(count for _, count in ordered[8:])} others"] * (len(ordered) > 8)
    return ", ".join([f"{count} {suffix}" for suffix, count in ordered[:8]] + more)


def nearest_case(name: str, names: Sequence[str]) -> str:
    """ "; did you mean 'run'?" for a name that differs from one of `names` in case alone, else ""."""
    same = [other for other in names if other.casefold() == name.casefold()]
    return f"; did you mean {same[0]!r}?" if same else ""


def unlisted(folder: str, known: Collection[str]) -> list[str]:
    """The videos of a folder of classes, or of its splits, that are not among those known, sorted by path."""
    places, _ = given_splits(folder)
    roots = [os.path.join(place, name) for place in places.values() or [folder] for name in subfolders(place)]
    return [path for root in roots for path in find_videos(root).items if path not in known]
