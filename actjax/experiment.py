"""Config -> everything a run needs, checked whole before any data is opened.

A config has one section per function that reads it: `data`, `loader`, `model`, `train`, `eval`, `optim`, `run`, and
where the defaults do not do, `augment` and `prepare`.
"""

import functools
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from actjax import training
from actjax.config import bind, pick, plain, unknown
from actjax.data import builders
from actjax.data.datasets import DATASETS, Dataset
from actjax.data.loading import Loader, Quarantine, Shard, eval_batches, train_batches
from actjax.data.stages import AVERAGE_CLIPS, EVAL_VIEWS, MODALITIES, SAMPLERS, TRAIN_VIEWS, Protocol
from actjax.models import make_augment
from actjax.tasks import Task, recognition
from actjax.tasks.recognition import MODELS
from actjax.training.optimizers import OPTIMIZERS, RULES, SCHEDULES, by_epoch
from actjax.video.decoding import BACKENDS


class Experiment(NamedTuple):
    """A task, and all that it takes to train, evaluate and use it.

    train_protocol: how a video becomes a clip to train on.
    protocol: the same, for validation, test and prediction alike.
    open_dataset: () -> Dataset; may take a while the first time.
    loop_data: (Dataset, workdir) -> what the training loop asks of the data.
    groups: which parameter takes which multiple of the learning rate and the decay.
    loading: worker processes and limits of the loader.
    augment: what the device does to training clips, or None.
    prepare: (records, folder, split=, ...) -> writes a prepared set with the numbers of the config.
    """

    task: Task
    train_protocol: Protocol
    protocol: Protocol
    settings: training.Settings
    open_dataset: Callable[[], Dataset]
    loop_data: Callable[[Dataset, pathlib.Path], training.Data]
    optimizer: training.Optimizer
    groups: training.ParamGroups
    loading: "Loading"
    augment: Callable | None
    prepare: Callable


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


def build(config) -> Experiment:
    """Checks every key of a config against the function that reads it.

    Raises:
      ValueError: a key that nobody reads, an unknown name, a missing key; names the nearest valid one.
    """
    sections = plain(config)
    name = sections.pop("task", None)
    if name not in TASKS:
        raise ValueError(f"config.task={unknown(name, TASKS)}")
    return bind(TASKS[name], sections, "config")()


def recognition_experiment(*, data, loader, model, train, eval, optim, run, augment=None, prepare=None) -> Experiment:
    """Classes of videos: TSN, TSM."""
    settings = bind(training.Settings, run, "run")().check()
    train_protocol = bind(_train_protocol, train, "train")()
    protocol = bind(_eval_protocol, eval, "eval")()
    network = pick(MODELS, model, "model", given=("parent", "in_channels"))(in_channels=protocol.clip_shape[-1])
    optimizer, rules = bind(_optimizer, optim, "optim", given=("settings",))(settings=settings)
    open_dataset = pick(DATASETS, data, "data", given=("num_classes",))
    loading = bind(Loading, loader, "loader")()
    augment = bind(make_augment, augment, "augment")() if augment else None
    given = ("records", "folder", "split", "class_names", "progress", "protocol", "loading")
    prepare = bind(_prepare, prepare or {}, "prepare", given=given)
    multi_label = open_dataset.keywords.get("multi_class", False)
    task = recognition(network, average_clips=protocol.average_clips, augment=augment, multi_label=multi_label)
    label = np.eye(1, network.num_classes) if multi_label else np.zeros(1)
    metrics = task.score({"scores": np.zeros((1, network.num_classes))}, {"label": label})
    if settings.best not in metrics:
        raise ValueError(f"run.best={unknown(settings.best, [name for name, v in metrics.items() if np.ndim(v) == 0])}")
    return Experiment(
        task=task,
        train_protocol=train_protocol,
        protocol=protocol,
        settings=settings,
        open_dataset=functools.partial(open_dataset, num_classes=network.num_classes),
        loop_data=functools.partial(
            _loop_data, loading=loading, settings=settings, train=train_protocol, eval=protocol
        ),
        optimizer=optimizer,
        groups=training.param_groups(_parameter_shapes(task), rules),
        loading=loading,
        augment=augment,
        prepare=functools.partial(prepare, protocol=protocol, loading=loading),
    )


TASKS = {"recognition": recognition_experiment}


