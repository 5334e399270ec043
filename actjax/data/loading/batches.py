"""Records -> batches, decoded in reader processes.

A batch is a pure function of (seed, step), the draws in it of (seed, epoch, record): neither the number of workers
nor the number of hosts enters, so a run may be resumed with other ones. The loader keeps no state: its position is
the step. Shapes: b clips of this host, v views, t frames, h w pixels, c channels.
"""

import contextlib
import functools
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from actjax.data.clips.spec import ClipSpec
from actjax.data.loading.order import Batch, Order, Shard, epoch_order, local_size
from actjax.data.loading.pool import Readers
from actjax.data.loading.quarantine import Quarantine
from actjax.data.seeding import Place
from actjax.video.errors import VideoError

log = logging.getLogger(__name__)


class Loader(NamedTuple):
    """How batches are made, whatever they hold.

    num_workers: reader processes; 0 decodes in this process, where nothing survives a decoder that hangs or crashes.
    timeout: seconds that one record may take before its reader is killed.
    """

    num_workers: int = 2
    timeout: float = 30.0
    shard: Shard = Shard()


def train_batches(
    records: Sequence,
    protocol: ClipSpec,
    *,
    seed: int,
    batch_size: int,
    first_step: int,
    num_steps: int,
    quarantine: Quarantine,
    loader: Loader = Loader(),
    power: float | None = None,
) -> Iterator[Batch]:
    """The batches of steps `first_step` .. `num_steps - 1`.

    Each: `video` uint8 [b, v, t, h, w, c], `label` int32 [b] or float32 [b, k], `record` int32 [b], b = batch_size /
    shard.count. A file that cannot be decoded goes to the quarantine; another record, drawn from (seed, epoch,
    record), takes its place. `power`: see `Order`.

    Raises:
      ValueError: batch_size does not divide by the hosts. RuntimeError: too many broken files.
    """
    local = local_size(batch_size, loader.shard)
    order = Order(records, seed=seed, power=power)

    def load(position: int, submit: Callable) -> Callable:
        places = (place for place in order.candidates(position) if records[place.record].path not in quarantine)
        attempts = ((place, submit(records[place.record], place)) for place in places)
        first = list(itertools.islice(attempts, 1))  # the others only if it fails

        def finish() -> dict:
            broken = []
            for place, label in itertools.chain(first, attempts):
                try:
                    return dict(label=label.result(), record=place.record, broken=broken)
                except VideoError as error:
                    broken.append(error)
            raise RuntimeError("not one of the videos can be decoded")

        return finish

    def batch(step: int) -> range:
        first = (first_step + step) * batch_size + loader.shard.index * local
        return range(first, first + local)

    return _batches(load, batch, num_steps - first_step, protocol, loader, quarantine)


