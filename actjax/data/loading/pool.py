"""A pool of processes that can be killed, used to read clips and snippets and to write shards.

A process serves one request after another. If it ends, another one takes over: if the request is to blame, it fails
and the next one is served; if the machine is, it is served again, see `actjax.data.loading.endings`.
"""

import collections
import contextlib
import functools
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

from actjax.data.loading.endings import Ended, blame
from actjax.data.loading.processes import GuardedProcess
from actjax.data.loading.serving import serve
from actjax.data.loading.worker import Worker, closed


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
        start = functools.partial(GuardedProcess, serve, work, timeout, timeout=timeout, descriptors=descriptors)
        self._timeout, self._closed, self._lock = timeout, False, threading.Lock()
        self._workers = [Worker(start) for _ in range(num)]
        self._idle: queue.LifoQueue[Worker] = queue.LifoQueue()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        for worker in self._workers:
            self._idle.put(worker)

    def stream(self, request) -> Iterator:
        """Yields the parts of the answer as they arrive, and returns its end. The process waits until a part is taken.

        If the request is served again, the parts that were yielded already must come again, and are skipped.

        Raises:
          Ended: the request ended the process. MachineError: something else did, several times. Unreachable: the
            network is gone. RuntimeError: the pool was closed. Errors of `work`.
        """
        worker = self._idle.get()
        try:
            worker.send(request)
            while True:
                last, value = worker.receive()
                if last:
                    return value
                yield value
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
                future.set_exception(closed())
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
                job.future.set_exception(closed())
        for worker in self._drained():  # a thread that still holds a worker waits for its process
            worker.stop_if_busy()
            self._idle.put(worker)

    def _drained(self) -> list[Worker]:
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
                self._finish(worker, in_flight.popleft())
        for job in in_flight:
            job.future.set_exception(closed())
        self._idle.put(worker)

    def _finish(self, worker: Worker, job: "_Job") -> None:
        """Waits for the answer to a job, the oldest."""
        last = False
        try:
            while not last:
                last, answer = worker.receive()
            job.future.set_result(answer)
        except Ended as end:
            job.future.set_exception(blame(job.path, end.status, self._timeout))
        except Exception as error:
            job.future.set_exception(error.with_traceback(None))  # which would keep the job, and it the error


class _Job(NamedTuple):
    request: Any
    path: str
    future: Future


def _sent(worker: Worker, job: _Job) -> bool:
    try:
        worker.send(job.request)
    except Exception as error:
        job.future.set_exception(error)
        return False
    return True
