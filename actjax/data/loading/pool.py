"""A pool of processes that can be killed, used to read clips and snippets and to write shards.

A process serves one request after another. If it ends, by its deadline or a crash, the current request fails and the
next request starts a new process.
"""

import collections
import contextlib
import functools
import pickle
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

from actjax.data.loading.processes import Deadline, GuardedProcess, blame, sendable
from actjax.video.errors import VideoError


class Ended(Exception):
    """A process ended while working; `status` is its exit status, or minus the signal that ended it."""

    def __init__(self, status: int):
        super().__init__(f"a process ended with status {status}")
        self.status = status


class GuardedPool:
    """At most `num` processes, started by the first requests. Thread-safe.

    Args:
      work: (request, deadline) -> the answer; runs in a process. It may also be a generator, which yields the parts
        of the answer and returns its end. A VideoError that it raises is sent to the caller like an answer.
      timeout: seconds for each part of an answer, after which the process is killed; 0: no deadline. `work` may renew
        or pause the deadline.
      descriptors: file descriptors that the processes inherit.
    """

    def __init__(self, work: Callable, num: int, *, timeout: float, descriptors: Sequence[int] = ()):
        start = functools.partial(GuardedProcess, _serve, work, timeout, descriptors=descriptors)
        self._timeout, self._closed, self._lock = timeout, False, threading.Lock()
        self._workers = [_Worker(start) for _ in range(num)]
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        for worker in self._workers:
            self._idle.put(worker)

    def stream(self, request) -> Iterator:
        """Yields the parts of the answer as they arrive, and returns its end. The process waits until a part is taken.

        Raises:
          Ended: the process ended. RuntimeError: it did not start, or the pool was closed. Errors of `work`.
        """
        worker = self._idle.get()
        try:
            worker.send(request)
            while True:
                last, value = worker.receive()
                if last:
                    return value
                yield value
        except Ended:
            if self._closed:
                raise _closed() from None
            raise
        finally:
            worker.stop_if_busy()  # otherwise parts that were not taken would answer the next request
            self._idle.put(worker)

    def submit(self, request, *, path: str) -> Future:
        """A future of the answer's end. A process receives its next request before it has answered the current one.

        `result()` raises the errors of `stream`, except that `Ended` becomes a VideoError that names `path`.
        """
        future: Future = Future()
        with self._lock:
            if self._closed:
                future.set_exception(_closed())
                return future
            if len(self._threads) < len(self._workers):
                self._threads.append(threading.Thread(target=self._serve_jobs, daemon=True, name="pool"))
                self._threads[-1].start()
            self._jobs.put(_Job(request, path, future))
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
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        while not self._jobs.empty():
            if job := self._jobs.get():
                job.future.set_exception(_closed())
        for worker in self._drained():  # a thread that still holds a worker waits for its process
            worker.stop_if_busy()
            self._idle.put(worker)

    def _drained(self) -> list["_Worker"]:
        """The workers that no thread holds."""
        workers = []
        with contextlib.suppress(queue.Empty):
            while True:
                workers.append(self._idle.get_nowait())
        return workers

    def _serve_jobs(self) -> None:
        """A thread's loop: keeps two jobs of the queue in flight at its process."""
        worker = self._idle.get()
        in_flight: collections.deque[_Job] = collections.deque()
        while not self._closed:
            with contextlib.suppress(queue.Empty):
                while len(in_flight) < 2 and (job := self._jobs.get(block=not in_flight)):
                    if job.future.set_running_or_notify_cancel() and _sent(worker, job):
                        in_flight.append(job)
            if in_flight:
                self._finish(worker, in_flight)
        for job in in_flight:
            job.future.set_exception(_closed())
        self._idle.put(worker)

    def _finish(self, worker: "_Worker", in_flight: collections.deque["_Job"]) -> None:
        """Waits for the answer to the oldest job."""
        last, ended = False, False
        try:
            while not last:
                last, answer = worker.receive()
            in_flight.popleft().future.set_result(answer)
        except Ended as end:
            job, ended = in_flight.popleft(), True
            error = _closed() if self._closed else blame(job.path, end.status, self._timeout)
            job.future.set_exception(error)
        except Exception as error:
            in_flight.popleft().future.set_exception(error)
        if ended and in_flight and not _sent(worker, in_flight[0]):  # it was lost with the process
            in_flight.clear()


class _Job(NamedTuple):
    request: Any
    path: str
    future: Future


class _Worker:
    """Holds one process at a time."""

    def __init__(self, start: Callable[[], GuardedProcess]):
        self._start, self._asked, self._closed = start, 0, False
        self.process: GuardedProcess | None = None

    def send(self, request) -> None:
        """Sends the process a request; starts the process if there is none."""
        message = ForkingPickler.dumps(request)
        if self.process is None and not self._closed:
            self.process = self._start()
        if self._closed:  # perhaps by another thread, during the start
            raise _closed()
        with contextlib.suppress(OSError):  # the process is gone; `receive` says how it ended
            self.process.channel.send_bytes(message)
        self._asked += 1

    def receive(self) -> tuple[bool, Any]:
        """(False, next part of the oldest answer) or (True, its end). Raises Ended and the process's errors."""
        try:
            last, value = self.process.channel.recv()
        except (EOFError, OSError):
            raise Ended(self._wait()) from None
        self._asked -= last
        if isinstance(value, Exception):
            raise value
        return last, value

    def close(self) -> None:
        """Kills the process, whatever it is doing; no other is started."""
        self._closed = True
        if process := self.process:
            process.kill()

    def stop_if_busy(self) -> None:
        """Kills a process that still owes answers, or whose pool was closed."""
        if self.process and (self._asked or self._closed):
            self.process.kill()
            self._wait()

    def _wait(self) -> int:
        status, self.process, self._asked = self.process.wait(), None, 0
        return status


def _sent(worker: _Worker, job: _Job) -> bool:
    try:
        worker.send(job.request)
    except Exception as error:
        job.future.set_exception(error)
        return False
    return True


def _closed() -> RuntimeError:
    return RuntimeError("the readers were closed")


class _Gone(Exception):
    """The other side of the channel is gone."""


def _serve(channel: Connection, work: Callable, timeout: float) -> None:
    """The process's side: sends the pairs that `_Worker.receive` returns."""
    deadline = Deadline(timeout)
    while True:
        message = channel.recv_bytes()
        try:
            with deadline:
                answer = work(pickle.loads(message), deadline)
                if isinstance(answer, Iterator):
                    answer = _sending(channel, answer, deadline)
        except VideoError as error:
            answer = error
        except _Gone:
            return
        except Exception as error:  # a bug, which the caller raises again
            answer = sendable(error)
        try:
            _send(channel, True, answer)
        except _Gone:
            return
        except Exception as error:  # an answer that cannot be pickled
            _send(channel, True, sendable(error))


def _send(channel: Connection, last: bool, value) -> None:
    message = ForkingPickler.dumps((last, value))
    try:
        channel.send_bytes(message)
    except ConnectionError as error:  # caught here alone, because reading a video over a network may raise it too
        raise _Gone from error


def _sending(channel: Connection, parts: Iterator, deadline: Deadline):
    """Sends every part -> the value that the generator returns. The deadline pauses while a part waits to be taken."""
    while True:
        try:
            part = next(parts)
        except StopIteration as stop:
            return stop.value
        deadline.pause()
        _send(channel, False, part)
        deadline.renew()
