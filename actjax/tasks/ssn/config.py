"""The config of SSN -> its run, with every section checked.

Sections: `data`, `sample`, `sampler`, `assigner`, `model`, `train`, `test`, `optim`, `run`, and optionally `loader`,
`detect`, `loss`, `load_from`. `checkpoint` names the checkpoint that scores videos after training.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from actjax import training
from actjax.config import Reader, pick, plain, unknown
from actjax.data.clips.ssn_assignment import Assigner, Sampler
from actjax.data.clips.ssn_clips import ProposalSampling, ProposalSpec, Ticks
from actjax.data.clips.transforms import EVAL_VIEWS, TRAIN_VIEWS
from actjax.data.datasets.annotations import KINDS
from actjax.data.datasets.ssn import PROPOSED
from actjax.errors import named
from actjax.models import SSN
from actjax.tasks.building import CHECKPOINTS, LOAD_FROM, OPTIM, RUN, WITH_BACKBONE, make_network, video_settings
from actjax.tasks.loading import LoaderConfig, check_reading
from actjax.tasks.ssn.report import TIOU_THRESHOLDS, Detect
from actjax.tasks.ssn.run import SsnRun
from actjax.tasks.ssn.scoring import Scoring
from actjax.tasks.ssn.task import ssn_task

METRICS = ("loss", "loss_activity", "loss_completeness", "loss_regression", "activity_acc")


class TrainConfig(NamedTuple):
    """Section `train`, without its key `view`: see `data.clips.ssn_assignment`.

    reg_norm_consts: empty: computed from the training split.
    """

    video_centric: bool = True
    reg_norm_consts: tuple = ()


def _scored(kind: Callable, views: dict) -> Reader:
    """The reader of a section that holds a view and the keys of `kind`."""
    return Reader((kind,), given=("view",), parts={"view": Reader((views,), given=("rng",), positional=2)})


READERS = {
    "data": Reader((PROPOSED, {"proposals": KINDS["ssn"]}), given=("num_classes", "path", "prefix")),
    "loader": Reader((LoaderConfig,), given=("power",)),
    "sample": Reader((ProposalSampling,)),
    "sampler": Reader((Sampler,)),
    "assigner": Reader((Assigner,)),
    "model": Reader((SSN,), given=("parent", "name", "in_channels", "segments"), together=WITH_BACKBONE),
    "train": _scored(TrainConfig, TRAIN_VIEWS),
    "test": _scored(Scoring, EVAL_VIEWS),
    "optim": OPTIM,
    "run": RUN,
    "detect": Reader((Detect,)),
    "loss": Reader((ssn_task,), given=("model", "num_hard")),
    "load_from": LOAD_FROM,
}


def build(
    *,
    data,
    sample,
    sampler,
    assigner,
    model,
    train,
    test,
    optim,
    run,
    loader=None,
    detect=None,
    loss=None,
    load_from=None,
    checkpoint: str = "latest",
    code: str = "",
) -> SsnRun:
    """The run of an SSN config: detects actions in untrimmed videos by scoring proposals."""
    # The sections that determine the scores of a video.
    scored_by = dict(data=data, sample=sample, model=model, test=test, train=train, assigner=assigner)
    sampling = READERS["sample"].bind(sample, "sample")()
    check_reading("sample", sampling)
    sampler, assigner = READERS["sampler"].bind(sampler, "sampler")(), READERS["assigner"].bind(assigner, "assigner")()
    train_view, fit = _view("train", train)
    test_view, scoring = _view("test", test)
    common = dict(sampler=sampler, video_centric=fit.video_centric)
    train_spec = ProposalSpec(sampling, train_view, **common)
    val_spec = ProposalSpec(sampling, functools.partial(_first_view, view=test_view), **common, test=True)
    ticks = Ticks(sampling, test_view, scoring.chunk)
    _check_shapes(train_spec, ticks)
    make_model = READERS["model"].bind(model, "model")
    with named("model"):
        network = make_model(in_channels=ticks.clip_shape[-1], segments=sampling.segments)
    frames = ticks.clip_shape[1]
    if network.num_segments is not None and (network.num_segments < 1 or frames % network.num_segments):
        raise ValueError(f"model.num_segments={network.num_segments} does not divide the {frames} frames of a clip")
    settings = video_settings(network, run)
    positive, incomplete, _ = sampler.counts
    with named("loss"):
        task = READERS["loss"].bind(loss or {}, "loss")(network, num_hard=min(positive, incomplete))
    detect = READERS["detect"].bind(detect or {}, "detect")()
    for key, value, known in (
        ("run.best", settings.best, METRICS),
        ("config.checkpoint", checkpoint, CHECKPOINTS),
        ("detect.protocol", detect.protocol, TIOU_THRESHOLDS),
    ):
        if value not in known:
            raise ValueError(f"{key}={unknown(value, known)}")
    pick(PROPOSED, data, "data", given=("num_classes",))
    return SsnRun(
        network=make_network(
            network,
            task,
            settings,
            optim=optim,
            element_spec={"video": np.broadcast_to(np.uint8(0), train_spec.clip_shape), **train_spec.blank()},
            load_from=load_from,
            frozen=training.frozen_rules(network.freezing.patterns()),
        ),
        data=plain(data),
        loader=READERS["loader"].bind(loader or {}, "loader")().check(),
        specs={"train": train_spec, "val": val_spec},
        assigner=assigner,
        reg_norm_consts=fit.reg_norm_consts,
        ticks=ticks,
        scoring=scoring,
        detect=detect,
        checkpoint=checkpoint,
        scored_by=scored_by,
        code=code,
    )


def _view(where: str, section) -> tuple[Callable, NamedTuple]:
    """A section's view, and its other keys as a tuple of their own."""
    options, reader = dict(section), READERS[where]
    if "view" not in options:
        raise ValueError(f"{where}.view is missing")
    view = reader.parts["view"].bind(options.pop("view"), f"{where}.view")
    return view, reader.bind(options, where)()


def _first_view(height: int, width: int, *, rng, view: Callable) -> list:
    return view(height, width, rng=None)[:1]


def _check_shapes(spec: ProposalSpec, ticks: Ticks) -> None:
    """Makes the crops of a dummy video, so a crop that does not fit fails here, not in a worker."""
    try:
        _ = spec.clip_shape, ticks.clip_shape
    except ValueError as error:
        raise ValueError(f"sample, train.view, test.view: {error}") from error
    if len(spec.view(480, 640, rng=np.random.default_rng(0))) != 1:
        raise ValueError("train.view: SSN takes one crop of each clip; this view gives several")
