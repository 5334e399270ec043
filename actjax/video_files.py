"""Names of videos -> files in a folder, one per video and suffix.

Names come from lists, annotations and proposal files, which others may have written: they may hold folders, be absolute
or climb with "..". Every file stays in its folder, apart from those of other videos.
"""

import collections
import hashlib
import os
import pathlib
import re
import unicodedata
from collections.abc import Iterable

from actjax.paths import to_path

LONGEST = 200  # bytes; file systems allow 255, and suffixes and the endings of temporary files come on top
_DIGEST = re.compile("~[0-9a-f]{16}$")
_FORBIDDEN = re.compile(r'[/\\:*?"<>|]')  # by one system or another
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9]) *(\.|$)", re.IGNORECASE)  # of Windows, with any suffix


def file_stem(name: str, *, apart: bool = False) -> str:
    """The name of a video's files, without suffix: the name itself if it can be one, else its end and a digest.

    >>> file_stem("v_--0edUL8zmA"), file_stem("/data/frames/v_a")
    ('v_--0edUL8zmA', 'v_a~b2e630ccde9acbe3')

    Args:
      apart: True: always with the digest.
    """
    if not apart and _ordinary(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{_readable(name)}~{digest}"


def file_stems(names: Iterable[str]) -> dict[str, str]:
    """`file_stem` of each of the videos that share a folder; names that only some disks tell apart get the digest.

    >>> file_stems(["v_a", "v_b", "v_B"])
    {'v_a': 'v_a', 'v_b': 'v_b~3234e8a9dca18cb9', 'v_B': 'v_B~8723edd13b6833c9'}

    Such names differ in capitals alone, or in how an accent is stored.
    """
    names = list(dict.fromkeys(names))
    alike = collections.Counter(map(_folded, names))
    return {name: file_stem(name, apart=alike[_folded(name)] > 1) for name in names}


def found_file(folder: str | os.PathLike, name: str, *suffixes: str) -> pathlib.Path:
    """The file of a video in a folder, with the first of the suffixes that is there; if none is, where it would be.

    Files of older versions are found where these put them, `FOLDER/NAME.SUFFIX`, as long as that is in the folder.
    """
    folder, stem = to_path(folder), file_stem(name)
    ends = [file_stem(name, apart=True) + suffix for suffix in suffixes]
    ends += [stem + suffix if stem == name else _earlier(name + suffix) for suffix in suffixes]
    places = [folder / end for end in ends if end]
    return next((place for place in places if place.exists()), folder / (stem + suffixes[-1]))


def _ordinary(name: str) -> bool:
    """Whether a name is a file's name on every system, is not hidden, and none that `file_stem` makes of another."""
    plain = name.isprintable() and name.strip(" ") == name and name and name[0] != "." != name[-1]
    odd = (pattern.search(name) for pattern in (_FORBIDDEN, _DIGEST))
    return bool(plain) and not any(odd) and not _DEVICE.match(name) and len(name.encode()) <= LONGEST


def _readable(name: str) -> str:
    """The last part of a path as an ordinary name; "video" if nothing is left of it."""
    last = re.split(r"[/\\]", name.rstrip("/\\"))[-1]
    text = "".join(c if c.isprintable() and not _FORBIDDEN.match(c) else "_" for c in last)
    text = text.encode()[: LONGEST - 17].decode(errors="ignore").strip(" .")
    return text if text and not _DEVICE.match(text) else "video"


def _folded(name: str) -> str:
    """What a disk compares that ignores capitals and the form of accents."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


def _earlier(name: str) -> str:
    """The path from the folder, in which older versions kept a file; "" if that led out of the folder, or nowhere."""
    path = os.path.normpath(name)
    try:
        raw = os.fsencode(path)
    except UnicodeEncodeError:
        return ""
    inside = not (os.path.isabs(path) or os.path.splitdrive(path)[0] or pathlib.PurePath(path).parts[0] == "..")
    possible = b"\0" not in raw and len(raw) < 2000 and all(len(part) <= 255 for part in raw.split(b"/"))
    return path if inside and possible else ""
