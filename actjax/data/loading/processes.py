"""Processes that can be killed: nothing else stops a decoder that hangs on a broken file, or contains its crash."""

import math
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection

from actjax.data.loading.endings import Ended
from actjax.data.loading.serving import Clock, Warned
from actjax.errors import warn_once

TICK = 1.0  # seconds between two looks at a silent process
GRACE = 5.0  # seconds that a process may outlive its deadline, or the wish to end it
START = 300.0  # seconds that a process may take to start


class GuardedProcess:
    """A new process that runs `serve(channel, *arguments)`, and the parent's end of the channel to it.

    The process ignores SIGINT and SIGTERM, which are sent to whole process groups. It ends with its parent: its end of
    the channel then raises EOFError or ConnectionError. Its warnings are logged in the parent, each text once.

    Args:
      serve, arguments: sent by cloudpickle, so functions defined in notebooks work too.
      timeout: seconds without a message, before the next one or a word of its `Deadline`, after which the process
        should have ended itself; it is killed a little later. 0: never.
      descriptors: file descriptors that it inherits, under the same numbers.
    """

    def __init__(self, serve: Callable, *arguments, timeout: float = 0.0, descriptors: Sequence[int] = ()):
        import cloudpickle

        self._limit = timeout + GRACE if timeout else math.inf
        work = cloudpickle.dumps((serve, arguments))
        ours, theirs = socket.socketpair()
        for option, seconds in ((socket.SO_SNDTIMEO, START), (socket.SO_RCVTIMEO, min(self._limit, START))):
            ours.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", math.ceil(seconds), 0))
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", f"from actjax.data.loading.serving import run; run({theirs.fileno()})"],
                pass_fds=(theirs.fileno(), *descriptors),
                env=os.environ | {"PYTHONPATH": path},
            )
        self.pid, self._channel, self._started = self._process.pid, Connection(ours.detach()), False
        self._looked, self._still = time.monotonic(), -math.inf  # when this process looked, or something stood still
        self._send(work)

    def send(self, message: bytes, *, idle: bool) -> None:
        """Sends a message, which the process can unpickle; `receive` says so if it is gone. `idle`: it owes nothing."""
        if idle:
            self._looked = time.monotonic()
        self._send(message)

    def _send(self, message: bytes) -> None:
        try:
            self._channel.send_bytes(message)
        except OSError:  # it is gone, or does not read
            self.kill()

    def receive(self):
        """The next message of the process.

        The time while this process was suspended does not count: a deadline that passed meanwhile is doubtful.

        Raises:
          Ended: the process ended, or did not answer and was killed.
        """
        silent, timed = 0.0, True
        while True:
            if not self._heard():
                stopped = _is_stopped(self.pid)
                silent += TICK if timed or stopped else 0.0
                self._still = self._looked if stopped else self._still
                if silent > (self._limit if self._started else START):
                    raise self._silenced()
                continue
            try:
                message = self._channel.recv()
            except BlockingIOError:  # in the middle of a message
                raise self._silenced() from None
            except (EOFError, OSError):
                raise self._ended() from None
            silent, self._started = 0.0, True
            if isinstance(message, Warned):
                warn_once(message.text)
            elif isinstance(message, Clock):
                timed = message.runs
            else:
                return message

    def _heard(self) -> bool:
        """Waits up to a tick for a message, and notices when it took much longer."""
        heard = self._channel.poll(TICK)
        before, self._looked = self._looked, time.monotonic()
        if self._looked - before > 2 * TICK:
            self._still = self._looked
        return heard

    def _silenced(self) -> Ended:
        self.kill()
        self.wait()
        return Ended(-signal.SIGALRM, doubtful=True, started=self._started)

    def _ended(self) -> Ended:
        status = self.wait()
        doubtful = status == -signal.SIGALRM and time.monotonic() - self._still < self._limit
        return Ended(status, doubtful=doubtful, started=self._started)

    def kill(self) -> None:
        """Kills the process, whatever it is doing."""
        self._process.kill()

    def wait(self) -> int:
        """Waits for the process to end -> its exit status, or minus the signal that ended it.

        Not for ever: one that does not end by itself is killed, and one that waits in the kernel for a dead file
        server, which ends only with that wait, is left behind.
        """
        status = -signal.SIGKILL
        for _ in range(2):
            try:
                status = self._process.wait(GRACE)
                break
            except subprocess.TimeoutExpired:
                self.kill()
        self._channel.close()
        return status


def _is_stopped(pid: int) -> bool:
    """Whether a process is stopped, by SIGSTOP for example; False where the system does not tell."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "Tt"
    except (OSError, IndexError):
        return False
