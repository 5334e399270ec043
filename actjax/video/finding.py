"""A path, a folder or a pattern -> the video files that it means, and what was left out."""

import glob
import os
import pathlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from actjax.errors import shown
from actjax.paths import does_not_exist, is_url, to_path

# Suffixes of files that FFmpeg reads moving pictures from. Pictures, sound and subtitles, which it also reads, are not
# here. A file that is given by its own name may have any suffix.
_SUFFIXES = """
    264 265 3g2 3gp 3gpp 4xm amv asf avi avs bik bmv cavs cdg cin cine dav dif divx dnxhd drc dv dxa evo f4v fli flic
    flv gif gxf h261 h263 h264 hevc ifv imx ipu ism ismv ivf ivr kux lvf m1v m2p m2t m2ts m2v m4v mj2 mjpeg mjpg mk3d
    mkv mov mp2v mp4 mp4v mpe mpeg mpg mps mpv mts mtv mv mvi mxf mxg nsv nut nuv obu ogm ogv ogx paf pmp psp pva qt
    r3d rl2 rm rmvb roq rpl ser smk swf tivo tod trp ts ty ty+ vb vc1 viv vob webm wmv wtv xmv y4m yop
"""
VIDEO_SUFFIXES = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())


class Found(NamedTuple):
    """Video files in the order of their paths. left_out: suffix -> number of files that are no videos by their names;
    "hidden" for hidden files and folders, "unreadable" for folders that cannot be listed."""

    files: list[pathlib.Path]
    left_out: dict[str, int]

    def told(self) -> str:
        """What was left out, for a message; "" if nothing was.

        >>> Found([], {".txt": 3, "hidden": 1}).told()
        'left out: 3 .txt, 1 hidden'
        """
        parts = [f"{number} {suffix or 'without a suffix'}" for suffix, number in self.left_out.items()]
        rest = [f"{len(parts) - 8} other suffixes"] if len(parts) > 8 else []
        return f"left out: {', '.join([*parts[:8], *rest])}" if parts else ""


def find_videos(path: str | os.PathLike) -> Found:
    """The video that a path names, or those in a folder and its subfolders, or all that a pattern such as
    `videos/**/*_cam1.*` names.

    In folders a file is a video if it has one of `VIDEO_SUFFIXES`, in any case; hidden files and folders are left out.
    Files that are named, by a path or a pattern, may have any suffix. Links to folders are followed, each folder once.

    Raises:
      FileNotFoundError: no such file, no video in the folder, or nothing that the pattern names.
    """
    whole = to_path(path)
    if not os.path.lexists(path) and not whole.exists() and glob.has_magic(os.fspath(path)):
        return _of_pattern(path)
    if not whole.exists():
        raise FileNotFoundError(does_not_exist(path))
    if not whole.is_dir():
        return Found([whole], {})
    found = _sorted(_searched(whole))
    if not found.files:
        told = found.told() or "it is empty"
        raise FileNotFoundError(f"{path}: no file with the suffix of a video, such as .mp4, .avi or .webm; {told}")
    return found


def _of_pattern(pattern: str | os.PathLike) -> Found:
    """The files that a pattern names, and those in the folders that it names, unless `**` has looked there already.

    A suffix without a wildcard, as in `*.dat`, is taken at its word; otherwise files are videos by their suffix.
    """
    pattern = os.fspath(pattern)
    if is_url(pattern):
        root, rest = _split(pattern)
        named = [*to_path(root).glob(rest)]
    else:
        named = [pathlib.Path(path) for path in glob.iglob(os.path.expanduser(pattern), recursive=True)]
    if not named:
        raise FileNotFoundError(f"{pattern}: no file has a name of this pattern")
    suffix = os.path.splitext(pattern)[1]
    exact = suffix and not glob.has_magic(suffix)
    found = _sorted(_named(named, exact=bool(exact), search="**" not in pattern))
    if not found.files:
        raise FileNotFoundError(f"{pattern}: names no video, such as .mp4, .avi or .webm; {found.told()}")
    return found


def _named(paths: Iterable[pathlib.Path], *, exact: bool, search: bool) -> Iterator[tuple[pathlib.Path, str]]:
    """What `_searched` yields, for the paths that a pattern names."""
    for path in paths:
        if not path.is_dir():
            yield path, "" if exact else _why(path)
        elif search:
            yield from _searched(path)


def _split(pattern: str) -> tuple[str, str]:
    """A URL before and from its first part with a wildcard."""
    parts = pattern.split("/")
    first = next(k for k, part in enumerate(parts) if glob.has_magic(part))
    return "/".join(parts[:first]), "/".join(parts[first:])


def _sorted(searched: Iterable[tuple[pathlib.Path, str]]) -> Found:
    """Found files from (path, why it is left out) pairs."""
    files, left_out = {}, Counter()
    for path, why in searched:
        if why == "":
            files[path] = None
        else:
            left_out["" if why == "." else why] += 1
    return Found(sorted(files), dict(left_out.most_common()))


def _searched(folder: pathlib.Path) -> Iterator[tuple[pathlib.Path, str]]:
    """Yields every file below a folder, with the reason for which it is left out: "hidden", "unreadable", its suffix,
    "." for none; "" for a video."""
    todo, known = [folder], set()
    while todo:
        current = todo.pop()
        own = str(current) if is_url(current) else os.path.realpath(current)
        if own in known:
            continue
        known.add(own)
        try:
            entries = list(current.iterdir())
        except PermissionError:
            yield current, "unreadable"
            continue
        for path in entries:
            if path.name.startswith("."):
                yield path, "hidden"
            elif (is_url(path) and not _why(path)) or not path.is_dir():  # asking a store for each file takes time
                yield path, _why(path)
            else:
                todo.append(path)


def _why(path: pathlib.Path) -> str:
    """Why a file is left out by its name: its suffix, "." for none; "" for a video."""
    suffix = path.suffix.lower()
    return "" if suffix in VIDEO_SUFFIXES else suffix or "."


def told_of(videos: str | os.PathLike, found: Found) -> str:
    """A line about a search that left out something, for the log; "" if there is nothing to say."""
    told = found.told()
    return f"{shown(os.fspath(videos))}: {len(found.files)} videos; {told}" if told else ""
