"""A pool of processes that can be killed, used to read clips and snippets and to write shards.

A process serves one request at a time. If it misses its deadline or crashes, the current request fails and the next
request starts a new process.
"""

import contextlib
import functools
import pickle
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from actjax.data.loading.processes import Deadline, GuardedProcess, blame, sendable
from actjax.video.errors import VideoError


class Ended(Exception):
    """A process ended during a request; `status` is its exit status, or minus the signal that killed it."""

    def __init__(self, status: int):
        super().__init__(f"a process ended with status {status}")
        self.status = status


class GuardedPool:
    """At most `num` processes, started by the first requests. Thread-safe.

    Args:
      work: runs in a process. `work(request, deadline)` returns the answer, or is a generator that yields its parts
        and returns the final value. A VideoError that it raises is an answer, too.
      timeout: seconds that a process may take for a part before it is killed; 0: no deadline. `work` may renew or
        pause the deadline.
      descriptors: file descriptors that the processes inherit.
    """

    def __init__(self, work: Callable, num: int, *, timeout: float, descriptors: Sequence[int] = ()):
        start = functools.partial(GuardedProcess, _serve, work, timeout, descriptors=descriptors)
        self._timeout, self._closed, self._lock = timeout, False, threading.Lock()
        self._workers = [_Worker(start) for _ in range(num)]
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        self._jobs: queue.SimpleQueue[tuple | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        for worker in self._workers:
            self._idle.put(worker)

    def stream(self, request) -> Iterator:
        """Yields the parts of the answer as they arrive, and returns the final value; the process waits for the caller.

        Raises:
          Ended: the process ended. RuntimeError: it did not start, or the pool was closed. Also any error of `work`.
        """
        worker = self._idle.get()
        try:
            return (yield from worker.ask(request))
        finally:
            worker.stop_if_busy()  # unread parts would be taken for the answer to the next request
            self._idle.put(worker)

    def submit(self, request, *, path: str) -> Future:
        """A future of the answer's final value.

        `result()` raises the errors of `stream`, except that a process that ends raises a VideoError with `path`.
        """
        future: Future = Future()
        with self._lock:
            if self._closed:
                future.set_exception(_closed())
                return future
            if len(self._threads) < len(self._workers):
                self._threads.append(threading.Thread(target=self._serve_jobs, daemon=True, name="pool"))
                self._threads[-1].start()
            self._jobs.put((future, request, path))
        return future

    def pids(self) -> list[int]:
        """The IDs of the running processes."""
        return [worker.process.pid for worker in self._workers if worker.process]

    def close(self) -> None:
        """Kills the processes, even in the middle of a request."""
        with self._lock:
            self._closed = True
        for worker in self._workers:
            worker.close()
        for _ in self._threads:
            self._jobs.put(None)  # after the waiting jobs, which now fail at once
        for thread in self._threads:
            thread.join()
        for _ in self._workers:
            with contextlib.suppress(queue.Empty):  # a thread that still holds a worker waits for its process itself
                self._idle.get_nowait().stop_if_busy()

    def _serve_jobs(self) -> None:
        while job := self._jobs.get():
            future, request, path = job
            try:
                future.set_result(_end(self.stream(request)))
            except Ended as end:
                future.set_exception(_closed() if self._closed else blame(path, end.status, self._timeout))
            except Exception as error:
                future.set_exception(error)


class _End(NamedTuple):
    """The last message of an answer."""

    value: Any


class _Worker:
    """Runs one process at a time, and replaces it when it ends."""

    def __init__(self, start: Callable[[], GuardedProcess]):
        self._start, self._busy, self._closed = start, False, False
        self.process: GuardedProcess | None = None

    def ask(self, request) -> Iterator:
        """Yields the parts of an answer and returns the final value. Raises Ended, or any error of the process."""
        import cloudpickle

        work = cloudpickle.dumps(request)
        self._begin()
        with contextlib.suppress(OSError):  # the process has ended; `_receive` raises its status
            self.process.channel.send_bytes(work)
        while not isinstance(answer := self._receive(), _End | Exception):
            yield answer
        self._busy = False
        if isinstance(answer, Exception):
            raise answer
        return answer.value

    def close(self) -> None:
        """Kills the process, whatever it is doing, and starts no new one."""
        self._closed = True
        if process := self.process:
            process.kill()

    def stop_if_busy(self) -> None:
        """Kills a process that is still answering, or whose pool was closed."""
        if self.process and (self._busy or self._closed):
            self.process.kill()
            self._wait()

    def _begin(self) -> None:
        if self.process is None and not self._closed:
            self.process = self._start()
        if self._closed:  # perhaps just now, by another thread
            raise _closed()
        self._busy = True

    def _receive(self):
        try:
            return self.process.channel.recv()
        except (EOFError, OSError):
            raise Ended(self._wait()) from None

    def _wait(self) -> int:
        status, self.process, self._busy = self.process.wait(), None, False
        return status


def _end(parts: Iterator):
    """The final value of an answer; discards the parts."""
    while True:
        try:
            next(parts)
        except StopIteration as stop:
            return stop.value


def _closed() -> RuntimeError:
    return RuntimeError("the readers were closed")


def _serve(channel: Connection, work: Callable, timeout: float) -> None:
    """The main loop of a process."""
    deadline = Deadline(timeout)
    while True:
        request = pickle.loads(channel.recv_bytes())
        try:
            with deadline:
                answer = work(request, deadline)
                answer = _End(_sending(channel, answer, deadline) if isinstance(answer, Iterator) else answer)
        except VideoError as error:
            answer = error
        except (EOFError, ConnectionError):
            raise
        except Exception as error:  # a bug; raised again in the requesting process
            answer = sendable(error)
        channel.send(answer)


def _sending(channel: Connection, parts: Iterator, deadline: Deadline):
    """Sends every part -> the generator's return value. The deadline pauses while the receiver is busy."""
    while True:
        try:
            part = next(parts)
        except StopIteration as stop:
            return stop.value
        deadline.pause()
        channel.send(part)
        deadline.renew()
