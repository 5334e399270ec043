"""Videos on the disk, as files or as folders of frames, for the names of published lists."""

import os
import pathlib
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from actjax.errors import shown
from actjax.video.finding import find_videos

_THREADS = 16  # each look at a file server takes a while
_PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


class Frames(NamedTuple):
    """A folder of frames `00001.jpg`, ...: their number and suffix; or why it is none, otherwise ""."""

    number: int = 0
    suffix: str = ""
    fault: str = ""


def video_files(folder: pathlib.Path) -> dict[str, list[str]]:
    """The video files that `find_videos` finds below a folder: name without suffix -> paths from the folder."""
    found: dict[str, list[str]] = {}
    try:
        files = find_videos(folder).files
    except FileNotFoundError:  # there are none
        return found
    for file in files:
        found.setdefault(file.stem, []).append(file.relative_to(folder).as_posix())
    return found


def find_video(files: dict[str, list[str]], names: Iterable[str], *, where: str) -> str | None:
    """The file of the first of `Wanted.names` that has one; None: there is none.

    >>> files = {"a": ["run/a.AVI", "walk/a.avi"], "b": ["b.mp4"]}
    >>> find_video(files, ["walk/a"], where="list.txt, line 1"), find_video(files, ["run/b", "/b"], where="line 2")
    ('walk/a.avi', 'b.mp4')

    Args:
      where: what names the video, for errors.

    Raises:
      ValueError: several files have this name.
    """
    for name in names:
        named = files.get(name.rpartition("/")[2], ())
        own = [path for path in named if _is(os.path.splitext(path)[0], name)]
        if len(own) > 1:
            both = f"{shown(own[0])} and {shown(own[1])}"
            raise ValueError(f"{where}: its video is both {both}; keep one of them below --videos")
        if own:
            return own[0]
    return None


def frame_folders(folder: pathlib.Path, names: Sequence[str]) -> dict[str, Frames]:
    """Those of the names that are folders in a folder, and their frames."""
    with ThreadPoolExecutor(_THREADS) as threads:
        found = threads.map(lambda name: _frames(folder / name), names)
        return {name: frames for name, frames in zip(names, found, strict=True) if frames is not None}


def _is(path: str, name: str) -> bool:
    """Whether a path without suffix is one that a name of `Wanted.names` means."""
    return f"/{path}" == name if name.startswith("/") else f"/{path}".endswith(f"/{name}")


def _frames(folder: pathlib.Path) -> Frames | None:
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    parts = [part for part in map(os.path.splitext, names) if part[1].lower() in _PICTURES and part[0][:1] != "."]
    suffixes = {suffix for _, suffix in parts}
    if len(suffixes) != 1:
        return Frames(fault="has pictures of several types" if suffixes else "has no pictures")
    (suffix,) = suffixes
    stems = {stem for stem, _ in parts}
    if lacking := next((stem for k in range(1, len(stems) + 1) if (stem := f"{k:05d}") not in stems), None):
        odd = next((stem for stem in sorted(stems) if not re.fullmatch(r"\d{5,}", stem)), None)
        found = f"; it has {shown(odd + suffix)}" if odd else f" of {len(stems)} frames"
        return Frames(fault=f"has no {lacking}{suffix}{found}")
    return Frames(len(stems), suffix)
