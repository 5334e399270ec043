"""The config of a recogniser -> everything its runs need.

Sections: `data`, `loader`, `model`, `train`, `eval`, `optim`, `run`, and where the defaults do not do, `test`,
`load_from`, `loss`, `augment`, `prepare` and `extract`.
"""

import functools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from actjax import training
from actjax.config import bind, pick, plain, unknown
from actjax.data.clips.spec import AVERAGE_CLIPS, ClipSpec
from actjax.data.clips.transforms import EVAL_VIEWS, SAMPLERS, TRAIN_VIEWS
from actjax.data.datasets.recognition import DATASETS, Dataset, load_names
from actjax.data.prepared import writing
from actjax.losses import binary_cross_entropy, cross_entropy
from actjax.models import TSN, make_augment
from actjax.tasks.building import fitting, parameter_shapes, start_of
from actjax.tasks.loading import Loading, check_reading, loop_data
from actjax.tasks.recognition.task import MODELS, recognition_task
from actjax.training.task import Task


class Experiment(NamedTuple):
    """A task, and all that it takes to train, evaluate and use it.

    model: the network inside the task.
    train_protocol: how a video becomes a clip to train on.
    protocol: the same, for validation during training.
    test: task and protocol of test and prediction; those of the validation, if the config has no section `test`.
    load_from: () -> `Imported`, what training starts from, or None.
    open_dataset: () -> Dataset; may take a while the first time.
    class_names: () -> the names of the classes, without the records.
    loop_data: (Dataset, workdir, eval=ClipSpec) -> what the training loop asks of the data.
    item: what of one record becomes part of a training batch, as shapes.
    groups: which parameter takes which multiple of the learning rate and the decay.
    loading: worker processes and limits of the loader.
    augment: what the device does to training clips, or None.
    prepare: (records, folder, split=, ...) -> writes a prepared set with the numbers of the config.
    extraction: what features of untrimmed videos are.
    """

    task: Task
    model: Any
    train_protocol: ClipSpec
    protocol: ClipSpec
    test: "Test"
    load_from: Callable | None
    settings: training.Settings
    open_dataset: Callable[[], Dataset]
    class_names: Callable[[], list[str]]
    loop_data: Callable[[Dataset, pathlib.Path], training.Data]
    optimizer: training.Optimizer
    item: dict
    groups: training.ParamGroups
    loading: "Loading"
    augment: Callable | None
    prepare: Callable
    extraction: "Extraction"


class Test(NamedTuple):
    """How videos are scored, and by which task: the two differ from the validation's in their views."""

    task: Task
    protocol: ClipSpec


class Extraction(NamedTuple):
    """Section `extract`: the features that `--mode=extract` makes of a video, [n, d].

    interval: frames from one feature to the next.
    num_frames: of a feature's clip, spread over the interval; None: 1 for TSN, those of the test for TSM.
    what: "scores", before the softmax, as ActivityNet's published features are; "embedding", what the classifier sees.
    chunk: clips that are decoded, and go through the network, at a time.
    suffix: ".csv" or ".npy".
    """

    interval: int = 16
    num_frames: int | None = None
    what: str = "scores"
    chunk: int = 16
    suffix: str = ".csv"

    def check(self) -> "Extraction":
        """Itself. Raises ValueError for a number or name out of range."""
        for name in ("interval", "chunk"):
            if getattr(self, name) < 1:
                raise ValueError(f"extract.{name}={getattr(self, name)}; must be 1 or more")
        if self.what not in EMBEDDINGS:
            raise ValueError(f"extract.what={unknown(self.what, EMBEDDINGS)}")
        if self.suffix not in (".csv", ".npy"):
            raise ValueError(f"extract.suffix={self.suffix!r}; choose from .csv, .npy")
        return self


EMBEDDINGS = ("scores", "embedding")


