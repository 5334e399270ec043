"""Writes a sample set on first use, complete or not at all."""

import contextlib
import hashlib
import multiprocessing
import os
import pathlib
import shutil
import sys
import tempfile
import types
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

from actjax.paths import cache_folder


def made_once(folder: str | os.PathLike | None, name: str, *, marker: str, code: str, write: Callable) -> pathlib.Path:
    """The folder of a sample set; calls `write(folder)` if it does not exist.

    Args:
      folder: target folder; None: NAME-DIGEST in `$ACTJAX_CACHE` or `~/.cache/actjax`, with the digest of `code`.
      name: of the set, including the numbers it depends on.
      marker: a file that the complete set contains.
      code: the source file that generates the set; a change of it starts a new set.

    The set is written to a temporary folder beside its own and moved at the end.

    Raises:
      ValueError: `folder` holds a set of another name, that is, of other numbers.
    """
    if folder is None:
        digest = hashlib.sha256(pathlib.Path(code).read_bytes()).hexdigest()[:8]
        folder = cache_folder() / f"{name}-{digest}"
    folder = pathlib.Path(folder)
    if (folder / marker).exists():
        return _checked(folder, name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = pathlib.Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    building.chmod(0o755)  # mkdtemp makes it private
    try:
        write(building)
        (building / _NAME).write_text(name)
        os.replace(building, folder)
    except OSError:
        if not (folder / marker).exists():  # otherwise another process was faster, and its set is the same
            raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder


_NAME = "sample_set.txt"  # the file with the name of the set; sets of earlier versions have none


def _checked(folder: pathlib.Path, name: str) -> pathlib.Path:
    found = (folder / _NAME).read_text() if (folder / _NAME).exists() else name
    if found != name:
        raise ValueError(f"{folder} holds the sample set {found}, not {name}; choose another data.folder, or delete it")
    return folder


def in_processes(function: Callable, jobs: Sequence, *, processes: int | None, chunksize: int) -> list:
    """`[function(job) for job in jobs]`, computed in new processes; `None`: one per core.

    A script that calls this needs no `if __name__ == "__main__"`.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes or os.cpu_count(), mp_context=context) as pool:
        with _main_hidden():
            results = pool.map(function, jobs, chunksize=chunksize)
        return list(results)


@contextlib.contextmanager
def _main_hidden() -> Iterator[None]:
    """A context in which new processes do not run the user's script, which would start processes of its own."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
