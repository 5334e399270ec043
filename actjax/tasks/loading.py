"""Section `loader`, and the data of the training loop: clips that reader processes make."""

import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import jax

from actjax.config import unknown
from actjax.data.clips.spec import MODALITIES
from actjax.data.loading.batches import Loader, eval_batches, train_batches
from actjax.data.loading.order import Shard
from actjax.data.loading.quarantine import Quarantine
from actjax.paths import is_url
from actjax.training import Settings
from actjax.video.decoding import BACKENDS, backend_names, check_backend


class LoaderConfig(NamedTuple):
    """Section `loader`.

    num_workers: reader processes per host; 0 decodes in the trainer itself, unguarded.
    timeout: seconds that one video may take before its reader is killed and the file counts as broken.
    max_broken: the share of undecodable videos that a run accepts.
    skip: a `quarantine.jsonl` of another run (or of `--mode=check`), whose files are left out; "" for none.
    power: None for epochs that see every record once; a number draws classes in proportion to count ** power.
    """

    num_workers: int = 2
    timeout: float = 30.0
    max_broken: float = 0.05
    skip: str = ""
    power: float | None = None

    def quarantine(self, workdir: pathlib.Path, dataset) -> Quarantine:
        """The broken files of a run in `workdir`, out of both splits of `dataset`."""
        count = len(dataset.train) + len(dataset.val)
        file = quarantine_file(workdir, this_shard())
        return Quarantine(file, num_records=count, max_share=self.max_broken, skip=self.skip)


class ClipData:
    """The clips of a data set, as `training.train` asks for them (see `training.Data`).

    Args:
      dataset: records `train` and `val`.
      quarantine: takes the broken files.
      train, eval: how a record of each split becomes a clip.
    """

    def __init__(self, dataset, quarantine: Quarantine, *, loader: LoaderConfig, settings: Settings, train, eval):
        self._dataset, self._train, self._eval = dataset, train, eval
        self._seed, self._power = settings.seed, loader.power
        self._batch_size = settings.batch_size
        self._eval_batch_size = settings.eval_batch_size or settings.batch_size
        self._common = dict(loader=Loader(loader.num_workers, loader.timeout, this_shard()), quarantine=quarantine)
        self.num_records = len(dataset.train)

    def train(self, first_step: int, num_steps: int) -> Iterator:
        """This host's batches of steps `first_step` .. `num_steps - 1`."""
        span = dict(first_step=first_step, num_steps=num_steps, seed=self._seed, power=self._power)
        return train_batches(self._dataset.train, self._train, batch_size=self._batch_size, **self._common, **span)

    def evaluate(self) -> Iterator:
        """Passes over the validation split, each an iterator of this host's batches."""
        return eval_batches(self._dataset.val, self._eval, batch_size=self._eval_batch_size, **self._common)


def this_shard() -> Shard:
    """This process's place among all of the run."""
    return Shard(jax.process_index(), jax.process_count())


def quarantine_file(workdir: pathlib.Path, shard: Shard) -> pathlib.Path:
    """Where a host notes broken videos. All share a file, but in an object store, where nothing can be appended."""
    own = f"-{shard.index:05d}-of-{shard.count:05d}" if is_url(workdir) and shard.count > 1 else ""
    return workdir / f"quarantine{own}.jsonl"


def check_reading(where: str, reading) -> None:
    """ValueError: the `backend` or the `modality` of section `where` is unknown, or the backend's package missing."""
    for backend in backend_names(reading.backend) or [""]:
        if backend not in BACKENDS:
            raise ValueError(f"{where}.backend={unknown(backend, BACKENDS)}")
    try:
        check_backend(reading.backend)
    except ImportError as error:
        raise ValueError(f"{where}.backend: {error}") from error
    if reading.modality not in MODALITIES:
        raise ValueError(f"{where}.modality={unknown(reading.modality, MODALITIES)}")