def recognition_experiment(
    *,
    data,
    loader,
    model,
    train,
    eval,
    optim,
    run,
    test=None,
    load_from=None,
    loss=None,
    augment=None,
    prepare=None,
    extract=None,
) -> Experiment:
    """Classes of videos: TSN, TSM."""
    train_protocol = bind(_train_protocol, train, "train")()
    validation = bind(_eval_protocol, eval, "eval", given=("where",))(where="eval")
    tested = bind(_eval_protocol, test, "test", given=("where",))(where="test") if test else validation
    channels = _channels(train_protocol, validation[0], tested[0])
    network = pick(MODELS, model, "model", given=("parent", "in_channels"))(in_channels=channels)
    if len(network.mean) not in (1, channels) or len(network.std) not in (1, channels):
        raise ValueError(f"model.mean and model.std need 1 or {channels} numbers, one for each channel of a clip")
    settings, optimizer, rules = fitting(network, run=run, optim=optim)
    open_dataset = pick(DATASETS, data, "data", given=("num_classes",))
    loading = bind(Loading, loader, "loader")()
    augment = bind(make_augment, augment, "augment")() if augment else None
    given = ("records", "folder", "split", "class_names", "progress", "protocol", "loading")
    prepare = bind(_prepare, prepare or {}, "prepare", given=given)
    extraction = bind(Extraction, extract or {}, "extract")().check()
    if extraction.num_frames is None:
        frames = 1 if isinstance(network, TSN) else tested[0].clip_shape[1]
        extraction = extraction._replace(num_frames=frames)
    multi_label = open_dataset.keywords.get("multi_class", False)
    criterion = binary_cross_entropy if multi_label else cross_entropy
    criterion = bind(criterion, loss or {}, "loss", given=("scores", "labels", "targets"))

    def task_of(protocol: ClipSpec, clips_at_once: int) -> Task:
        options = dict(average_clips=protocol.average_clips, clips_at_once=clips_at_once)
        return recognition_task(network, **options, augment=augment, multi_label=multi_label, criterion=criterion)

    task = task_of(*validation)
    label = np.eye(1, network.num_classes, dtype=np.float32)[0] if multi_label else np.int32(0)
    metrics = task.score({"scores": np.zeros((1, network.num_classes))}, {"label": label[None]})
    if settings.best not in metrics:
        raise ValueError(f"run.best={unknown(settings.best, [name for name, v in metrics.items() if np.ndim(v) == 0])}")
    return Experiment(
        task=task,
        model=network,
        train_protocol=train_protocol,
        protocol=validation[0],
        test=Test(task_of(*tested), tested[0]),
        load_from=start_of(network, load_from),
        settings=settings,
        open_dataset=functools.partial(open_dataset, num_classes=network.num_classes),
        class_names=functools.partial(load_names, plain(data), num_classes=network.num_classes),
        loop_data=functools.partial(
            loop_data, loading=loading, settings=settings, train=train_protocol, eval=validation[0]
        ),
        optimizer=optimizer,
        item={"video": np.broadcast_to(np.uint8(0), train_protocol.clip_shape), "label": label},
        groups=training.param_groups(parameter_shapes(task), rules),
        loading=loading,
        augment=augment,
        prepare=functools.partial(prepare, protocol=validation[0], loading=loading),
        extraction=extraction,
    )


def _train_protocol(*, sample, view, **options) -> ClipSpec:
    stages = _stages("train", sample, view, TRAIN_VIEWS)
    given = ("sample", "view", "average_clips", "test")
    return _checked("train", bind(ClipSpec, options, "train", given=given)(*stages))


def _eval_protocol(
    *, where: str, sample, view, average_clips: str, clips_at_once: int = 0, **options
) -> tuple[ClipSpec, int]:
    """The protocol, and how many clips of a video go through the network at a time."""
    stages = _stages(where, sample, view, EVAL_VIEWS)
    given = ("sample", "view", "average_clips", "flip_labels", "test")
    make = bind(ClipSpec, options, where, given=given)
    return _checked(where, make(*stages, average_clips=average_clips, test=True)), clips_at_once


def _channels(*protocols: ClipSpec) -> int:
    """Of the clips of all protocols. ValueError: they differ."""
    channels = {protocol.clip_shape[-1] for protocol in protocols}
    if len(channels) > 1:
        raise ValueError(f"the clips of train, eval and test have {sorted(channels)} channels; see modality and stack")
    return channels.pop()


def _stages(where: str, sample, view, views) -> tuple[Callable, Callable]:
    given = ("num_frames", "height", "width", "rng")
    return pick(SAMPLERS, sample, f"{where}.sample", given=given), pick(views, view, f"{where}.view", given=given)


def _checked(where: str, protocol: ClipSpec) -> ClipSpec:
    """Itself, after it made the clip of a made-up video: a crop that does not fit fails here, not in a worker."""
    check_reading(where, protocol)
    if protocol.average_clips not in AVERAGE_CLIPS:
        raise ValueError(f"{where}.average_clips={unknown(protocol.average_clips, AVERAGE_CLIPS)}")
    try:
        _ = protocol.clip_shape
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    return protocol


def _prepare(
    records,
    folder: str,
    *,
    split: str,
    class_names: list[str],
    progress: Callable,
    protocol: ClipSpec,
    loading: Loading,
    **options,
):
    """`writing.prepare` with what the sections `eval` and `loader` say."""
    return writing.prepare(
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
