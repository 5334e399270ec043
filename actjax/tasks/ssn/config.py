"""The config of SSN -> everything its runs need.

Sections: `data`, `loader`, `sample`, `sampler`, `assigner`, `model`, `train`, `test`, `optim`, `run`, and where the
defaults do not do, `detect`, `loss`, `load_from`. `checkpoint` names the one that detects after training.
"""

import functools
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from actjax import training
from actjax.config import Reader, bind, pick, unknown
from actjax.data.clips.ssn_assignment import Assigner, Pools, Sampler, construct_proposal_pools, regression_constants
from actjax.data.clips.ssn_clips import ProposalClips, ProposalSampling, Ticks
from actjax.data.clips.transforms import EVAL_VIEWS, TRAIN_VIEWS
from actjax.data.datasets.ssn import PROPOSED, Proposed
from actjax.data.datasets.ssn_lists import load_ssn
from actjax.models import SSN
from actjax.tasks.building import CHECKPOINTS, fitting, parameter_shapes, start_of
from actjax.tasks.loading import Loading, check_reading, loop_data
from actjax.tasks.ssn.task import ssn_task
from actjax.training.task import Task

METRICS = ("loss", "loss_activity", "loss_completeness", "loss_regression", "activity_acc")


class Training(NamedTuple):
    """Section `train`, beside `view`: see `data.clips.ssn_assignment`.

    reg_norm_consts: empty: those of the training split.
    """

    video_centric: bool = True
    reg_norm_consts: tuple = ()


class Scoring(NamedTuple):
    """Section `test`, beside `view`.

    chunk: clips of a video that are decoded, and go through the network, at a time.
    divide_parts: see `models.tick_scores`.
    """

    chunk: int = 16
    divide_parts: bool = True


class Detect(NamedTuple):
    """Section `detect`: from scores of proposals to detections and their score.

    top_k, nms, use_regression: see `localization.ssn_detections`.
    protocol: "thumos14": tIoU 0.1, 0.2, ..., 0.9; "activitynet": 0.5, 0.55, ..., 0.95.
    """

    top_k: int = 2000
    nms: float = 0.2
    use_regression: bool = True
    protocol: str = "thumos14"


PROTOCOLS = ("thumos14", "activitynet")

# Of what the scores of a video depend on.
READERS = {
    "data": Reader((PROPOSED, {"proposals": load_ssn}), given=("num_classes", "path")),
    "sample": Reader((ProposalSampling,)),
    "model": Reader((SSN,), given=("parent", "name", "in_channels", "segments")),
    "test": Reader((Scoring,), parts={"view": Reader((EVAL_VIEWS,), given=("height", "width", "rng"))}),
    "train": Reader((Training,), parts={"view": Reader((TRAIN_VIEWS,), given=("height", "width", "rng"))}),
    "assigner": Reader((Assigner,)),
}


class Detector(NamedTuple):
    """What it takes to train SSN, to score videos, and to make detections of the scores.

    class_names: () -> names. loop_data: (Proposed, workdir) -> what the training loop asks of the data.
    item: what of one record becomes part of a training batch, as shapes.
    reg_norm_consts: (Proposed) -> constants that the targets are normalised with.
    decisive: what of the config the scores of a video depend on, beside the checkpoint.
    """

    task: Task
    model: SSN
    settings: training.Settings
    optimizer: training.Optimizer
    item: dict
    groups: training.ParamGroups
    load_from: Callable | None
    loading: Loading
    open_dataset: Callable[[], Proposed]
    class_names: Callable[[], list[str]]
    loop_data: Callable[[Proposed, pathlib.Path], training.Data]
    reg_norm_consts: Callable[[Proposed], tuple]
    ticks: Ticks
    scoring: Scoring
    detect: Detect
    checkpoint: str
    decisive: dict


