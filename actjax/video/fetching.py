"""Files at URLs -> their bytes; tells a network that is gone from a file that is."""

import contextlib
import errno
import io
import os
import signal
import threading
from collections.abc import Iterator

from actjax.limits import too_large
from actjax.paths import canonical, check_scheme
from actjax.video.errors import Unreachable

_LIBRARIES = {"aiohttp", "azure", "botocore", "gcsfs", "google", "httpx", "requests", "urllib3"}  # behind fsspec
_CHUNK = 2**20  # bytes read at a time
_ERRNOS = {
    getattr(errno, name)
    for name in (
        "ECONNABORTED", "ECONNREFUSED", "ECONNRESET", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETRESET",
        "ENETUNREACH", "ENOTCONN", "EPIPE", "ESHUTDOWN", "ESTALE", "ETIMEDOUT",
    )
    if hasattr(errno, name)
}  # fmt: skip


def fetch(url: str, *, limit: str = "ACTJAX_MAX_DOWNLOAD_MB") -> bytes:
    """The content of the file at a URL. limit: the row of `actjax.limits.LIMITS` that it is held against.

    Raises:
      OSError, ValueError: there is no such file, it must not be read, it is above the limit, or it has a scheme that
        `actjax.paths` does not list. Unreachable: the network is gone, or the server does not work, or did not answer
        before the deadline of this process. ImportError: a package is missing.
    """
    scheme = check_scheme(url)
    streaming = {"block_size": 0} if scheme.startswith("http") else {}  # whatever the server says of the file's size
    try:
        import fsspec
    except ImportError as error:
        raise ImportError(f"{url}: URLs need fsspec; pip install 'actjax[remote]'") from error
    try:
        with _deadline_raises(url), fsspec.filesystem(scheme).open(canonical(url), "rb", **streaming) as file:
            return _content(file, limit)
    except Exception as error:
        if fault := network_fault(error):
            raise Unreachable(url, fault) from error
        if isinstance(error, FileNotFoundError) or _status(error) in (404, 410):  # its text is the URL alone
            raise FileNotFoundError("there is no such file") from error
        if status := _status(error):
            raise OSError(f"the server answers {status} {getattr(error, 'message', '')}".strip()) from error
        raise


def _content(file, limit: str) -> bytes:
    """Reads a file. OSError: it is above the limit, by its size, or if that is not known, by what came so far."""
    if size := getattr(file, "size", None):
        _check(size, limit)
        return file.read()
    out = io.BytesIO()
    while chunk := file.read(_CHUNK):
        out.write(chunk)
        _check(out.tell(), limit)
    return out.getvalue()


def _check(size: int, limit: str) -> None:
    if above := too_large(size / 1e6, limit):
        raise OSError(f"size in MB: {above}")


def network_fault(error: BaseException | None) -> str:
    """What the network or a server did, if that is behind an error; "": nothing.

    >>> network_fault(FileNotFoundError("a.mp4")), network_fault(ConnectionResetError("reset"))
    ('', 'reset')
    """
    while error is not None:
        if isinstance(error, Unreachable):
            return error.reason
        if _is_of_network(error):
            return str(error) or type(error).__name__
        error = error.__cause__ or error.__context__  # fsspec calls a file missing whose server is
    return ""


def _is_of_network(error: BaseException) -> bool:
    if status := _status(error):
        return status >= 500 or status in (408, 429)
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _ERRNOS or isinstance(error, ConnectionError | TimeoutError)
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    return type(error).__module__.partition(".")[0] in _LIBRARIES and not isinstance(error, ValueError)


def _status(error: BaseException) -> int:
    """The status of an HTTP error; 0: there is none."""
    found = getattr(error, "status", None) or getattr(error, "code", None)
    return found if isinstance(found, int) and 400 <= found < 600 else 0


@contextlib.contextmanager
def _deadline_raises(url: str) -> Iterator[None]:
    """In a reader process: a deadline that passes meanwhile raises Unreachable. It would kill the process otherwise,
    and the video would count as one that hangs its decoder."""
    ours = threading.current_thread() is threading.main_thread() and signal.getitimer(signal.ITIMER_REAL)[0] > 0
    if not ours or signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL:
        yield
        return

    def late(number, frame):
        raise Unreachable(url, "no answer before the deadline")

    signal.signal(signal.SIGALRM, late)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def is_missing(path: str | os.PathLike) -> bool:
    """Whether there is nothing at a local path. Unreachable: the file server behind it does not answer."""
    try:
        os.stat(path)
    except OSError as error:
        if error.errno in _ERRNOS:
            raise Unreachable(os.fspath(path), error.strerror) from error
        return True
    except ValueError:  # no path
        return True
    return False
