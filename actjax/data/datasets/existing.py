"""The files of a data set are looked for at launch, before anything is compiled."""

import contextlib
import functools
import itertools
import json
import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from actjax.paths import canonical, check_scheme, check_url, does_not_exist, is_url, not_a_file
from actjax.text_files import read_lines

log = logging.getLogger("actjax")

_THREADS, _CHUNK = 32, 500
_LABEL = re.compile(r"\s\d+$")  # at the end of a path: of a line with two labels only the last was taken for one
_SERVERS = ("http://", "https://")
_URLS = 1000  # of each list that are looked for


def check_lists(
    lists: Mapping[str, Iterable[str]], *, prefix: str, max_broken: float, skip: str = "", folders: bool = False
) -> None:
    """Checks that the files of lists exist; warns of a few missing ones, which count as broken when they are read.

    Args:
      lists: the paths of each list, by its name for messages, such as "data.train=train.txt".
      prefix: where relative paths start from, for messages.
      max_broken: the share of the files that may be missing, `loader.max_broken`.
      skip: `loader.skip`, a file that names paths which do not count; "": none.
      folders: see `missing_files`.

    Raises:
      FileNotFoundError: more are missing, or all of a list. Others as `missing_files`.
    """
    skipped = _listed(skip) if skip else set()
    needed = {name: (path for path in paths if path not in skipped) for name, paths in lists.items()}
    looked = {name: _looked(name, paths, folders=folders) for name, paths in needed.items()}
    told = "; ".join(f"{name}: {_told(gone, count)}" for name, (gone, count) in looked.items() if gone)
    if not told:
        return
    several = any(_LABEL.search(path) for gone, _ in looked.values() for path in gone)
    told += "; lines with several labels need data.multi_class=True" * several
    share = sum(len(gone) for gone, _ in looked.values()) / sum(count for _, count in looked.values())
    if share > max_broken or any(gone and len(gone) == count for gone, count in looked.values()):
        why = f"This is more than loader.max_broken={max_broken:g} allows"
        if share <= max_broken:
            why = "A list of which no file exists is an error whatever loader.max_broken allows"
        raise FileNotFoundError(
            f"{told}; relative paths start from {prefix}. {why}; "
            "--mode=check --config.loader.max_broken=1 writes lists of the files that are sound"
        )
    log.warning("%s; they count as broken, which loader.max_broken=%g allows", told, max_broken)


def _looked(name: str, paths: Iterable[str], *, folders: bool) -> tuple[list[str], int]:
    """`missing_files`, with the name of the list in its errors."""
    try:
        return missing_files(paths, folders=folders)
    except (ValueError, FileNotFoundError) as error:
        raise type(error)(f"{name}: {error}") from error


def missing_files(paths: Iterable[str], *, folders: bool = False) -> tuple[list[str], int]:
    """The files, or folders, that do not exist, in their order, and the number of those that were looked for.

    Pipes, devices and sockets are neither. Each path counts once. Local ones are all looked for, of the URLs the first
    thousand.

    Args:
      folders: the paths are folders; those of web servers, which need not know of folders, are taken to exist.

    Raises:
      ValueError: a URL has a scheme that `paths` does not list, or the first one needs a package. FileNotFoundError: a
        URL cannot be reached.
    """
    once = dict.fromkeys(path for path in paths if not (folders and canonical(path).startswith(_SERVERS)))
    urls = [*itertools.islice(filter(is_url, once), _URLS)]
    for url in urls:
        check_scheme(url)
    for url in urls[:1]:
        check_url(url)
        _exists(url)  # before there are many that cannot be reached
    files = [*itertools.filterfalse(is_url, once)]
    parts = [files[k : k + _CHUNK] for k in range(0, len(files), _CHUNK)] + [[url] for url in urls]
    threads = ThreadPoolExecutor(_THREADS)  # each look at a file server takes a while
    try:
        missing = [path for part in threads.map(functools.partial(_missing, folders=folders), parts) for path in part]
    finally:
        threads.shutdown(cancel_futures=True)
    return missing, len(files) + len(urls)


def _told(missing: Sequence[str], count: int) -> str:
    """ "2 of 9 files do not exist: 'a.mp4', 'b.mp4' (is a device)", and of a relative path where it starts from."""
    first, start = ", ".join(map(_named, missing[:3])), does_not_exist(missing[0]).partition(" does not exist")[2]
    gone = f" files do not exist, such as {first}" if len(missing) > 3 else f" files do not exist: {first}"
    return f"{len(missing)} of {count}{gone}{start}"


def _named(path: str) -> str:
    kind = not_a_file(path)
    return f"{path!r} ({kind})" if kind else repr(path)


def _listed(skip: str) -> set[str]:
    """The paths in a quarantine file; one that cannot be read is an error when the quarantine is opened."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return {json.loads(line)["path"] for _, line in read_lines(skip, what="a quarantine file")}
    return set()


def _missing(paths: Sequence[str], *, folders: bool) -> list[str]:
    right = (None, "is a folder") if folders else (None,)
    return [path for path in paths if not _exists(path) or not_a_file(path) not in right]


def _exists(path: str) -> bool:
    if not is_url(path):
        return os.path.exists(path)
    import fsspec

    try:
        store, name = fsspec.core.url_to_fs(canonical(path))
        return store.exists(name)
    except Exception as error:  # each library of an object store has its own
        raise FileNotFoundError(f"{path} cannot be reached: {type(error).__name__}: {error}") from error
