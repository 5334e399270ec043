"""Config section `loader` -> the `training.Data` of a video data set."""

import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from actjax.config import unknown
from actjax.data.clips.spec import MODALITIES
from actjax.data.loading.batches import Loader, eval_batches, train_batches
from actjax.data.loading.order import Shard
from actjax.data.loading.quarantine import Quarantine
from actjax.errors import check_number, clear_errors, named
from actjax.paths import is_url
from actjax.training import Settings
from actjax.video.decoding import BACKENDS, backend_names, check_backend


class LoaderConfig(NamedTuple):
    """Section `loader`.

    num_workers: reader processes per host; 0 decodes in the training process, without protection from crashes.
    timeout: seconds that one video may take before its reader is killed and the file counts as broken.
    max_broken: fraction of undecodable videos that a run accepts.
    skip: `quarantine.jsonl` of another run, or `broken.jsonl` of `--mode=check`; the files it lists are skipped. ""
      for none.
    power: None: an epoch sees every record once. A number: classes are drawn in proportion to count ** power.
    """

    num_workers: int = 2
    timeout: float = 30.0
    max_broken: float = 0.05
    skip: str = ""
    power: float | None = None

    def check(self) -> "LoaderConfig":
        """Returns itself. Raises ValueError for a value out of range."""
        with named("loader"):
            check_number("num_workers", self.num_workers, "[0, 1000]", whole=True)
            check_number("timeout", self.timeout, "(0, inf)")
            check_number("max_broken", self.max_broken, "[0, 1]")
            if self.power is not None:
                check_number("power", self.power, "(-inf, inf)")
        return self


class ClipData:
    """The `training.Data` of a video data set.

    Args:
      dataset: has the records `train` and `val`; kept as an attribute.
      quarantine: records broken files.
      train, eval: clip specs of the two splits.
      further: the records of further evaluations.
      judged_by: digest of what determines the metrics besides the records.
    """

    def __init__(
        self,
        dataset,
        quarantine: Quarantine,
        *,
        loader: LoaderConfig,
        settings: Settings,
        train,
        eval,
        further: Iterable[Sequence] = (),
        judged_by: str = "",
    ):
        self.dataset, self._train, self._eval, self._quarantine = dataset, train, eval, quarantine
        self._seed, self._power = settings.seed, loader.power
        self._batch_size = settings.batch_size
        self._eval_size = settings.eval_size
        self._common = dict(loader=Loader(loader.num_workers, loader.timeout, this_shard()), quarantine=quarantine)
        self.num_records, self.digest = len(dataset.train), digest_of(dataset.train)
        self.val_digest = digest_of(dataset.val, *further, ordered=False) + judged_by

    def train(self, position: int, num_batches: int) -> Iterator:
        """This host's batches; the first one begins at `position`, see `training.Data`."""
        span = dict(position=position, num_batches=num_batches, seed=self._seed, power=self._power)
        return train_batches(self.dataset.train, self._train, batch_size=self._batch_size, **self._common, **span)

    def evaluate(self) -> Iterator:
        """Passes over the validation split; each is an iterator over this host's batches."""
        return eval_batches(self.dataset.val, self._eval, batch_size=self._eval_size, **self._common)

    def num_broken(self, *, num_read: int) -> dict[str, int]:
        """The numbers of videos of both splits that could not be decoded, and as `num_broken` their sum.

        Args:
          num_read: videos that the last validation has read. Of the training split, all those listed count.
        """
        train, val = self._quarantine.count(self.dataset.train), len(self.dataset.val) - num_read
        return {"num_broken": train + val, "num_broken_train": train, "num_broken_val": val}

    def one_pass(self, records: Sequence, clips) -> Callable[[], Iterator]:
        """The `passes` of an evaluator that sees other records or other clips: a single pass, with its own readers."""
        options = dict(batch_size=self._eval_size, num_passes=1, **self._common)
        return functools.partial(eval_batches, records, clips, **options)


def digest_of(*lists: Sequence, ordered: bool = True) -> str:
    """The digest of lists of records: the names of their files, without folders, and their labels or annotations.

    Args:
      ordered: whether the order of the records in a list makes a difference.
    """
    digest = hashlib.sha256()
    for records in lists:
        lines = [f"{os.path.basename(each.path)}\t{_truth(each)}\n" for each in records]
        digest.update("".join(lines if ordered else sorted(lines)).encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def digest_of_arrays(variables) -> str:
    """The digest of a network's variables, whatever files they came from."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_flatten_with_path(variables)[0]:
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()[:16]


def _truth(record) -> str:
    """What the digest of a record takes besides its path: its label, or of an untrimmed video all that is known."""
    if hasattr(record, "label"):
        return str(np.asarray(record.label).tolist())
    known = {name: value for name, value in record._asdict().items() if name not in ("path", "frames", "number")}
    return json.dumps(known, sort_keys=True, default=lambda array: np.asarray(array).tolist())


def this_shard() -> Shard:
    """This process's index and the number of processes."""
    return Shard(jax.process_index(), jax.process_count())


def open_quarantine(workdir: pathlib.Path, dataset, loader, *, further: Iterable[Sequence] = ()) -> Quarantine:
    """Opens the quarantine of a run, for both splits of `dataset` and the records `further`.

    Args:
      loader: has `max_broken` and `skip`.
    """
    count = sum(map(len, (dataset.train, dataset.val, *further)))
    file = quarantine_file(workdir, this_shard())
    with clear_errors():
        return Quarantine(file, num_records=count, max_share=loader.max_broken, skip=loader.skip)


def quarantine_file(workdir: pathlib.Path, shard: Shard) -> pathlib.Path:
    """The file that lists broken videos. Hosts share one, except in an object store, where files cannot be appended."""
    own = f"-{shard.index:05d}-of-{shard.count:05d}" if is_url(workdir) and shard.count > 1 else ""
    return workdir / f"quarantine{own}.jsonl"


def check_reading(where: str, reading) -> None:
    """Raises ValueError if section `where` has an unknown backend or modality, or the backend is not installed."""
    for backend in backend_names(reading.backend) or [""]:
        if backend not in BACKENDS:
            raise ValueError(f"{where}.backend={unknown(backend, BACKENDS)}")
    try:
        check_backend(reading.backend)
    except ImportError as error:
        raise ValueError(f"{where}.backend: {error}") from error
    if reading.modality not in MODALITIES:
        raise ValueError(f"{where}.modality={unknown(reading.modality, MODALITIES)}")
