"""Names of videos in two places -> which are the same: paths differ in their folders and suffixes."""

import collections
import pathlib
import re
from collections.abc import Callable, Iterator, Sequence

_SUFFIX = re.compile(r"\.(?=[0-9]*[A-Za-z])[A-Za-z0-9]{2,4}$")


def stem(name: str) -> str:
    """The last part of a path without the suffix of a file.

    >>> stem("run/v1.0_run.mp4"), stem("frames/v1.0_run")
    ('v1.0_run', 'v1.0_run')
    """
    return _SUFFIX.sub("", pathlib.PurePath(name).name)


def unique_stems(names: Sequence[str], where) -> list[str]:
    """The stem of each name. ValueError, which begins with `where`: two videos have the same."""
    stems = [stem(str(name)) for name in names]
    if twice := _repeated(stems):
        raise ValueError(f"{where}: several videos are named {twice!r}; their names must differ")
    return stems


def rows_of(names: Sequence[str], known: Sequence[str], where) -> list[int]:
    """For each of `names` the position of the same video in `known`.

    Names are compared by as many of their last folders as agree for all videos, with their suffixes or without:
    `run/0.mp4` is `/data/run/0.mp4`, and also the folder of its frames, `/flow/run/0`.

    >>> rows_of(["run/0.mp4", "walk/0.mp4"], ["/flow/walk/0", "/flow/run/0"], "scores.npz")
    [1, 0]

    Raises:
      ValueError, which begins with `where`: several videos cannot be told apart. KeyError: there is no such video.
    """
    names, known = [str(name) for name in names], [str(name) for name in known]
    if len(names) == len(known) and all(a == b or b.endswith(f"/{a}") for a, b in zip(names, known, strict=True)):
        return list(range(len(names)))  # though a video may be there twice, with other frames
    fault = None
    for key in _keys(max(name.count("/") for name in (*names, *known)) + 1):
        wanted, there = [*map(key, names)], [*map(key, known)]
        position = {name: row for row, name in enumerate(there)}
        missing = [name for name, own in zip(names, wanted, strict=True) if own not in position]
        twice = _repeated(there) or _repeated(wanted)
        if not missing and not twice:
            return [position[name] for name in wanted]
        if not twice:
            fault = KeyError(f"{where}: no scores for {len(missing)} of {len(names)} videos, {missing[0]!r} the first")
        elif fault is None or not (missing or _repeated(wanted)):
            fault = ValueError(f"{where}: several videos are named {twice!r}; scores are matched by file name")
    raise fault


def _keys(depth: int) -> Iterator[Callable[[str], str]]:
    """What names are compared by, from the whole path to the name of the file without its suffix."""
    for parts in range(depth, 0, -1):
        yield lambda name, parts=parts: "/".join(name.split("/")[-parts:])
        yield lambda name, parts=parts: "/".join([*name.split("/")[-parts:-1], stem(name)])


def _repeated(names: Sequence[str]) -> str | None:
    return next((name for name, times in collections.Counter(names).items() if times > 1), None)
