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
      work: `work(request, deadline)`, called in a process, returns the answer; or it is a generator that yields the
        answer's parts and returns its end. A VideoError that it raises counts as an answer.
      timeout: seconds that a process may take per part before it is killed; 0: no deadline. `work` may renew or pause
        the deadline.
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
        """The parts of the answer to a request, as they arrive; the process waits until they are consumed.

        Raises:
          Ended: the process ended. RuntimeError: it did not start, or the pool was closed. Whatever `work` raises.
        """
        worker = self._idle.get()
        try:
            worker.send(request)
            return (yield from worker.parts())
        finally:
            worker.stop_unless_idle()  # parts left unread would be taken for the next answer
            self._idle.put(worker)

    def submit(self, request, *, path: str) -> Future:
        """A future of the answer's end. A process gets its next request before it has answered the last one.

        `result()` raises the errors of `stream`, except that a process that ended gives a VideoError naming `path`.
        """
        job = _Job(request, path, Future())
        with self._lock:
            if self._closed:
                job.future.set_exception(_closed())
                return job.future
            while len(self._threads) < len(self._workers):
                self._threads.append(threading.Thread(target=self._serve_jobs, daemon=True, name="pool"))
                self._threads[-1].start()
            self._jobs.put(job)
        return job.future

    def pids(self) -> list[int]:
        """The ids of the running processes."""
        return [worker.process.pid for worker in self._workers if worker.process]

    def close(self) -> None:
        """Kills the processes, even in the middle of a request."""
        with self._lock:
            self._closed = True
        for worker in self._workers:
            worker.closed = True  # mark all of them before the first thread wakes
        for worker in self._workers:
            self._jobs.put(None)
            worker.kill()
        for thread in self._threads:
            thread.join()
        for worker in self._drained():  # a worker still in use is returned, and its process waited for, by its user
            worker.stop_unless_idle()
            self._idle.put(worker)
        while not self._jobs.empty():
            if job := self._jobs.get():
                job.future.set_exception(_closed())

    def _drained(self) -> list["_Worker"]:
        """The workers that are not in use."""
        workers = []
        with contextlib.suppress(queue.Empty):
            while True:
                workers.append(self._idle.get_nowait())
        return workers

    def _serve_jobs(self) -> None:
        """One thread: sends jobs from the queue to its process, two at a time, and sets their futures."""
        worker = self._idle.get()
        under_way: collections.deque[_Job] = collections.deque()
        while not worker.closed:
            with contextlib.suppress(queue.Empty):
                while len(under_way) < 2 and (job := self._jobs.get(block=not under_way)):
                    if _sent(worker, job):
                        under_way.append(job)
            if under_way:
                self._finish(worker, under_way)
        for job in under_way:
            job.future.set_exception(_closed())
        self._idle.put(worker)

    def _finish(self, worker: "_Worker", under_way: collections.deque["_Job"]) -> None:
        """Waits for the answer to the oldest job."""
        try:
            answer, error, ended = worker.end(), None, False
        except Ended as cause:
            ended, error = True, _closed() if worker.closed else blame(under_way[0].path, cause.status, self._timeout)
        except Exception as cause:
            ended, error = False, cause
        job = under_way.popleft()
        if error:
            job.future.set_exception(error)
        else:
            job.future.set_result(answer)
        if ended and under_way and not _sent(worker, under_way[0]):  # the second job died with the process
            under_way.clear()


class _Job(NamedTuple):
    request: Any
    path: str
    future: Future


class _End(NamedTuple):
    """The last message of an answer."""

    value: Any


class _Worker:
    """Holds one process at a time; a new one replaces a process that ended."""

    def __init__(self, start: Callable[[], GuardedProcess]):
        self._start, self._asked = start, 0
        self.process: GuardedProcess | None = None
        self.closed = False

    def send(self, request) -> None:
        """Sends the process a request; starts one first if there is none."""
        import cloudpickle

        if self.closed:
            raise _closed()
        work = cloudpickle.dumps(request)
        if self.process is None:
            self.process = self._start()
            if self.closed:  # by another thread in the meantime
                self.process.kill()
        with contextlib.suppress(OSError):  # the process is gone; reading its answer reports how it ended
            self.process.channel.send_bytes(work)
        self._asked += 1

    def parts(self) -> Iterator:
        """Yields the parts of the oldest answer and returns its end. Raises Ended, or whatever the process raised."""
        try:
            while not isinstance(answer := self.process.channel.recv(), _End):
                if isinstance(answer, Exception):
                    self._asked -= 1
                    raise answer
                yield answer
        except (EOFError, OSError):
            raise Ended(self._wait()) from None
        self._asked -= 1
        return answer.value

    def end(self):
        """The end of the oldest answer; discards its parts."""
        parts = self.parts()
        while True:
            try:
                next(parts)
            except StopIteration as stop:
                return stop.value

    def kill(self) -> None:
        """Kills the process, whatever it is doing."""
        if process := self.process:
            process.kill()

    def stop_unless_idle(self) -> None:
        """Kills the process if it still owes answers, or if the pool was closed."""
        if self.process and (self._asked or self.closed):
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


def _serve(channel: Connection, work: Callable, timeout: float) -> None:
    """The loop of a process."""
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
