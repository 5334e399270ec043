"""Paths that users give: local paths, or URLs of an object store.

A URL becomes an `etils.epath.Path`, which has the methods of `pathlib.Path`; a local path becomes a `pathlib.Path`.
Object stores keep whole files: they cannot append to a file or rename a folder.
"""

import contextlib
import importlib.util
import itertools
import os
import pathlib
import stat
import tempfile
from collections.abc import Callable

# The package that fsspec needs for each scheme: of object stores, which have folders and hold lists and workdirs too,
# and of what a single video or picture may be read from.
PACKAGES = {"gs": "gcsfs", "s3": "s3fs", "az": "adlfs"}
_OF_FILES = {"http": "aiohttp", "https": "aiohttp", "gcs": "gcsfs", "abfs": "adlfs", "hf": "huggingface_hub"}
_OF_FILES |= {"memory": "fsspec"}
_INSTALLED = {"fsspec", "gcsfs", "aiohttp"}  # by actjax[remote]


def is_url(path: str | os.PathLike) -> bool:
    """Whether `path` is in an object store."""
    return "://" in os.fspath(path)


def canonical(url: str | os.PathLike) -> str:
    """A URL with its scheme in small letters, since its case says nothing; a path as it is.

    >>> canonical("HTTPS://host/A.mp4"), canonical("A.mp4")
    ('https://host/A.mp4', 'A.mp4')
    """
    scheme, mark, rest = os.fspath(url).partition("://")
    return f"{scheme.lower()}://{rest}" if mark else scheme


def to_path(path: str | os.PathLike, *more: str) -> pathlib.Path:
    """A `pathlib.Path` with `~` expanded, or an `etils.epath.Path` for a URL.

    Raises:
      ValueError: a scheme that is not in `PACKAGES` or whose package is not installed; says what to do.
    """
    if not is_url(path):
        return pathlib.Path(path, *more).expanduser()
    scheme = _scheme(path, PACKAGES)
    _check_packages(path, PACKAGES[scheme])
    import fsspec
    from etils import epath

    fsspec.config.conf.setdefault(scheme, {})["use_listings_cache"] = False  # checkpoints bypass fsspec
    return epath.Path(canonical(path), *more)


def does_not_exist(path: str | os.PathLike) -> str:
    """The end of an error message about a file; for a relative path with the folder that it starts from."""
    if not is_url(path) and os.path.isdir(path):
        return f"{os.fspath(path)} is a folder"
    relative = not is_url(path) and not os.path.isabs(path)
    return f"{os.fspath(path)} does not exist{f' in {os.getcwd()}' if relative else ''}"


_KINDS = {
    stat.S_IFDIR: "is a folder",
    stat.S_IFCHR: "is a device",
    stat.S_IFBLK: "is a device",
    stat.S_IFIFO: "is a named pipe",
    stat.S_IFSOCK: "is a socket",
}


def not_a_file(path: str | os.PathLike) -> str | None:
    """What a local path, or the target of a link, is instead of a file: "is a folder", "is a device", "is a named
    pipe" or "is a socket". None: a file, nothing, or a URL. It is not opened: a pipe may never answer, a device never
    end.

    >>> not_a_file("/"), not_a_file("/dev/zero"), not_a_file("/none.mp4")
    ('is a folder', 'is a device', None)
    """
    try:
        return None if is_url(path) else _KINDS.get(stat.S_IFMT(os.stat(path).st_mode))
    except (OSError, ValueError):
        return None


def check_scheme(url: str | os.PathLike) -> str:
    """The scheme of a URL of a video or picture. ValueError: another one, or several as in `zip://a::http://b`."""
    return _scheme(url, PACKAGES | _OF_FILES)


def check_url(url: str | os.PathLike) -> None:
    """Checks that a video or picture can be read from URLs of this kind. ValueError: as `check_scheme`, or a package is
    missing."""
    _check_packages(url, (PACKAGES | _OF_FILES)[check_scheme(url)])


