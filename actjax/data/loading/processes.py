"""Processes that can be killed: decoders hang or crash on some broken files, and nothing else stops them."""

import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import NamedTuple

from actjax.errors import warn_once
from actjax.video.errors import VideoError, VideoTimeout


class GuardedProcess:
    """A fresh process that runs `serve(channel, *arguments)`, and our end of the channel to it.

    It ignores SIGINT and SIGTERM, which go to whole groups, and ends when this side is gone: then its end of the
    channel raises EOFError or ConnectionError. Its warnings are logged here, each text once.

    Args:
      serve, arguments: travel by cloudpickle, so those of notebooks do, too.
      descriptors: of files that it inherits, under the same numbers.

    Raises:
      RuntimeError: the process does not start, or cannot load `serve` and `arguments`.
    """

    def __init__(self, serve: Callable, *arguments, descriptors: Sequence[int] = ()):
        import cloudpickle

        work = cloudpickle.dumps((serve, arguments))
        ours, theirs = socket.socketpair()
        path = os.pathsep.join(filter(None, sys.path))
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"from actjax.data.loading.processes import run; run({theirs.fileno()})"],
                pass_fds=(theirs.fileno(), *descriptors),
                env=os.environ | {"PYTHONPATH": path},
            )
        self.pid, self.channel = self._process.pid, _Channel(ours.detach())
        try:
            self.channel.send_bytes(work)
            self.channel.recv()
        except (EOFError, OSError):
            raise RuntimeError(f"a process does not start; it ended with status {self.wait()}") from None

    def kill(self) -> None:
        """Ends it, whatever it does."""
        self._process.kill()

    def wait(self) -> int:
        """Its exit status once it has ended; minus the signal that ended it."""
        status = self._process.wait()
        self.channel.close()
        return status


class _Warning(NamedTuple):
    """What a process has to say beside its answers."""

    text: str


class _Channel(Connection):
    """Our end: warnings of the other side are logged, all else is received."""

    def recv(self):
        while isinstance(answer := super().recv(), _Warning):
            warn_once(answer.text)
        return answer


class _Forward(logging.Handler):
    """The process's side: sends its log to the other one."""

    def __init__(self, channel: Connection):
        super().__init__(logging.WARNING)
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        self._channel.send(_Warning(record.getMessage()))


def run(descriptor: int) -> None:
    """The process's side: does what it is sent, on one core."""
    import cv2

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    cv2.setNumThreads(1)
    channel = Connection(descriptor)
    logging.getLogger("actjax").addHandler(_Forward(channel))
    try:
        serve, arguments = pickle.loads(channel.recv_bytes())
        channel.send("ready")
        serve(channel, *arguments)
    except (EOFError, ConnectionError):
        return  # the other side is gone


class Deadline:
    """`with deadline:` ends the process when what is done there, since the last `renew`, takes more than `seconds`.

    The kernel does it (SIGALRM), whatever lock a decoder holds. 0: no deadline.
    """

    def __init__(self, seconds: float):
        self._seconds = seconds

    def renew(self) -> None:
        """The time starts anew."""
        if self._seconds:
            signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def pause(self) -> None:
        """No time runs, until `renew`."""
        if self._seconds:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def __enter__(self) -> None:
        self.renew()

    def __exit__(self, *_) -> None:
        self.pause()


def blame(path: str, status: int, timeout: float) -> VideoError:
    """What is wrong with the file that a process read when it ended with `status`."""
    if status == -signal.SIGALRM:
        return VideoTimeout(path, f"decoding took more than {timeout:g} s")
    return VideoError(path, f"the decoder crashed its process ({how(status)})")


def how(status: int) -> str:
    """The name of the signal that ended a process, or its exit status."""
    return signal.Signals(-status).name if status < 0 else f"status {status}"


def sendable(error: Exception) -> Exception:
    """The error with its traceback as text, which other processes can raise; of its text if it does not travel."""
    text = f"{type(error).__name__}: {error}\n\nin another process:\n{traceback.format_exc()}"
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(text)
    error.add_note(text)
    return error
