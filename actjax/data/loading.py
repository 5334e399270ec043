"""Records -> batches, in worker processes.

A batch is a pure function of (seed, step), the draws in it of (seed, epoch, record): neither the number of workers
nor the number of hosts enters, so a run may be resumed with other ones. The loader keeps no state: its position is
the step. Shapes: b clips of this host, v views, t frames, h w pixels, c channels.
"""

import contextlib
import functools
import itertools
import json
import logging
import multiprocessing
import os
import pathlib
import sys
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from actjax.data.annotations import VideoRecord
from actjax.data.stages import Protocol, read_clip
from actjax.video.decoding import VideoError

log = logging.getLogger(__name__)

Batch = dict[str, np.ndarray]


class Shard(NamedTuple):
    """This host's place among all hosts."""

    index: int = 0
    count: int = 1


@functools.lru_cache(maxsize=4)
def epoch_order(seed: int, epoch: int, num_records: int) -> np.ndarray:
    """The order in which an epoch sees the records, each of them once -> int64 [num_records]."""
    return _generator(seed, "order", epoch).permutation(num_records)


def train_record(position: int, *, seed: int, num_records: int) -> tuple[int, int]:
    """The position-th clip of a training run -> (epoch, record). Batches follow each other across epochs."""
    epoch, place = divmod(position, num_records)
    return epoch, int(epoch_order(seed, epoch, num_records)[place])


def record_rngs(seed: int, epoch: int, record: int) -> Callable[[str], np.random.Generator]:
    """The generator of every stage for one record in one epoch; a new stage leaves the draws of the others alone."""
    return lambda stage: _generator(seed, stage, epoch, record)


def _candidates(seed: int, epoch: int, record: int, num_records: int) -> Iterator[int]:
    """The record, then, should it be broken, all others in an order drawn for it."""
    yield record
    for other in record_rngs(seed, epoch, record)("substitute").permutation(num_records):
        yield int(other)


def _generator(seed: int, name: str, *place: int) -> np.random.Generator:
    counter = [0, 0, *(0,) * (2 - len(place)), *place]  # the low words count the draws
    return np.random.Generator(np.random.Philox(key=[seed, zlib.crc32(name.encode())], counter=counter))


class Quarantine:
    """Files that could not be decoded: written to `quarantine.jsonl` once each, counted, bounded."""

    def __init__(self, path: str | os.PathLike, *, num_records: int, max_share: float = 0.05):
        self.path, self._allowed = pathlib.Path(path), max_share * num_records
        self._num_records, self._max_share = num_records, max_share
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        self.files = {json.loads(line)["path"] for line in lines}

    def add(self, path: str, reason: str) -> None:
        """Raises RuntimeError once more than `max_share` of the records are broken."""
        if path in self.files:
            return
        self.files.add(path)
        log.warning("cannot decode %s: %s", path, reason)
        with self.path.open("a") as file:
            file.write(json.dumps({"path": path, "reason": reason}) + "\n")
        if len(self.files) > self._allowed:
            raise RuntimeError(
                f"{len(self.files)} of {self._num_records} videos cannot be decoded, more than "
                f"loader.max_broken={self._max_share:g} allows; see {self.path}"
            )


def train_batches(
    records: Sequence[VideoRecord],
    protocol: Protocol,
    *,
    seed: int,
    batch_size: int,
    first_step: int,
    num_steps: int,
    quarantine: Quarantine,
    num_workers: int = 2,
    shard: Shard = Shard(),
) -> Iterator[Batch]:
    """The batches of steps `first_step` .. `num_steps - 1`.

    Each: `video` uint8 [b, v, t, h, w, c], `label` int32 [b], `record` int32 [b], b = batch_size / shard.count. A file
    that cannot be decoded goes to the quarantine; another record, drawn from (seed, epoch, record), takes its place.

    Raises:
      ValueError: batch_size does not divide by the hosts. RuntimeError: too many broken files.
    """
    local = _local_size(batch_size, shard)

    def load(position: int) -> dict:
        step, slot = divmod(position, local)
        place = step * batch_size + shard.index * local + slot
        epoch, record = train_record(place, seed=seed, num_records=len(records))
        broken = []
        for candidate in _candidates(seed, epoch, record, len(records)):
            try:
                video = read_clip(records[candidate].path, protocol, rngs=record_rngs(seed, epoch, candidate))
            except VideoError as error:
                broken.append((error.path, error.reason))
                continue
            return dict(video=video, label=records[candidate].label, record=candidate, broken=broken)
        raise RuntimeError("not one of the videos can be decoded")

    positions = range(first_step * local, num_steps * local)
    return _batches(load, positions, local, num_workers=num_workers, quarantine=quarantine)


