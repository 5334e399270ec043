"""The config of a recogniser -> its run, with every section checked.

Sections: `data`, `model`, `train`, `eval`, `optim`, `run`, and optionally `loader`, `test`, `load_from`, `loss`,
`augment`, `prepare`, `extract`, `localize` and `evaluators`.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from actjax import training
from actjax.config import Reader, plain, unknown
from actjax.config.changes import digest_of_config
from actjax.data.clips.spec import AVERAGE_CLIPS, ClipSpec
from actjax.data.clips.transforms import EVAL_VIEWS, SAMPLERS, TRAIN_VIEWS
from actjax.data.datasets import lists
from actjax.data.datasets.recognition import DATASETS
from actjax.data.datasets.selecting import selected
from actjax.data.prepared import writing
from actjax.errors import check_number, named
from actjax.losses import LOSSES
from actjax.models import TSN, adapt
from actjax.pixels import augment_in_order, make_augment
from actjax.tasks.building import LOAD_FROM, OPTIM, RUN, WITH_BACKBONE, make_network, video_settings
from actjax.tasks.loading import LoaderConfig, check_reading
from actjax.tasks.recognition.checking import check_augment, check_loss
from actjax.tasks.recognition.evaluators import EVALUATORS, make_evaluators
from actjax.tasks.recognition.run import PREPARE_GIVEN, Extraction, Localization, RecognitionRun
from actjax.tasks.recognition.task import MODELS, Test, recognition_task


def build(
    *,
    data,
    model,
    train,
    eval,
    optim,
    run,
    loader=None,
    test=None,
    load_from=None,
    loss=None,
    augment: dict | Sequence[dict] | None = None,
    prepare=None,
    extract=None,
    localize=None,
    evaluators=None,
) -> RecognitionRun:
    """The run of a config of recognition."""
    train_clips = READERS["train"].bind(train, "train")()
    eval_clips, at_once = READERS["eval"].bind(eval, "eval")(where="eval")
    test_clips, test_at_once = READERS["test"].bind(test, "test")(where="test") if test else (eval_clips, at_once)
    _check_channels(train_clips, eval_clips, test_clips)
    make_model = READERS["model"].bind(model, "model")
    tested = [clips.clip_shape[1:] for clips in (eval_clips, test_clips)]
    network = adapt(make_model, train_clips.clip_shape[1:], name=plain(model)["name"], tested=tested)
    READERS["data"].bind(data, "data")
    _check_flip_labels(train_clips.flip_labels, network.num_classes)
    settings = video_settings(network, run)
    augment = _augment(augment, train_clips.clip_shape, network.num_classes) if augment else None
    with named("prepare"):
        writing.check_options(READERS["prepare"].bind(prepare or {}, "prepare").keywords)
    multi_label = plain(data).get("multi_class", False)
    criterion = _criterion(loss or {}, multi_label, network.num_classes, mixed=augment is not None)
    options = dict(augment=augment, multi_label=multi_label, criterion=criterion)
    test_of = lambda clips, at_once: Test(
        recognition_task(network, average_clips=clips.average_clips, clips_at_once=at_once, **options), clips
    )
    judging = dict(model=model, eval=eval) | (dict(evaluators=evaluators, test=test) if evaluators else {})
    judged_by = digest_of_config(plain(judging), without=("clips_at_once", "interval", "backend"))
    validated = test_of(eval_clips, at_once)
    tests = {"eval": validated, "test": test_of(test_clips, test_at_once) if test else validated}
    evaluators = make_evaluators(evaluators or {}, tests, plain(data), network.num_classes, settings)
    label = np.eye(1, network.num_classes, dtype=np.float32)[0] if multi_label else np.int32(0)
    return RecognitionRun(
        network=make_network(
            network,
            validated.task,
            settings,
            optim=optim,
            element_spec={"video": np.broadcast_to(np.uint8(0), train_clips.clip_shape), "label": label},
            load_from=load_from,
            frozen=training.frozen_rules(network.freezing.patterns()),
        ),
        data=plain(data),
        multi_label=multi_label,
        loader=READERS["loader"].bind(loader or {}, "loader")().check(),
        train_clips=train_clips,
        eval_clips=eval_clips,
        test=tests["test"],
        augment=augment,
        prepare_options=plain(prepare or {}),
        extraction=_extraction(extract or {}, network, test_clips),
        localization=READERS["localize"].bind(localize or {}, "localize")().check(),
        evaluators=evaluators,
        judged_by=judged_by,
    )


def _augment(section, clip_shape: tuple[int, ...], num_classes: int) -> Callable:
    """The augmentation of a section by operation, or of a sequence of operations."""
    one_by_one = not isinstance(section, Mapping)
    augment = augment_in_order(section) if one_by_one else READERS["augment"].bind(section, "augment")()
    check_augment(augment, clip_shape, num_classes)
    return augment


def _criterion(section, multi_label: bool, num_classes: int, *, mixed: bool) -> Callable:
    """The loss that a section names; without a name, the cross-entropy that fits the labels.

    mixed: whether labels are mixed, and therefore float [n, k], as with `multi_label`.
    """
    section = {"name": "binary_cross_entropy" if multi_label else "cross_entropy"} | plain(section)
    criterion = READERS["loss"].bind(section, "loss")
    check_loss(criterion, section["name"], num_classes, vectors=multi_label or mixed)
    return criterion


def _extraction(section, network, clips: ClipSpec) -> Extraction:
    extraction = READERS["extract"].bind(section, "extract")().check()
    if extraction.num_frames is None:
        return extraction._replace(num_frames=1 if isinstance(network, TSN) else clips.clip_shape[1])
    return extraction


def _train_clips(*, sample, view, **options) -> ClipSpec:
    return _checked("train", ClipSpec(*_transforms("train", sample, view), **options))


def _eval_clips(
    *, where: str, sample, view, average_clips: str, clips_at_once: int = 0, **options
) -> tuple[ClipSpec, int]:
    """The clip spec, and how many crops of a video go through the network at a time."""
    with named(where):
        check_number("clips_at_once", clips_at_once, "[0, inf)", whole=True)
    options |= dict(average_clips=average_clips, test=True)
    return _checked(where, ClipSpec(*_transforms(where, sample, view), **options)), clips_at_once


def _check_channels(*specs: ClipSpec) -> None:
    """Raises ValueError if the clips differ in their number of channels."""
    channels = {clips.clip_shape[-1] for clips in specs}
    if len(channels) > 1:
        raise ValueError(f"the clips of train, eval and test have {sorted(channels)} channels; see modality and stack")


def _check_flip_labels(pairs: Sequence[Sequence[int]], num_classes: int) -> None:
    """Raises ValueError unless these are pairs of two classes each, and every class is in one pair at most."""
    classes = [k for pair in pairs for k in pair]
    if not all(0 <= k < num_classes for k in classes) or len(set(classes)) < len(classes):
        raise ValueError(
            f"train.flip_labels={pairs}; expected pairs of classes in 0..{num_classes - 1}, and each class once at most"
        )


def _transforms(where: str, sample, view) -> tuple[Callable, Callable]:
    parts = READERS[where].parts
    return parts["sample"].bind(sample, f"{where}.sample"), parts["view"].bind(view, f"{where}.view")


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


def _clips(make: Callable, views: dict, *given: str) -> Reader:
    """The reader of a section that describes clips."""
    parts = {
        "sample": Reader((SAMPLERS,), given=("rng",), positional=1),
        "view": Reader((views,), given=("rng",), positional=2),
    }
    return Reader((make, ClipSpec), given=("test", *given), parts=parts)


_EVAL = _clips(_eval_clips, EVAL_VIEWS, "where", "flip_labels")
READERS = {
    "data": Reader(
        (DATASETS, {"videos": lists.videos, "rawframes": lists.rawframes}),
        given=("num_classes", "path", "prefix", "names"),
        parts={"select": Reader((selected,), positional=1)},
    ),
    "loader": Reader((LoaderConfig,)),
    "model": Reader((MODELS,), given=("parent", "in_channels"), together=WITH_BACKBONE),
    "train": _clips(_train_clips, TRAIN_VIEWS, "average_clips"),
    "eval": _EVAL,
    "test": _EVAL,
    "optim": OPTIM,
    "run": RUN,
    "load_from": LOAD_FROM,
    "loss": Reader((LOSSES,), positional=2),
    "augment": Reader((make_augment,)),
    "prepare": Reader((writing.prepare,), given=PREPARE_GIVEN),
    "extract": Reader((Extraction,)),
    "localize": Reader((Localization,)),
    "evaluators": EVALUATORS,
}
