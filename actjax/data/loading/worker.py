"""A process of a pool, replaced whenever it ends."""

import collections
import threading
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from typing import Any

from actjax.data.loading.endings import Ended, retry
from actjax.data.loading.processes import GuardedProcess
from actjax.video.errors import Unreachable


class Worker:
    """Holds one process at a time, and the requests that were not answered yet."""

    def __init__(self, start: Callable[[], GuardedProcess]):
        self._start, self._closed = start, threading.Event()
        self._owed: collections.deque[bytes] = collections.deque()
        self._begin()
        self.process: GuardedProcess | None = None

    def _begin(self) -> None:
        """Of the oldest request: how often it was served in vain, the parts received and, of them, by this process."""
        self._tries, self._given, self._parts, self._part = 0, 0, 0, None

    def send(self, request) -> None:
        """Sends the process a request. If there is none, `receive` starts one."""
        message = ForkingPickler.dumps(request)
        if self.process:
            self.process.send(message, idle=not self._owed)
        self._owed.append(message)

    def receive(self) -> tuple[bool, Any]:
        """(False, next part of the oldest answer) or (True, its end). Raises the errors of `GuardedPool.stream`."""
        try:
            while (answer := self._receive()) is None:
                pass
            return answer
        except Exception:
            self._finished()
            raise

    def _receive(self) -> tuple[bool, Any] | None:
        """None: try again."""
        if self.process is None and not self._closed.is_set():
            self._parts, self._part, self.process = 0, None, self._start()
            for message in self._owed:
                self.process.send(message, idle=False)
        if self._closed.is_set():  # perhaps during the start
            raise closed()
        try:
            last, value = self.process.receive()
        except Ended as ended:
            value = ended
        if isinstance(value, Ended | Unreachable):
            self._retry(value)
            return None
        if isinstance(value, Exception):
            raise value
        if last:
            self._finished()
            return True, value
        self._parts, self._part = self._parts + 1, value
        if self._parts <= self._given:  # the caller has it from an earlier process
            return None
        self._given, self._tries = self._parts, 0
        return False, value

    def _retry(self, error: Ended | Unreachable) -> None:
        """Waits, until another process should try again. Raises an error if none should."""
        self._drop()
        if self._closed.is_set():
            raise closed()
        self._tries += 1
        error.part = self._part
        self._closed.wait(retry(error, self._tries))

    def _finished(self) -> None:
        self._owed.popleft()
        self._begin()

    def close(self) -> None:
        """Kills the process, whatever it is doing; no other is started."""
        self._closed.set()
        if process := self.process:
            process.kill()

    def stop_if_busy(self) -> None:
        """Kills a process that still owes answers, or whose pool was closed."""
        if self._owed or self._closed.is_set():
            self._drop()
            self._owed.clear()
            self._begin()

    def _drop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


def closed() -> RuntimeError:
    """The error of requests to a pool that was closed."""
    return RuntimeError("the readers were closed")
