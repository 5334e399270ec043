"""The process's side of a `GuardedProcess`: it serves requests, and tells its parent what it is doing."""

import logging
import pickle
import signal
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import NamedTuple

from actjax.data.loading.endings import excused
from actjax.video.errors import Unreachable, VideoError


class Warned(NamedTuple):
    """A warning that a process logs between its answers."""

    text: str


class Clock(NamedTuple):
    """Says that the process works, and whether a deadline runs."""

    runs: bool


class _Forward(logging.Handler):
    """In the process: sends log records to the parent."""

    def __init__(self, channel: Connection):
        super().__init__(logging.WARNING)
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        self._channel.send(Warned(record.getMessage()))


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
        channel.send(Clock(True))
        serve(channel, *arguments)
    except (EOFError, ConnectionError):
        return  # the parent is gone


class Deadline:
    """`with deadline:` kills the process if its body, since the last `renew`, takes more than `seconds`.

    The kernel kills it (SIGALRM), whatever lock a decoder holds. The kernel's clock runs on while the process is
    stopped; the parent knows better, see `GuardedProcess.receive`.

    Args:
      seconds: 0: no deadline.
      channel: to the parent, which is told of `renew` and `pause`.
    """

    def __init__(self, seconds: float, channel: Connection | None = None):
        self._seconds, self._channel = seconds, channel

    def renew(self) -> None:
        """Restarts the clock."""
        self._set(0)  # the parent may be slow to listen
        self._tell(True)
        self._set(self._seconds)

    def pause(self) -> None:
        """Stops the clock until `renew`, or the end of the body."""
        self._set(0)
        self._tell(False)

    def __enter__(self) -> None:
        self._set(self._seconds)

    def __exit__(self, *_) -> None:
        self._set(0)

    def _set(self, seconds: float) -> None:
        if self._seconds:
            signal.setitimer(signal.ITIMER_REAL, seconds)

    def _tell(self, runs: bool) -> None:
        if self._channel:
            self._channel.send(Clock(runs))


class _Gone(Exception):
    """The other side of the channel is gone."""


def serve(channel: Connection, work: Callable, timeout: float) -> None:
    """The process's side: sends the pairs that `Worker.receive` returns."""
    deadline = Deadline(timeout, channel)
    while True:
        message = channel.recv_bytes()
        try:
            with deadline:
                answer = work(pickle.loads(message), deadline)
            if isinstance(answer, Iterator):
                answer = _sending(channel, answer, deadline)
        except (VideoError, Unreachable) as error:
            answer = excused(error)
        except _Gone:
            return
        except Exception as error:  # a bug, which the caller raises again
            answer = _sendable(error)
        try:
            _send(channel, True, answer)
        except _Gone:
            return
        except Exception as error:  # an answer that cannot be pickled
            _send(channel, True, _sendable(error))


def _send(channel: Connection, last: bool, value) -> None:
    message = ForkingPickler.dumps((last, value))
    try:
        channel.send_bytes(message)
    except ConnectionError as error:  # caught here alone, because reading a video over a network may raise it too
        raise _Gone from error


def _sending(channel: Connection, parts: Iterator, deadline: Deadline):
    """Sends every part -> the value that the generator returns. No deadline runs while a part waits to be taken."""
    while True:
        try:
            with deadline:
                part = next(parts)
        except StopIteration as stop:
            return stop.value
        _send(channel, False, part)


def _sendable(error: Exception) -> Exception:
    """The error with its traceback as a note, for another process to raise; a RuntimeError if it cannot be pickled."""
    text = f"{type(error).__name__}: {error}\n\nin another process:\n{traceback.format_exc()}"
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(text)
    error.add_note(text)
    return error
