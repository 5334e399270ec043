"""Which records a host reads, in which order."""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from actjax.data.datasets.selecting import power_sample
from actjax.data.seeding import Place, generator

Batch = dict[str, np.ndarray]


class Shard(NamedTuple):
    """This host's place among all hosts."""

    index: int = 0
    count: int = 1


@functools.lru_cache(maxsize=4)
def epoch_order(seed: int, epoch: int, num_records: int) -> np.ndarray:
    """The order of the records in an epoch, each once -> int64 [num_records]."""
    return generator(seed, "order", epoch).permutation(num_records)


class Order:
    """The order of records in a training run.

    Args:
      records: the training records.
      seed: of the run.
      power: None: every epoch is a permutation of the records. A number: draws with replacement, first a class, with
        probability proportional to its number of records to this power, then one of its records; 0 balances classes.
    """

    def __init__(self, records: Sequence, *, seed: int, power: float | None = None):
        self._seed, self._num, self._power = seed, len(records), power
        self._labels = None if power is None else np.array([record.label for record in records])
        self._epoch = functools.lru_cache(maxsize=4)(self._of_epoch)

    def place(self, position: int) -> Place:
        """The position-th clip of the run, counted across epochs."""
        epoch, k = divmod(position, self._num)
        return Place(self._seed, epoch, int(self._epoch(epoch)[k]))

    def candidates(self, position: int) -> Iterator[Place]:
        """`place(position)`, then, in case that record is broken, all records in an order drawn for it."""
        first = self.place(position)
        yield first
        for other in generator(self._seed, "substitute", first.epoch, first.record).permutation(self._num):
            yield first._replace(record=int(other))

    def _of_epoch(self, epoch: int) -> np.ndarray:
        if self._power is None:
            return epoch_order(self._seed, epoch, self._num)
        u = generator(self._seed, "order", epoch).random((self._num, 2))
        return power_sample(self._labels, power=self._power, u=u)


def local_size(batch_size: int, shard: Shard) -> int:
    """This host's share of a batch. ValueError: the batch size is not divisible by the number of hosts."""
    if batch_size % shard.count:
        raise ValueError(f"batch_size={batch_size} is not divisible by {shard.count} hosts")
    return batch_size // shard.count
