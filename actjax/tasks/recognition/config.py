"""The config of a recogniser -> its run, with every section checked.

Sections: `data`, `loader`, `model`, `train`, `eval`, `optim`, `run`, and optionally `test`, `load_from`, `loss`,
`augment`, `prepare` and `extract`.
"""

from collections.abc import Callable

import numpy as np

from actjax import training
from actjax.config import bind, pick, plain, unknown
from actjax.data.clips.spec import AVERAGE_CLIPS, ClipSpec
from actjax.data.clips.transforms import EVAL_VIEWS, SAMPLERS, TRAIN_VIEWS
from actjax.data.datasets.recognition import DATASETS
from actjax.data.prepared import writing
from actjax.losses import binary_cross_entropy, cross_entropy
from actjax.models import TSN
from actjax.pixels import make_augment
from actjax.tasks.building import make_network, video_settings
from actjax.tasks.loading import LoaderConfig, check_reading
from actjax.tasks.recognition.run import PREPARE_GIVEN, Extraction, RecognitionRun, Test
from actjax.tasks.recognition.task import MODELS, recognition_task


def build(
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
) -> RecognitionRun:
    """The run of a TSN or TSM config."""
    train_clips = bind(_train_clips, train, "train")()
    eval_clips, at_once = bind(_eval_clips, eval, "eval", given=("where",))(where="eval")
    test_clips, test_at_once = (
        bind(_eval_clips, test, "test", given=("where",))(where="test") if test else (eval_clips, at_once)
    )
    channels = _channels(train_clips, eval_clips, test_clips)
    network = pick(MODELS, model, "model", given=("parent", "in_channels"))(in_channels=channels)
    if len(network.mean) not in (1, channels) or len(network.std) not in (1, channels):
        raise ValueError(f"model.mean and model.std need 1 or {channels} numbers: one for all channels or one for each")
    settings = video_settings(network, run)
    pick(DATASETS, data, "data", given=("num_classes",))
    loader = bind(LoaderConfig, loader, "loader")()
    augment = bind(make_augment, augment, "augment")() if augment else None
    prepare = plain(prepare or {})
    bind(writing.prepare, prepare, "prepare", given=PREPARE_GIVEN)
    multi_label = plain(data).get("multi_class", False)
    criterion = binary_cross_entropy if multi_label else cross_entropy
    criterion = bind(criterion, loss or {}, "loss", given=("scores", "labels", "targets"))
    options = dict(augment=augment, multi_label=multi_label, criterion=criterion)
    task_of = lambda clips, at_once: recognition_task(
        network, average_clips=clips.average_clips, clips_at_once=at_once, **options
    )
    task = task_of(eval_clips, at_once)
    label = np.eye(1, network.num_classes, dtype=np.float32)[0] if multi_label else np.int32(0)
    _check_best(settings.best, task.score({"scores": np.zeros((1, network.num_classes))}, {"label": label[None]}))
    return RecognitionRun(
        network=make_network(
            network,
            task,
            settings,
            optim=optim,
            element_spec={"video": np.broadcast_to(np.uint8(0), train_clips.clip_shape), "label": label},
            load_from=load_from,
            frozen=training.frozen_rules(network.freezing.patterns()),
        ),
        data=plain(data),
        loader=loader,
        train_clips=train_clips,
        eval_clips=eval_clips,
        test=Test(task_of(test_clips, test_at_once), test_clips),
        augment=augment,
        prepare_options=prepare,
        extraction=_extraction(extract or {}, network, test_clips),
    )


def _check_best(best: str, metrics: dict) -> None:
    if best not in metrics:
        scalars = [name for name, value in metrics.items() if np.ndim(value) == 0]
        raise ValueError(f"run.best={unknown(best, scalars)}")


def _extraction(section, network, clips: ClipSpec) -> Extraction:
    extraction = bind(Extraction, section, "extract")().check()
    if extraction.num_frames is None:
        return extraction._replace(num_frames=1 if isinstance(network, TSN) else clips.clip_shape[1])
    return extraction


def _train_clips(*, sample, view, **options) -> ClipSpec:
    transforms = _transforms("train", sample, view, TRAIN_VIEWS)
    given = ("sample", "view", "average_clips", "test")
    return _checked("train", bind(ClipSpec, options, "train", given=given)(*transforms))


def _eval_clips(
    *, where: str, sample, view, average_clips: str, clips_at_once: int = 0, **options
) -> tuple[ClipSpec, int]:
    """The clip spec, and how many crops of a video go through the network at a time."""
    transforms = _transforms(where, sample, view, EVAL_VIEWS)
    given = ("sample", "view", "average_clips", "flip_labels", "test")
    make = bind(ClipSpec, options, where, given=given)
    return _checked(where, make(*transforms, average_clips=average_clips, test=True)), clips_at_once


def _channels(*specs: ClipSpec) -> int:
    """The number of channels of the clips. Raises ValueError if the specs differ."""
    channels = {clips.clip_shape[-1] for clips in specs}
    if len(channels) > 1:
        raise ValueError(f"the clips of train, eval and test have {sorted(channels)} channels; see modality and stack")
    return channels.pop()


def _transforms(where: str, sample, view, views) -> tuple[Callable, Callable]:
    given = ("num_frames", "height", "width", "rng")
    return pick(SAMPLERS, sample, f"{where}.sample", given=given), pick(views, view, f"{where}.view", given=given)


def _checked(where: str, clips: ClipSpec) -> ClipSpec:
    """Returns `clips` after making a clip of a dummy video, so a crop that does not fit fails here, not in a worker."""
    check_reading(where, clips)
    if clips.average_clips not in AVERAGE_CLIPS:
        raise ValueError(f"{where}.average_clips={unknown(clips.average_clips, AVERAGE_CLIPS)}")
    try:
        _ = clips.clip_shape
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    return clips
