"""Names of videos in two places -> which are the same: paths differ in their folders and suffixes."""

import collections
import functools
import itertools
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from actjax.errors import MissingError

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
    if twice := repeated(stems):
        raise ValueError(f"{where}: several videos are named {twice!r}; their names must differ")
    return stems


def rows_of(names: Sequence[str], known: Sequence[str], where) -> list[int]:
    """For each of `names` the position of the same video in `known`.

    Names are compared as whole paths below the folder that all of a side share, then by as many of their last folders
    as agree for all videos, as long as these tell the videos apart; with their suffixes or without: `run/0.mp4` is
    `/data/run/0.mp4`, and also the folder of its frames, `/flow/run/0`.

    >>> rows_of(["run/0.mp4", "walk/0.mp4"], ["/flow/walk/0", "/flow/run/0"], "scores.npz")
    [1, 0]

    Raises:
      ValueError, which begins with `where`: several videos cannot be told apart. KeyError: there is no such video.
    """
    names, known = [str(name) for name in names], [str(name) for name in known]
    pairs = [*zip(names, known, strict=False)]
    in_order = len(names) == len(known) and all(a == b or b.endswith(f"/{a}") for a, b in pairs)
    if in_order and len({*pairs}) == len({*names}):
        return list(range(len(names)))  # though a video may be there twice, with other frames
    if twice := repeated(names):
        raise ValueError(f"the list has {twice!r} twice; remove one of the lines")
    if twice := repeated(known):
        raise ValueError(f"{where}: several videos are named {twice!r}; scores are matched by file name")
    stems = collections.defaultdict(list)  # of `known`
    for name in known:
        stems[stem(name)].append(name)
    probe = names[:: max(1, len(names) // 8)]  # few names tell whether a key can fit, before all are looked at
    for key, other in _keys(names, known):
        if any(key(name) not in map(other, stems.get(stem(name), ())) for name in probe):
            continue
        position = {name: row for row, name in enumerate(map(other, known))}
        wanted = [*map(key, names)]
        if len(position) == len(known) and len({*wanted}) == len(names) and all(name in position for name in wanted):
            return [position[name] for name in wanted]
    raise _fault(names, known, where)


def _fault(names: Sequence[str], known: Sequence[str], where) -> Exception:
    """Why names do not match: by as few of their last parts as tell `names` apart, one is missing, or there twice."""
    for count in range(1, 2 + max(name.count("/") for name in names)):
        part = functools.partial(_part, part=slice(-count, None), bare=True)
        wanted, there = [*map(part, names)], [*map(part, known)]
        if repeated(wanted):
            continue
        places = {*there}
        if missing := [name for name, own in zip(names, wanted, strict=True) if own not in places]:
            told = f"no scores for {len(missing)} of {len(names)} videos, {missing[0]!r} the first"
            return MissingError(f"{where}: {told}")
        return ValueError(f"{where}: several videos are named {repeated(there)!r}; scores are matched by file name")
    return ValueError(f"{where}: several videos are named {repeated(wanted)!r}; scores are matched by file name")


def _keys(names: Sequence[str], known: Sequence[str]) -> Iterator[tuple[Callable, Callable]]:
    """What names of both sides are compared by, from the whole path to the name of the file without its suffix."""
    parts = [slice(-count, None) for count in range(max(name.count("/") for name in (*names, *known)) + 1, 0, -1)]
    below = [(slice(0, None), slice(cut, None)) for cut in range(_shared(known) + 1)]
    below += [(slice(cut, None), slice(0, None)) for cut in range(1, _shared(names) + 1)]
    for left, right in (*below, *zip(parts, parts, strict=True)):
        yield functools.partial(_part, part=left), functools.partial(_part, part=right)
        yield functools.partial(_part, part=left, bare=True), functools.partial(_part, part=right, bare=True)


def _part(name: str, *, part: slice, bare: bool = False) -> str:
    folders = name.split("/")
    return "/".join([*folders[:-1], stem(name) if bare else folders[-1]][part])


def _shared(names: Sequence[str]) -> int:
    """The number of leading folders that all names share."""
    columns = zip(*(name.split("/")[:-1] for name in names), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda column: len({*column}) == 1, columns))


def repeated(names: Iterable[str]) -> str | None:
    """The first name that is there more than once; None: all differ."""
    return next((name for name, times in collections.Counter(names).items() if times > 1), None)