def eval_batches(
    records: Sequence[VideoRecord],
    protocol: Protocol,
    *,
    batch_size: int,
    quarantine: Quarantine,
    num_workers: int = 2,
    shard: Shard = Shard(),
) -> Iterator[Iterator[Batch]]:
    """Passes over all records in order, for ever; every pass is an iterator of its batches.

    As in training, and `mask` bool [b]: False for what fills the last batch and for files that cannot be decoded. All
    hosts get the same number of batches. The worker processes live from pass to pass.
    """
    local = _local_size(batch_size, shard)
    batches_per_pass = -(-len(records) // batch_size)

    def nothing(broken: list) -> dict:
        return dict(video=np.zeros(protocol.clip_shape, np.uint8), label=0, record=-1, mask=False, broken=broken)

    def load(position: int) -> dict:
        step, slot = divmod(position % (batches_per_pass * local), local)
        record = step * batch_size + shard.index * local + slot
        if record >= len(records):
            return nothing(broken=[])
        try:
            video = read_clip(records[record].path, protocol, rngs=lambda stage: None)
        except VideoError as error:
            return nothing(broken=[(error.path, error.reason)])
        return dict(video=video, label=records[record].label, record=record, mask=True, broken=[])

    positions = range(0, sys.maxsize // local * local)
    batches = _batches(load, positions, local, num_workers=num_workers, quarantine=quarantine)
    with contextlib.closing(batches):
        while True:
            yield itertools.islice(batches, batches_per_pass)


def _batches(load, positions: range, size: int, *, num_workers: int, quarantine: Quarantine) -> Iterator[Batch]:
    import grain
    from absl import flags

    if not flags.FLAGS.is_parsed():  # grain hands the flags to its workers; outside absl programs nobody parsed them
        flags.FLAGS.mark_as_parsed()
    steps = range(positions.start // size, positions.stop // size)
    dataset = grain.MapDataset.source(steps).map(
        lambda step: _collate([load(position) for position in range(step * size, (step + 1) * size)])
    )
    # Without workers, one thread decodes ahead; with them, each holds two batches ready.
    dataset = dataset.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=2))
    if num_workers:
        options = grain.MultiprocessingOptions(num_workers=num_workers, per_worker_buffer_size=2)
        dataset = dataset.mp_prefetch(options, worker_init_fn=_start_worker)
        # Clips go through shared memory; labels and the like travel in the message itself.
        messages = grain.experimental.DatasetOptions(min_shm_size=2**16)
        dataset = grain.experimental.WithOptionsIterDataset(dataset, messages)
    with contextlib.closing(iter(dataset)) as batches:
        for batch in batches:
            for path, reason in batch.pop("broken"):
                quarantine.add(path, reason)
            yield batch


def _collate(items: list[dict]) -> dict:
    kinds = dict(video=np.uint8, label=np.int32, record=np.int32, mask=bool)
    stack = lambda name: np.stack([item[name] for item in items]).astype(kinds[name], copy=False)
    batch = {name: stack(name) for name in items[0] if name != "broken"}
    return batch | dict(broken=[pair for item in items for pair in item["broken"]])


def _start_worker(index: int, count: int) -> None:
    """In a fresh worker: one core each, and no life after the trainer's, even if that is killed."""
    import cv2

    cv2.setNumThreads(1)

    def follow_parent():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=follow_parent, daemon=True).start()


def _local_size(batch_size: int, shard: Shard) -> int:
    if batch_size % shard.count:
        raise ValueError(f"batch_size={batch_size} does not divide by {shard.count} hosts")
    return batch_size // shard.count
