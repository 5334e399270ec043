"""Small items read in this process, such as features -> batches.

A batch is a pure function of (seed, position), as in `data.loading.batches`. Shapes: b videos of this host.
"""

from collections.abc import Callable, Iterator

import numpy as np

from actjax.data.loading.batches import read_ahead
from actjax.data.loading.endings import patiently
from actjax.data.loading.order import Batch, Order, Shard, local_size
from actjax.data.loading.quarantine import Quarantine, TooManyBroken
from actjax.video.errors import VideoError

_NONE = "none of the videos can be read"


def train_items(
    item: Callable,
    num_records: int,
    *,
    seed: int,
    batch_size: int,
    position: int,
    num_batches: int,
    quarantine: Quarantine,
    shard: Shard = Shard(),
) -> Iterator[Batch]:
    """`num_batches` batches: the arrays of `item(k)`, stacked, and `record` [b].

    The first one of all hosts begins at `position`, counted in records across epochs.

    A record that cannot be read (VideoError) goes to the quarantine; another one, drawn from (seed, epoch, record),
    replaces it. Raises RuntimeError if there are too many of them, Unreachable if the network is gone.
    """
    local = local_size(batch_size, shard)
    order = Order(range(num_records), seed=seed)

    def at(position: int) -> dict:
        for place in order.candidates(position):
            try:
                return patiently(item, place.record) | {"record": np.int32(place.record)}
            except VideoError as error:
                quarantine.add(error)
        raise TooManyBroken(_NONE)

    def batch(step: int) -> Batch:
        first = position + step * batch_size + shard.index * local
        return _stacked([at(place) for place in range(first, first + local)])

    yield from read_ahead(batch, num_batches)


def eval_items(
    item: Callable, num_records: int, *, batch_size: int, quarantine: Quarantine, shard: Shard = Shard()
) -> Iterator[Batch]:
    """One pass over all records in order: the arrays of `item(k)`, `record` [b], and `mask` bool [b], False for padding
    of the last batch and for records that cannot be read. All hosts get the same number of batches."""
    local = local_size(batch_size, shard)
    blank: dict = {}

    def at(position: int) -> dict:
        try:
            if position < num_records:
                values = patiently(item, position)
                blank.update({name: np.zeros_like(value) for name, value in values.items()})
                return values | {"record": np.int32(position), "mask": True}
        except VideoError as error:
            quarantine.add(error)
        if not blank:
            blank.update({name: np.zeros_like(value) for name, value in _any_of(item, num_records).items()})
        return blank | {"record": np.int32(-1), "mask": False}

    def batch(step: int) -> Batch:
        first = step * batch_size + shard.index * local
        return _stacked([at(position) for position in range(first, first + local)])

    yield from read_ahead(batch, -(-num_records // batch_size))


def _any_of(item: Callable, num_records: int) -> dict:
    last = ""
    for k in range(num_records):
        try:
            return item(k)
        except VideoError as error:
            last = f", the last one {error}"
    raise TooManyBroken(f"{_NONE}{last}")


def _stacked(items: list[dict]) -> Batch:
    return {name: np.stack([item[name] for item in items]) for name in items[0]}