def ssn_experiment(
    *,
    data,
    loader,
    sample,
    sampler,
    assigner,
    model,
    train,
    test,
    optim,
    run,
    detect=None,
    loss=None,
    load_from=None,
    checkpoint: str = "latest",
) -> Detector:
    """Detection of actions in untrimmed videos by scoring proposals."""
    decisive = dict(data=data, sample=sample, model=model, test=test, train=train, assigner=assigner)
    sampling = bind(ProposalSampling, sample, "sample")()
    check_reading("sample", sampling)
    sampler, assigner = bind(Sampler, sampler, "sampler")(), bind(Assigner, assigner, "assigner")()
    train_view, fit = _view("train", train, TRAIN_VIEWS, Training)
    test_view, scoring = _view("test", test, EVAL_VIEWS, Scoring)
    clips = _clips(sampling, sampler, assigner, fit, train_view, test_view)
    ticks = Ticks(sampling, test_view, scoring.chunk)
    _check_shapes(clips["train"], ticks)
    given = ("parent", "name", "in_channels", "segments")
    network = bind(SSN, model, "model", given=given)(in_channels=ticks.clip_shape[-1], segments=sampling.segments)
    frames = ticks.clip_shape[1]
    if network.num_segments is not None and (network.num_segments < 1 or frames % network.num_segments):
        raise ValueError(f"model.num_segments={network.num_segments} does not divide the {frames} frames of a clip")
    settings, optimizer, rules = fitting(network, run=run, optim=optim)
    positive, incomplete, _ = sampler.counts
    task = bind(ssn_task, loss or {}, "loss", given=("model", "num_hard"))(network, num_hard=min(positive, incomplete))
    if settings.best not in METRICS:
        raise ValueError(f"run.best={unknown(settings.best, METRICS)}")
    if checkpoint not in CHECKPOINTS:
        raise ValueError(f"config.checkpoint={unknown(checkpoint, CHECKPOINTS)}")
    detect = bind(Detect, detect or {}, "detect")()
    if detect.protocol not in PROTOCOLS:
        raise ValueError(f"detect.protocol={unknown(detect.protocol, PROTOCOLS)}")
    opened = functools.partial(pick(PROPOSED, data, "data", given=("num_classes",)), num_classes=network.num_classes)
    loading = bind(Loading, loader, "loader", given=("power",))()
    constants = functools.partial(_constants, given=fit.reg_norm_consts, assigner=assigner)
    return Detector(
        task=task,
        model=network,
        settings=settings,
        optimizer=optimizer,
        item={"video": np.broadcast_to(np.uint8(0), clips["train"].clip_shape), **clips["train"].blank(None)},
        groups=training.param_groups(parameter_shapes(task), rules),
        load_from=start_of(network, load_from),
        loading=loading,
        open_dataset=opened,
        class_names=lambda: opened().class_names,
        loop_data=functools.partial(_loop_data, clips=clips, loading=loading, settings=settings, constants=constants),
        reg_norm_consts=constants,
        ticks=ticks,
        scoring=scoring,
        detect=detect,
        checkpoint=checkpoint,
        decisive=decisive,
    )


def _view(where: str, section, views: dict, kind) -> tuple[Callable, NamedTuple]:
    """A section's view, and its other keys."""
    options = dict(section)
    if "view" not in options:
        raise ValueError(f"{where}.view is missing")
    view = pick(views, options.pop("view"), f"{where}.view", given=("height", "width", "rng"))
    return view, bind(kind, options, where)()


def _clips(sampling, sampler, assigner, fit: Training, train_view, test_view) -> dict[str, ProposalClips]:
    """How items of both splits are made, as far as the config tells."""
    nothing = dict(records=(), pools=None, reg_norm_consts=fit.reg_norm_consts)
    common = dict(sampler=sampler, assigner=assigner, video_centric=fit.video_centric, **nothing)
    return {
        "train": ProposalClips(sampling, train_view, **common),
        "val": ProposalClips(sampling, functools.partial(_first_view, view=test_view), **common, test=True),
    }


def _first_view(height: int, width: int, *, rng, view: Callable) -> list:
    return view(height, width, rng=None)[:1]


def _check_shapes(clips: ProposalClips, ticks: Ticks) -> None:
    """Makes the views of a made-up video: what does not fit fails here, not in a worker."""
    try:
        _ = clips.clip_shape, ticks.clip_shape
    except ValueError as error:
        raise ValueError(f"sample, train.view, test.view: {error}") from error
    if len(clips.view(480, 640, rng=np.random.default_rng(0))) != 1:
        raise ValueError("train.view: SSN sees its clips through one view; this one has several")


def _constants(dataset: Proposed, *, given, assigner: Assigner) -> tuple:
    """Constants of the config, or those of the training split, ((mean, mean), (deviation, deviation)).

    Raises:
      ValueError: a deviation is not above 0, as where proposals are the ground truth itself.
    """
    constants = given or regression_constants(dataset.train, assigner)
    if not np.all(np.asarray(constants[1]) > 0):
        where = "train.reg_norm_consts" if given else "data.train: positive proposals"
        raise ValueError(
            f"{where}: the regression targets have deviations {np.asarray(constants[1]).tolist()}, and are divided by "
            "them; give train.reg_norm_consts=((mean, mean), (deviation, deviation)) with deviations above 0"
        )
    return tuple(tuple(map(float, row)) for row in constants)


def _loop_data(
    dataset: Proposed, workdir: pathlib.Path, *, clips: dict[str, ProposalClips], loading, settings, constants
) -> training.Data:
    known, fixed = {}, constants(dataset)
    for split, protocol in clips.items():
        records = getattr(dataset, split)
        pools = construct_proposal_pools(records, protocol.assigner, with_gt=protocol.sampler.add_gt_as_proposals)
        _check_pools(pools, protocol.sampler, split)
        known[split] = protocol._replace(records=records, pools=pools, reg_norm_consts=fixed)
    return loop_data(dataset, workdir, loading=loading, settings=settings, train=known["train"], eval=known["val"])


def _check_pools(pools: Pools, sampler: Sampler, split: str) -> None:
    """ValueError: an item needs proposals of a type that no video has."""
    for kind, pool, count in zip(Pools._fields, pools, sampler.counts, strict=True):
        if count and not pool.size:
            raise ValueError(
                f"data.{split}: not one proposal is {kind}, and every item needs {count}; see the thresholds of "
                "`assigner` and the ratios of `sampler`"
            )
