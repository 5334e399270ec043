"""Whether the files of a run can be written, found out before anything is computed."""

import errno
import os
import pathlib
import tempfile

from actjax.errors import StorageError, storage_fault
from actjax.paths import is_url

_OF_FILES = (".json", ".jsonl", ".csv", ".npz", ".log", ".lock")
_OF_FOLDERS = ("checkpoints", "checkpoints.damaged")
_EXTENDED = ("train.log", "metrics.jsonl", "quarantine.jsonl")  # other files are replaced by new ones


def check_writable(workdir: pathlib.Path, mode: str) -> None:
    """Raises StorageError if `workdir` or its checkpoints cannot be written, or a file of a run is a folder there.

    A workdir that does not exist yet passes, and so do object stores.

    Args:
      mode: which writes results to `workdir`, for the error.
    """
    if is_url(workdir) or not workdir.is_dir():
        return
    try:
        for folder in (workdir, workdir / "checkpoints"):
            if folder.is_dir():
                _try(folder)
        for path in sorted(workdir.iterdir()):
            is_folder = path.is_dir()
            if is_folder and (path.suffix in _OF_FILES or path.name in _OF_FILES):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
            if not is_folder and path.name in _OF_FOLDERS:
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
            if path.name in _EXTENDED and not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    except OSError as error:
        raise StorageError(
            f"{storage_fault(error) or error}; --mode={mode} writes to the workdir. Fix this, or use a copy of the run"
        ) from error


def check_target(path: pathlib.Path) -> None:
    """Raises StorageError unless the file `path` of predictions can be made, whose folder need not exist yet."""
    if is_url(path):
        return
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    try:
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        _try(folder)
    except OSError as error:
        fault = storage_fault(error) or error
        raise StorageError(
            f"predictions cannot be written to {path}: {fault}; --out=FILE.jsonl takes another place"
        ) from error


def _try(folder: pathlib.Path) -> None:
    """Makes a file in `folder` and removes it. OSError: it cannot be made."""
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        error.filename = str(folder)
        raise
