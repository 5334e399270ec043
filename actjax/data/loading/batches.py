"""Records -> batches, decoded in reader processes.

A batch is a pure function of (seed, position); the random draws of a record depend on (seed, epoch, record). The number
of workers or hosts changes neither, so a run can resume with other numbers. The loader's only state is the position.
Shapes: b clips of this host, v crops, t frames, h w pixels, c channels.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from actjax.data.clips.spec import ClipSpec
from actjax.data.loading.order import Batch, Order, Shard, epoch_order, local_size
from actjax.data.loading.quarantine import Quarantine, TooManyBroken
from actjax.data.loading.readers import Readers
from actjax.data.loading.sharing import Pixels
from actjax.data.seeding import Place
from actjax.video.errors import VideoError


class Loader(NamedTuple):
    """How batches are loaded, whatever their content.

    num_workers: reader processes; 0 decodes in this process, which then hangs or crashes with the decoder.
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
    position: int,
    num_batches: int,
    quarantine: Quarantine,
    loader: Loader = Loader(),
    power: float | None = None,
) -> Iterator[Batch]:
    """`num_batches` batches; the first one of all hosts begins at `position`, counted in records across epochs.

    Each holds `video` uint8 [b, v, t, h, w, c], `label` int32 [b] or float32 [b, k], `record` int32 [b], with b =
    batch_size / shard.count. A file that cannot be decoded goes to the quarantine; another record, drawn from (seed,
    epoch, record), replaces it. `power`: see `Order`.

    Raises:
      ValueError: batch_size is not divisible by the number of hosts. RuntimeError: too many broken files.
    """
    local = local_size(batch_size, loader.shard)
    order = Order(records, seed=seed, power=power)

    def candidates(position: int) -> Iterator[Candidate]:
        for place in order.candidates(position):
            if not quarantine.skips(records[place.record].path):
                yield Candidate(place.record, place)
        raise TooManyBroken("none of the videos can be decoded")

    def rows(step: int) -> list[Iterator[Candidate]]:
        first = position + step * batch_size + loader.shard.index * local
        return [candidates(place) for place in range(first, first + local)]

    yield from _batches(rows, num_batches, records, protocol, loader, quarantine, size=local)


