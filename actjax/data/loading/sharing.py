"""Pixels in shared memory: reader processes write them, the trainer uses them without a copy."""

import math
import mmap
import os
import tempfile
import threading
import weakref
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Pixels(NamedTuple):
    """Memory for n clips, uint8 [n, v, t, h, w, c], or for one, [v, t, h, w, c]. `slot`, `index`: its place in the
    shared memory; -1: not shared."""

    array: np.ndarray
    slot: int = -1
    index: int = -1

    def clip(self, index: int) -> "Pixels":
        """The memory of one clip."""
        return Pixels(self.array[index], self.slot, index)


class SharedMemory:
    """Arrays of one shape in an anonymous file. The memory of an array is reused once the array is garbage-collected.

    Args:
      shape: of the arrays, uint8.
      descriptor: the inherited file of another process; None creates one.
    """

    def __init__(self, shape: Sequence[int], descriptor: int | None = None):
        self.shape, self._size = tuple(shape), math.prod(shape)
        self._stride = -(-self._size // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        self._maps: dict[int, mmap.mmap] = {}
        self._file = _file() if descriptor is None else None
        self.descriptor = self._file.fileno() if self._file else descriptor
        self._free: list[int] = []
        self._num, self._lock = 0, threading.Lock()

    def take(self, num: int) -> Pixels:
        """The first `num` rows of a free array, uninitialised. RuntimeError: the file was closed."""
        with self._lock:
            if self._file.closed:
                raise RuntimeError("the readers were closed")
            if self._free:
                slot = self._free.pop()
            else:
                slot, self._num = self._num, self._num + 1
                self._file.truncate((2 * _first(slot) + 1) * self._stride)
            array = self.array(slot)
        weakref.finalize(array.base, self._free.append, slot).atexit = False  # every view keeps `base`
        return Pixels(array[:num], slot)

    def array(self, slot: int) -> np.ndarray:
        """The array of a slot; works in every process."""
        first = _first(slot)
        if first not in self._maps:
            place = dict(length=(first + 1) * self._stride, offset=first * self._stride)
            self._maps[first] = mmap.mmap(self.descriptor, **place)
        offset = (slot - first) * self._stride
        return np.frombuffer(self._maps[first], np.uint8, self._size, offset).reshape(self.shape)

    def close(self) -> None:
        """Closes the file; existing arrays stay valid."""
        with self._lock:
            if self._file:
                self._file.close()


def _first(slot: int) -> int:
    """The first slot of the mapping that holds this one. Mappings hold 1, 2, 4, ... slots, so there are few."""
    return 2 ** ((slot + 1).bit_length() - 1) - 1


def _file():
    """An anonymous file in memory if the system supports it (not limited by the size of /dev/shm), else on disk."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("actjax-clips"), "r+b")
    return tempfile.TemporaryFile()