def _scheme(url: str | os.PathLike, packages: dict[str, str]) -> str:
    scheme = canonical(url).partition("://")[0]
    if scheme not in packages or "::" in os.fspath(url):
        raise ValueError(f"{_cut(url)}: must be a local path, or {sorted(packages)}://; copy it first")
    return scheme


def _check_packages(url: str | os.PathLike, package: str) -> None:
    if missing := [name for name in dict.fromkeys(("fsspec", package)) if importlib.util.find_spec(name) is None]:
        more = "" if package in _INSTALLED else f" {package}"
        raise ValueError(f"{_cut(url)}: needs {missing}; pip install 'actjax[remote]'{more}")


def _cut(url: str | os.PathLike) -> str:
    text = os.fspath(url)
    return text if len(text) <= 100 else f"{text[:100]}..."


def local(path: str | os.PathLike, what: str) -> pathlib.Path:
    """A path that must be on a local disk, `~` expanded. ValueError, naming it `what`: it is a URL."""
    if is_url(path):
        raise ValueError(f"{what} {path} must be a local path; copy it from or to the object store by hand")
    return pathlib.Path(path).expanduser()


def cache_folder() -> pathlib.Path:
    """`$ACTJAX_CACHE`, or `~/.cache/actjax`: sample sets, and digests of code that the user ran."""
    return pathlib.Path(os.environ.get("ACTJAX_CACHE") or "~/.cache/actjax").expanduser()


def absolute(path: pathlib.Path) -> pathlib.Path:
    """Makes a local path absolute; leaves URLs alone, which `epath` would prefix with the current folder."""
    return path if is_url(path) else path.absolute()


def append(path: pathlib.Path, text: str) -> None:
    """Appends to a file. In an object store this rewrites the file: do it rarely, and from one process."""
    if is_url(path):
        path.write_text((path.read_text() if path.exists() else "") + text)
    else:
        with path.open("a") as file:
            file.write(text)


class Spool:
    """A folder whose files grow. For a local folder, `path` is the folder itself.

    For a URL, `path` is a temporary folder, and `upload` copies the files that have changed. Use it from one process.
    """

    def __init__(self, folder: pathlib.Path):
        self.path, self._folder, self._uploaded = folder, folder, {}
        if is_url(folder):
            self._temporary = tempfile.TemporaryDirectory(prefix="actjax-")
            self.path = pathlib.Path(self._temporary.name)

    def file(self, name: str) -> pathlib.Path:
        """The file to append to; starts with the contents from an earlier run."""
        if self.path is not self._folder and (there := self._folder / name).exists():
            (self.path / name).write_bytes(there.read_bytes())
        return self.path / name

    def upload(self) -> None:
        """Copies changed files to the folder."""
        if self.path is self._folder:
            return
        for file in sorted(self.path.iterdir()):
            state = file.stat()
            stamp = state.st_size, state.st_mtime_ns
            if self._uploaded.get(file.name) != stamp:
                (self._folder / file.name).write_bytes(file.read_bytes())
                self._uploaded[file.name] = stamp


@contextlib.contextmanager
def naming(path: pathlib.Path):
    """Puts a file's name into errors of the system that have none."""
    try:
        yield
    except OSError as error:
        if error.errno and error.filename is None:
            error.filename = str(path)
        raise


def replace(path: pathlib.Path, write: Callable) -> None:
    """Writes a file atomically."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            write(file)
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno and error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise


def unused(path: pathlib.Path) -> pathlib.Path:
    """`path`, or if it exists, the first of `path1`, `path2`, ... that does not."""
    names = itertools.chain([path.name], (f"{path.name}{k}" for k in itertools.count(1)))
    return next(free for name in names if not (free := path.with_name(name)).exists())


def rewrite(path: pathlib.Path, text: str) -> None:
    """Writes a text file, whose earlier content stays until the new one is complete, even if the disk is full."""
    if is_url(path):
        path.write_text(text)
    else:
        replace(path, lambda file: file.write(text.encode()))