def _parameter_shapes(task: Task):
    """Traces the model, so that what it refuses is refused before any data is opened."""
    import jax

    try:
        return jax.eval_shape(task.init, jax.random.key(0))["params"]
    except TypeError as error:
        raise ValueError(f"model: {error}") from error


def _train_protocol(*, sample, view, **options) -> Protocol:
    stages = _stages("train", sample, view, TRAIN_VIEWS)
    return _checked("train", bind(Protocol, options, "train", given=("sample", "view", "average_clips"))(*stages))


def _eval_protocol(*, sample, view, average_clips: str, **options) -> Protocol:
    stages = _stages("eval", sample, view, EVAL_VIEWS)
    given = ("sample", "view", "average_clips", "flip_labels")
    return _checked("eval", bind(Protocol, options, "eval", given=given)(*stages, average_clips=average_clips))


def _stages(where: str, sample, view, views) -> tuple[Callable, Callable]:
    given = ("num_frames", "height", "width", "rng")
    return pick(SAMPLERS, sample, f"{where}.sample", given=given), pick(views, view, f"{where}.view", given=given)


def _checked(where: str, protocol: Protocol) -> Protocol:
    """Itself, after it made the clip of a made-up video: a crop that does not fit fails here, not in a worker."""
    for key, known in (("backend", BACKENDS), ("average_clips", AVERAGE_CLIPS), ("modality", MODALITIES)):
        if getattr(protocol, key) not in known:
            raise ValueError(f"{where}.{key}={unknown(getattr(protocol, key), known)}")
    if protocol.sample(1000, rng=np.random.default_rng(0)).shape[1] % protocol.stack:
        raise ValueError(f"{where}.stack={protocol.stack}; must divide the frames that {where}.sample takes")
    _ = protocol.clip_shape
    return protocol


def _loop_data(dataset: Dataset, workdir: pathlib.Path, *, loading: Loading, settings, train, eval) -> training.Data:
    """The loop's view of a data set."""
    import jax

    loader = Loader(loading.num_workers, loading.timeout, Shard(jax.process_index(), jax.process_count()))
    common = dict(
        batch_size=settings.batch_size,
        loader=loader,
        quarantine=Quarantine(
            workdir / "quarantine.jsonl",
            num_records=len(dataset.train) + len(dataset.val),
            max_share=loading.max_broken,
            skip=loading.skip,
        ),
    )

    def train_steps(first_step: int, num_steps: int):
        span = dict(first_step=first_step, num_steps=num_steps, seed=settings.seed, power=loading.power)
        return train_batches(dataset.train, train, **common, **span)

    return training.Data(len(dataset.train), train_steps, lambda: eval_batches(dataset.val, eval, **common))


def _prepare(
    records,
    folder: str,
    *,
    split: str,
    class_names: list[str],
    progress: Callable,
    protocol: Protocol,
    loading: Loading,
    **options,
):
    """`builders.prepare` with what the sections `eval` and `loader` say."""
    return builders.prepare(
        records,
        folder,
        split=split,
        class_names=class_names,
        modality=protocol.modality,
        backend=protocol.backend,
        processes=loading.num_workers,
        timeout=loading.timeout,
        progress=progress,
        **options,
    )


def _optimizer(
    *,
    name: str,
    lr: float,
    lr_batch_size: int,
    schedule,
    rules,
    settings: training.Settings,
    warmup_epochs: float = 0.0,
    warmup_ratio: float = 0.1,
    **options,
) -> tuple[training.Optimizer, tuple]:
    """Optimizer and parameter rules; `lr` is meant for `lr_batch_size` clips and scales with the batch."""
    rules = pick(RULES, rules, "optim.rules")()
    factor = pick(SCHEDULES, schedule, "optim.schedule", given=("epoch", "epochs"))
    given = ("params", "schedule", "rules")
    make = functools.partial(pick(OPTIMIZERS, {"name": name, **options}, "optim", given=given), rules=rules)
    scheduled = functools.partial(
        by_epoch,
        functools.partial(factor, epochs=settings.epochs),
        lr=lr * settings.batch_size / lr_batch_size,
        warmup_epochs=warmup_epochs,
        warmup_ratio=warmup_ratio,
    )
    return training.Optimizer(lambda steps: scheduled(steps_per_epoch=steps), make), rules
