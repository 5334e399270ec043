"""Names of files and folders, as users give them: local paths, or URLs of an object store.

A URL becomes an `etils.epath.Path`, which offers what `pathlib.Path` does; a local path stays a `pathlib.Path`. Object
stores hold whole files: nothing is appended to one, and no folder is renamed.
"""

import importlib.util
import os
import pathlib
import tempfile
from collections.abc import Callable

PACKAGES = {"gs": "gcsfs", "s3": "s3fs", "az": "adlfs"}  # what fsspec needs, by scheme


def is_url(path: str | os.PathLike) -> bool:
    """Whether it names something in an object store."""
    return "://" in os.fspath(path)


def to_path(path: str | os.PathLike, *more: str) -> pathlib.Path:
    """A path of `pathlib`, `~` expanded, or, for a URL, one of `etils.epath` with the same methods.

    Raises:
      ValueError: a scheme that is not in `PACKAGES`, or whose package is missing; says what to do.
    """
    if not is_url(path):
        return pathlib.Path(path, *more).expanduser()
    scheme = os.fspath(path).partition("://")[0]
    if scheme not in PACKAGES:
        raise ValueError(f"{path}: this can be local, or {sorted(PACKAGES)}://; copy it first")
    package = PACKAGES[scheme]
    if missing := [name for name in ("fsspec", package) if importlib.util.find_spec(name) is None]:
        raise ValueError(f"{path}: {scheme}:// needs {missing}; pip install 'actjax[remote]' {package}")
    import fsspec
    from etils import epath

    fsspec.config.conf.setdefault(scheme, {})["use_listings_cache"] = False  # checkpoints are written past fsspec
    return epath.Path(os.fspath(path), *more)


def local(path: str | os.PathLike, what: str) -> pathlib.Path:
    """The path of what only a disk can hold, `~` expanded. ValueError, which calls it `what`: it is a URL."""
    if is_url(path):
        raise ValueError(f"{what} {path} must be a local path; copy it from or to the object store by hand")
    return pathlib.Path(path).expanduser()


def absolute(path: pathlib.Path) -> pathlib.Path:
    """A local path made absolute; a URL is. (`epath` puts the current folder before it.)"""
    return path if is_url(path) else path.absolute()


def append(path: pathlib.Path, text: str) -> None:
    """Adds to a file; in an object store it is written again, so let only one process do it, and seldom."""
    if is_url(path):
        path.write_text((path.read_text() if path.exists() else "") + text)
    else:
        with path.open("a") as file:
            file.write(text)


class Spool:
    """Where files of a folder grow. For a local folder this is `path` itself.

    For a URL, `path` is a temporary folder, and `upload` copies what has changed in it; one process does this.
    """

    def __init__(self, folder: pathlib.Path):
        self.path, self._folder, self._uploaded = folder, folder, {}
        if is_url(folder):
            self._temporary = tempfile.TemporaryDirectory(prefix="actjax-")
            self.path = pathlib.Path(self._temporary.name)

    def file(self, name: str) -> pathlib.Path:
        """The file to append to, with what an earlier run wrote."""
        if self.path is not self._folder and (there := self._folder / name).exists():
            (self.path / name).write_bytes(there.read_bytes())
        return self.path / name

    def upload(self) -> None:
        """Makes the folder hold what has been written so far."""
        if self.path is self._folder:
            return
        for file in sorted(self.path.iterdir()):
            state = file.stat()
            stamp = state.st_size, state.st_mtime_ns
            if self._uploaded.get(file.name) != stamp:
                (self._folder / file.name).write_bytes(file.read_bytes())
                self._uploaded[file.name] = stamp


def replace(path: pathlib.Path, write: Callable) -> None:
    """Writes a file that is there completely or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        write(file)
    os.replace(temporary, path)