def eval_batches(
    records: Sequence,
    protocol: ClipSpec,
    *,
    batch_size: int,
    quarantine: Quarantine,
    loader: Loader = Loader(),
    num_passes: int | None = None,
) -> Iterator[Iterator[Batch]]:
    """Passes over all records in order; each pass is an iterator of its batches.

    Batches are as in training, plus `mask` bool [b]: False for padding of the last batch and for files that cannot be
    decoded. All hosts get the same number of batches. The reader processes are kept between passes, and begin the next
    one ahead of time.

    Args:
      num_passes: the number of passes, after which the processes end; None: endless.
    """
    local = local_size(batch_size, loader.shard)
    batches_per_pass = -(-len(records) // batch_size)

    def candidates(position: int) -> Iterator[Candidate]:
        if position < len(records) and not quarantine.skips(records[position].path):
            yield Candidate(position, None)

    def rows(step: int) -> list[Iterator[Candidate]]:
        first = step % batches_per_pass * batch_size + loader.shard.index * local
        return [candidates(position) for position in range(first, first + local)]

    num_batches = 2**31 if num_passes is None else num_passes * batches_per_pass
    batches = _batches(rows, num_batches, records, protocol, loader, quarantine, size=local)
    with contextlib.closing(batches):
        masked = (batch | dict(mask=batch["record"] >= 0) for batch in batches)
        for number in itertools.count(1):
            if number == num_passes:
                yield masked  # to the end, which closes the readers
                return
            yield itertools.islice(masked, batches_per_pass)


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

    For your own loops: training and evaluation use `train_batches` and `eval_batches`, whose batches all have the same
    size. With `shuffle`, order and draws are those of `epoch` in a training run with `seed`; without it, records come
    in list order, in test-time form. Broken files are left out.

    Source: the API entry build_dataloader (`workers_per_gpu` is `loader.num_workers`).
    """
    size = videos_per_gpu * num_gpus
    order = epoch_order(seed, epoch, len(records)) if shuffle else np.arange(len(records))
    mine = order[loader.shard.index :: loader.shard.count].tolist()
    num_batches = len(mine) // size if drop_last else -(-len(mine) // size)

    def rows(step: int) -> list[Iterator[Candidate]]:
        chosen = mine[step * size : (step + 1) * size]
        return [iter([Candidate(k, Place(seed, epoch, k) if shuffle else None)]) for k in chosen]

    for batch in _batches(rows, num_batches, records, protocol, loader, quarantine, size=size):
        kept = batch["record"] >= 0
        yield batch if kept.all() else {name: values[kept] for name, values in batch.items()}


class Candidate(NamedTuple):
    """A record that may fill a row of a batch, with the random draws of `place`, or None for test-time form."""

    record: int
    place: Place | None


def _batches(
    rows: Callable[[int], list[Iterator[Candidate]]],
    num_batches: int,
    records: Sequence,
    clips: ClipSpec,
    loader: Loader,
    quarantine: Quarantine,
    *,
    size: int,
) -> Iterator[Batch]:
    """Batch k has the rows `rows(k)`, each filled by its first candidate that can be decoded. Prepares two batches
    while one is in use. A row without a readable candidate has `record` -1 and pixels 0."""
    with contextlib.closing(Readers(clips, loader.num_workers, timeout=loader.timeout, batch_size=size)) as readers:

        def make(step: int) -> tuple[Batch, list[VideoError]]:
            todo = rows(step)
            pixels = readers.empty(len(todo))
            asked = [_Row(candidates, records, readers, pixels.clip(k)) for k, candidates in enumerate(todo)]
            return _collate(asked, pixels, blank=clips.blank(records[0]))

        threads = min(2, max(loader.num_workers, 1))
        with contextlib.closing(read_ahead(make, num_batches, threads=threads)) as batches:
            try:
                for batch, broken in batches:
                    for error in broken:
                        quarantine.add(error)
                    yield batch
            finally:
                readers.close()  # cancels the requests in progress


class _Row:
    """A row of a batch: requests the clip of its first candidate at once, and the next one if that is broken."""

    def __init__(self, candidates: Iterator[Candidate], records: Sequence, readers: Readers, out: Pixels):
        self._candidates, self._records, self._readers, self._out = candidates, records, readers, out
        self.broken: list[VideoError] = []
        self._ask()

    def result(self) -> tuple[int, Any]:
        """The record that fills the row and its label; -1 and None if no candidate can be decoded."""
        while self._candidate:
            try:
                return self._candidate.record, self._label.result()
            except VideoError as error:
                self.broken.append(error)
                self._ask()
        return -1, None

    def _ask(self) -> None:
        try:
            self._candidate = next(self._candidates, None)
        except TooManyBroken as error:
            raise TooManyBroken(f"{error}{f', the last one {self.broken[-1]}' if self.broken else ''}") from None
        if self._candidate:
            record = self._records[self._candidate.record]
            self._label = self._readers.submit(record, self._candidate.place, self._out)


def _collate(rows: list[_Row], pixels: Pixels, *, blank) -> tuple[Batch, list[VideoError]]:
    """The batch of all rows, and the errors of broken files; `blank`: the label of an unfilled row."""
    found = [row.result() for row in rows]
    record = np.array([record for record, _ in found], np.int32)
    pixels.array[record < 0] = 0
    labels = [blank if label is None else label for _, label in found]
    if isinstance(blank, dict):
        batch = {name: np.stack([label[name] for label in labels]) for name in blank}
    else:
        batch = dict(label=np.stack(labels).astype(np.float32 if np.ndim(blank) else np.int32))
    return dict(video=pixels.array, **batch, record=record), [error for row in rows for error in row.broken]


def read_ahead(make: Callable, num_batches: int, *, threads: int = 2) -> Iterator[Batch]:
    """Yields `make(0)`, `make(1)`, ...; prepares two batches while one is in use."""
    import grain

    dataset = grain.MapDataset.source(range(num_batches)).map(make)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2)
    with contextlib.closing(iter(dataset.to_iter_dataset(options))) as batches:
        yield from batches