def eval_batches(
    records: Sequence, protocol: ClipSpec, *, batch_size: int, quarantine: Quarantine, loader: Loader = Loader()
) -> Iterator[Iterator[Batch]]:
    """Passes over all records in order, for ever; every pass is an iterator of its batches.

    As in training, and `mask` bool [b]: False for what fills the last batch and for files that cannot be decoded. All
    hosts get the same number of batches. The reader processes live from pass to pass.
    """
    local = local_size(batch_size, loader.shard)
    batches_per_pass = -(-len(records) // batch_size)
    no_label = protocol.blank(records[0])

    def load(position: int, submit: Callable) -> Callable:
        wanted = position < len(records) and records[position].path not in quarantine
        label = submit(records[position], None) if wanted else None

        def finish() -> dict:
            broken = []
            try:
                if label:
                    return dict(label=label.result(), record=position, mask=True, broken=broken)
            except VideoError as error:
                broken.append(error)
            return dict(label=no_label, record=-1, mask=False, broken=broken)

        return finish

    def batch(step: int) -> range:
        first = step % batches_per_pass * batch_size + loader.shard.index * local
        return range(first, first + local)

    batches = _batches(load, batch, 2**31, protocol, loader, quarantine)
    with contextlib.closing(batches):
        while True:
            yield itertools.islice(batches, batches_per_pass)


def build_dataloader(
    records: Sequence,
    protocol: ClipSpec,
    *,
    videos_per_gpu: int,
    quarantine: Quarantine,
    num_gpus: int = 1,
    shuffle: bool = True,
    seed: int = 0,
    epoch: int = 0,
    drop_last: bool = False,
    loader: Loader = Loader(),
) -> Iterator[Batch]:
    """One epoch in batches of `num_gpus * videos_per_gpu`, the last one smaller unless `drop_last`.

    For loops of one's own: training and evaluation use `train_batches` and `eval_batches`, whose batches are all of
    one size. With `shuffle`, order and draws are those of `epoch` in a training run with `seed`; without, records
    come in their order, in the test-time form. Broken files are left out.

    Source: the API entry build_dataloader (`workers_per_gpu` is `loader.num_workers`).
    """
    size = videos_per_gpu * num_gpus
    order = epoch_order(seed, epoch, len(records)) if shuffle else np.arange(len(records))
    mine = order[loader.shard.index :: loader.shard.count]
    num_batches = len(mine) // size if drop_last else -(-len(mine) // size)

    def load(record: int, submit: Callable) -> Callable:
        label = submit(records[record], Place(seed, epoch, record) if shuffle else None)

        def finish() -> dict:
            try:
                return dict(label=label.result(), record=record, broken=[])
            except VideoError as error:
                return dict(label=np.zeros_like(records[0].label), record=-1, broken=[error])

        return finish

    def batch(step: int) -> list[int]:
        return mine[step * size : (step + 1) * size].tolist()

    for full in _batches(load, batch, num_batches, protocol, loader, quarantine):
        kept = full["record"] >= 0
        yield full if kept.all() else {name: values[kept] for name, values in full.items()}


def _batches(
    load: Callable, jobs: Callable, num_batches: int, protocol: ClipSpec, loader: Loader, quarantine: Quarantine
) -> Iterator[Batch]:
    """Batch k holds the clips of `jobs(k)`; two are under way while one is used.

    `load(job, submit)` asks for a clip by `submit(record, place)`, and gives a function that waits for it and returns
    its part of the batch: `record` is -1 where there is none, and its pixels are 0.
    """
    options = dict(timeout=loader.timeout, batch_size=len(jobs(0)))

    with contextlib.closing(Readers(protocol, loader.num_workers, **options)) as readers:

        def make(step: int) -> Batch:
            todo = jobs(step)
            pixels = readers.empty(len(todo))
            asked = [load(job, functools.partial(readers.submit, out=pixels.clip(k))) for k, job in enumerate(todo)]
            batch = _collate([finish() for finish in asked])
            pixels.array[batch["record"] < 0] = 0
            return dict(video=pixels.array, **batch)

        threads = min(2, max(loader.num_workers, 1))
        with contextlib.closing(read_ahead(make, num_batches, threads=threads)) as batches:
            try:
                for batch in batches:
                    for error in batch.pop("broken"):
                        quarantine.add(error)
                    yield batch
            finally:
                readers.close()  # what is under way ends now


def read_ahead(make: Callable, num_batches: int, *, threads: int = 2) -> Iterator[Batch]:
    """`make(0)`, `make(1)`, ..., two of them under way while one is used."""
    import grain

    dataset = grain.MapDataset.source(range(num_batches)).map(make)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2)
    with contextlib.closing(iter(dataset.to_iter_dataset(options))) as batches:
        yield from batches


def _collate(items: list[dict]) -> dict:
    labels = [item["label"] for item in items]
    if isinstance(labels[0], dict):
        batch = {name: np.stack([label[name] for label in labels]) for name in labels[0]}
    else:
        batch = dict(label=np.stack(labels).astype(np.float32 if np.ndim(labels[0]) else np.int32))
    for name, kind in dict(record=np.int32, mask=bool).items():
        if name in items[0]:
            batch[name] = np.array([item[name] for item in items], kind)
    return batch | dict(broken=[error for item in items for error in item["broken"]])
