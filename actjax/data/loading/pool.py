"""Clips from processes that can be killed, as decoders hang or crash on some broken files.

A reader is one process and the thread that serves it. Requests and answers go through a socket, pixels through memory
that both see. When the process ends, by its deadline or by a crash, the record it read is blamed and a new one goes on.
A reader has its next request before it has answered the last, so that it never waits.
"""

import collections
import queue
import threading
from concurrent.futures import Future
from multiprocessing.connection import Connection
from typing import NamedTuple

import numpy as np

from actjax.data.clips.spec import Clip, ClipSpec
from actjax.data.loading.processes import Deadline, GuardedProcess, blame, sendable
from actjax.data.loading.sharing import Pixels, SharedMemory
from actjax.data.seeding import Place, stage_rngs
from actjax.video.errors import VideoError


class Readers:
    """Makes clips of one protocol in `num` processes, which start with the first requests; threads may call at once.

    Args:
      protocol: how a record becomes a clip.
      num: of processes; 0: clips are made here, unguarded.
      timeout: seconds that one record may take.
      batch_size: clips in one array, see `empty`.
    """

    def __init__(self, protocol: ClipSpec, num: int, *, timeout: float = 30.0, batch_size: int = 1):
        self._protocol, self._shape = protocol, (batch_size, *protocol.clip_shape)
        self._memory = SharedMemory(self._shape) if num else None
        self._jobs: queue.SimpleQueue = queue.SimpleQueue()
        self._readers = [_Reader(protocol, self._memory, self._jobs, timeout) for _ in range(num)]
        self._closed, self._lock = False, threading.Lock()
        for reader in self._readers:
            reader.start()

    def empty(self, num: int) -> Pixels:
        """Room for `num` clips, `batch_size` at most."""
        if self._memory is None:
            return Pixels(np.empty((num, *self._shape[1:]), np.uint8))
        return self._memory.take(num)

    def submit(self, record, place: Place | None, out: Pixels, *, whole: bool = False) -> Future:
        """The coming label of a record seen with the draws of `place`, the pixels go to `out`; `whole`: its `Clip`.

        Its `result()` raises:
          VideoError: the record cannot be decoded, or decoding it took too long or crashed.
          RuntimeError: the process does not start, or the readers were closed.
        """
        job = _Job(record, place, out, whole, Future())
        with self._lock:
            if self._closed:
                job.future.set_exception(_closed())
                return job.future
            if self._readers:
                self._jobs.put(job)
                return job.future
        return self._read_here(job)

    def read(self, record, place: Place | None = None) -> Clip:
        """The clip of a record, as soon as it is there; errors as for `submit`."""
        out = self.empty(1).clip(0)
        return self.submit(record, place, out, whole=True).result()._replace(video=out.array)

    def _read_here(self, job: "_Job") -> Future:
        try:
            job.future.set_result(_read(job.record, job.place, self._protocol, job.out.array, job.whole))
        except Exception as error:
            job.future.set_exception(error)
        return job.future

    def close(self) -> None:
        """Ends the processes, also in the middle of a request."""
        with self._lock:
            self._closed = True
        for reader in self._readers:
            reader.closed = True  # all of them, before the first one wakes
        for reader in self._readers:
            reader.close()
        for reader in self._readers:
            reader.join()
        while not self._jobs.empty():
            if job := self._jobs.get():
                job.future.set_exception(_closed())
        if self._memory:
            self._memory.close()


class _Job(NamedTuple):
    record: object
    place: Place | None
    out: Pixels
    whole: bool
    future: Future


class _Reader(threading.Thread):
    """One process: gives it the jobs of the queue, two at a time, and tells what became of them."""

    def __init__(self, protocol: ClipSpec, memory: SharedMemory, jobs: queue.SimpleQueue, timeout: float):
        super().__init__(daemon=True, name="reader")
        self._protocol, self._memory, self._jobs, self._timeout = protocol, memory, jobs, timeout
        self.process, self.closed = None, False

    def close(self) -> None:
        self._jobs.put(None)
        if process := self.process:
            process.kill()

    def run(self) -> None:
        under_way: collections.deque[_Job] = collections.deque()
        while not self.closed:
            try:
                while len(under_way) < 2 and (job := self._jobs.get(block=not under_way)):
                    if self._sent(job):
                        under_way.append(job)
            except queue.Empty:
                pass
            if under_way:
                self._finish(under_way)
        for job in under_way:
            job.future.set_exception(_closed())
        if self.process:
            self.process.wait()

    def _sent(self, job: _Job) -> bool:
        try:
            if self.process is None:
                self._start()
            self.process.channel.send((job.record, job.place, job.out.slot, job.out.index, job.whole))
        except OSError:
            pass  # the process is gone; who waits for its answer learns how
        except Exception as error:
            job.future.set_exception(error)
            return False
        return True

    def _finish(self, under_way: collections.deque[_Job]) -> None:
        """Waits for the answer to the oldest job."""
        died = False
        try:
            answer = self.process.channel.recv()
        except (EOFError, OSError):
            died, answer = True, self._cause_of_death(under_way[0].record)
        job = under_way.popleft()
        if isinstance(answer, BaseException):
            job.future.set_exception(answer)
        else:
            job.future.set_result(answer)
        if died and under_way and not self._sent(under_way[0]):
            under_way.clear()

    def _start(self) -> None:
        memory = self._memory
        self.process = GuardedProcess(
            serve, self._protocol, self._timeout, memory.shape, memory.descriptor, descriptors=(memory.descriptor,)
        )
        if self.closed:  # meanwhile, by another thread
            self.process.kill()

    def _cause_of_death(self, record) -> Exception:
        status, self.process = self.process.wait(), None
        return _closed() if self.closed else blame(record.path, status, self._timeout)


def _closed() -> RuntimeError:
    return RuntimeError("the readers were closed")


def serve(channel: Connection, protocol: ClipSpec, timeout: float, shape: tuple, descriptor: int) -> None:
    """The process's side: answers requests."""
    memory, deadline = SharedMemory(shape, descriptor), Deadline(timeout)
    while True:
        record, place, slot, index, whole = channel.recv()
        with deadline:
            answer = _answer(record, place, protocol, memory.array(slot)[index], whole)
        channel.send(answer)


def _read(record, place: Place | None, protocol: ClipSpec, out: np.ndarray, whole: bool):
    """The label alone unless `whole`: the rest of a clip takes time to send, and training does not look at it."""
    clip = protocol.read(record, rngs=stage_rngs(place), out=out)
    return clip._replace(video=None) if whole else clip.label


def _answer(*job):
    try:
        return _read(*job)
    except VideoError as error:
        return error
    except Exception as error:  # a fault in the code; the caller raises it
        return sendable(error)
