"""Processes that can be killed: nothing else stops a decoder that hangs on a broken file, or contains its crash."""

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
    """A new process that runs `serve(channel, *arguments)`, and the parent's end of the channel to it.

    The process ignores SIGINT and SIGTERM, which are sent to whole process groups. It ends with its parent: its end of
    the channel then raises EOFError or ConnectionError. Its warnings are logged in the parent, each text once.

    Args:
      serve, arguments: sent by cloudpickle, so functions defined in notebooks work too.
      descriptors: file descriptors that it inherits, under the same numbers.

    Raises:
      RuntimeError: the process did not start, or cannot load `serve` and `arguments`.
    """

    def __init__(self, serve: Callable, *arguments, descriptors: Sequence[int] = ()):
        import cloudpickle

        work = cloudpickle.dumps((serve, arguments))
        ours, theirs = socket.socketpair()
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", f"from actjax.data.loading.processes import run; run({theirs.fileno()})"],
                pass_fds=(theirs.fileno(), *descriptors),
                env=os.environ | {"PYTHONPATH": path},
            )
        self.pid, self.channel = self._process.pid, _Channel(ours.detach())
        try:
            self.channel.send_bytes(work)
            self.channel.recv()
        except (EOFError, OSError):
            raise RuntimeError(f"a worker process did not start: it ended with status {self.wait()}") from None

    def kill(self) -> None:
        """Kills the process, whatever it is doing."""
        self._process.kill()

    def wait(self) -> int:
        """Waits for the process to end -> its exit status, or minus the signal that ended it."""
        status = self._process.wait()
        self.channel.close()
        return status


class _Warning(NamedTuple):
    """A warning that a process logs between its answers."""

    text: str


class _Channel(Connection):
    """The parent's end: logs the process's warnings, receives everything else."""

    def recv(self):
        while isinstance(answer := super().recv(), _Warning):
            warn_once(answer.text)
        return answer


class _Forward(logging.Handler):
    """In the process: sends log records to the parent."""

    def __init__(self, channel: Connection):
        super().__init__(logging.WARNING)
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        self._channel.send(_Warning(record.getMessage()))


def run(descriptor: int) -> None:
    """The main function of the process: receives `serve` and its arguments and runs it, with OpenCV on one core."""
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
        return  # the parent is gone


class Deadline:
    """`with deadline:` kills the process if its body, since the last `renew`, takes more than `seconds`.

    The kernel kills it (SIGALRM), whatever lock a decoder holds. 0: no deadline.
    """

    def __init__(self, seconds: float):
        self._seconds = seconds

    def renew(self) -> None:
        """Restarts the clock."""
        if self._seconds:
            signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def pause(self) -> None:
        """Stops the clock until `renew`."""
        if self._seconds:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def __enter__(self) -> None:
        self.renew()

    def __exit__(self, *_) -> None:
        self.pause()


def blame(path: str, status: int, timeout: float) -> VideoError:
    """The error for the file that a process was reading when it ended with `status`."""
    if status == -signal.SIGALRM:
        return VideoTimeout(path, f"decoding took more than {timeout:g} s")
    return VideoError(path, f"the decoder crashed its process ({how(status)})")


def how(status: int) -> str:
    """The name of the signal that ended a process, or its exit status."""
    return signal.Signals(-status).name if status < 0 else f"status {status}"


def sendable(error: Exception) -> Exception:
    """The error with its traceback as a note, for another process to raise; a RuntimeError if it cannot be pickled."""
    text = f"{type(error).__name__}: {error}\n\nin another process:\n{traceback.format_exc()}"
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(text)
    error.add_note(text)
    return error
