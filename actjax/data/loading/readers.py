"""Decodes clips in processes that can be killed, because decoders hang or crash on some broken files.

Requests and labels go through a pool of processes, pixels through shared memory.
"""

from concurrent.futures import Future
from typing import NamedTuple

import numpy as np

from actjax.data.clips.spec import Clip, ClipSpec
from actjax.data.loading.endings import patiently
from actjax.data.loading.pool import GuardedPool
from actjax.data.loading.sharing import Pixels, SharedMemory
from actjax.data.seeding import Place, transform_rngs


class Readers:
    """Makes the clips of one clip spec in `num` processes, started by the first requests. Thread-safe.

    Args:
      clips: the clip spec.
      num: number of processes; 0: clips are made in this process, unguarded.
      timeout: seconds that one record may take.
      batch_size: clips in one array; see `empty`.
    """

    def __init__(self, clips: ClipSpec, num: int, *, timeout: float = 30.0, batch_size: int = 1):
        self._clips, self._shape = clips, (batch_size, *clips.clip_shape)
        self.pool, self._memory = None, None
        if num:
            self._memory = SharedMemory(self._shape)
            work = _Work(clips, self._shape, self._memory.descriptor)
            self.pool = GuardedPool(work, num, timeout=timeout, descriptors=(self._memory.descriptor,))

    def empty(self, num: int) -> Pixels:
        """Uninitialised memory for `num` clips, at most `batch_size`."""
        if self._memory is None:
            return Pixels(np.empty((num, *self._shape[1:]), np.uint8))
        return self._memory.take(num)

    def submit(self, record, place: Place | None, out: Pixels, *, whole: bool = False) -> Future:
        """A future of the record's label (with `whole`: of its `Clip`); the pixels are written to `out`.

        The clip uses the random draws of `place`, or is in test-time form if `place` is None. `result()` raises:
          VideoError: the record cannot be decoded, or decoding it took too long or crashed.
          MachineError: readers were killed, several times. Unreachable: the network is gone.
          RuntimeError: the readers were closed.
        """
        if self.pool:
            return self.pool.submit(_Request(record, place, out.slot, out.index, whole), path=record.path)
        future: Future = Future()
        try:
            future.set_result(patiently(_read, record, place, self._clips, out.array, whole))
        except Exception as error:
            future.set_exception(error)
        return future

    def read(self, record, place: Place | None = None) -> Clip:
        """Waits for the clip of a record; errors as for `submit`."""
        out = self.empty(1).clip(0)
        return self.submit(record, place, out, whole=True).result()._replace(video=out.array)

    def close(self) -> None:
        """Kills the processes, even in the middle of a request."""
        if self.pool:
            self.pool.close()
            self._memory.close()


class _Request(NamedTuple):
    record: object
    place: Place | None
    slot: int
    index: int
    whole: bool


class _Work:
    """The work of a process: returns the label of a record and writes its pixels to the shared memory."""

    def __init__(self, clips: ClipSpec, shape: tuple[int, ...], descriptor: int):
        self._clips, self._shape, self._descriptor, self._memory = clips, shape, descriptor, None

    def __call__(self, request: _Request, deadline):
        self._memory = self._memory or SharedMemory(self._shape, self._descriptor)
        out = self._memory.array(request.slot)[request.index]
        return _read(request.record, request.place, self._clips, out, request.whole)


def _read(record, place: Place | None, clips: ClipSpec, out: np.ndarray, whole: bool):
    """The label alone unless `whole`: sending the rest of a clip takes time, and training does not need it."""
    clip = clips.read(record, rngs=transform_rngs(place), out=out)
    return clip._replace(video=None) if whole else clip.label
