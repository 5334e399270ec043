"""One training process at a time in a workdir."""

import contextlib
import errno
import fcntl
import json
import logging
import os
import pathlib
import socket
from collections.abc import Iterator

from actjax.errors import StorageError, storage_fault
from actjax.paths import is_url

log = logging.getLogger("actjax")

FILE = ".lock"
_UNABLE = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)


class LockedError(RuntimeError):
    """Another process trains in the workdir."""

    clear = True  # see `errors.clear_errors`


@contextlib.contextmanager
def locked(workdir: pathlib.Path) -> Iterator[None]:
    """A context in which no other process, on any host that shares the disk, can enter one for `workdir`.

    The system gives the lock back when the process ends, however it ends. Object stores have no locks.

    Raises:
      LockedError: another process is in the context; the message names it.
      StorageError: `workdir` cannot be made or written.
    """
    if is_url(workdir):
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context((workdir / FILE).open("a+"))
        except OSError as error:
            raise StorageError(f"workdir {workdir}: {storage_fault(error) or error.strerror}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(_told(workdir, file)) from None
        except OSError as error:
            if error.errno not in _UNABLE:
                raise
            log.warning("%s: this disk has no locks (%s); start one training at a time here", workdir, error.strerror)
        with contextlib.suppress(OSError):  # a full disk
            file.truncate(0)
            file.write(json.dumps({"process": os.getpid(), "host": socket.gethostname()}))
            file.flush()
        yield


def _told(workdir: pathlib.Path, file) -> str:
    try:
        file.seek(0)
        owner = json.loads(file.read())
        who = f"process {owner['process']} on {owner['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        who = "another process"
    return f"{workdir} is in use: {who} trains in it; wait until it finishes, or choose another --workdir"
