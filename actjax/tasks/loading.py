"""Section `loader`, and what the training loop asks of clips that reader processes make."""

import pathlib
from typing import NamedTuple

from actjax import training
from actjax.config import unknown
from actjax.data.clips.spec import MODALITIES
from actjax.data.loading.batches import Loader, eval_batches, train_batches
from actjax.data.loading.order import Shard
from actjax.data.loading.quarantine import Quarantine
from actjax.paths import is_url
from actjax.video.decoding import BACKENDS, backend_names, check_backend


class Loading(NamedTuple):
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


def loop_data(dataset, workdir: pathlib.Path, *, loading: Loading, settings, train, eval) -> training.Data:
    """The loop's view of a data set, with the protocols `train` and `eval` for its two splits."""
    loader = Loader(loading.num_workers, loading.timeout, this_shard())
    common = dict(
        batch_size=settings.batch_size,
        loader=loader,
        quarantine=Quarantine(
            quarantine_file(workdir, loader.shard),
            num_records=len(dataset.train) + len(dataset.val),
            max_share=loading.max_broken,
            skip=loading.skip,
        ),
    )

    def train_steps(first_step: int, num_steps: int):
        span = dict(first_step=first_step, num_steps=num_steps, seed=settings.seed, power=loading.power)
        return train_batches(dataset.train, train, **common, **span)

    videos = settings.eval_batch_size or settings.batch_size
    passes = lambda: eval_batches(dataset.val, eval, **common | {"batch_size": videos})
    return training.Data(len(dataset.train), train_steps, passes)


def this_shard() -> Shard:
    """This process's place among all of the run."""
    import jax

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
