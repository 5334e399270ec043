"""The config of BSN or BMN -> everything its stages need.

Sections: `data`; for every network (`tem` and `pem`, or `bmn`) `model`, `optim`, `run`, and where the defaults do not
do, `loss`, `labels`, `nms`, `load_from`; `pgm`; `loader` and `detect`. `stages` names those that a run goes through.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from actjax import training
from actjax.config import Reader, bind, pick, unknown
from actjax.data.datasets.untrimmed import UNTRIMMED, Untrimmed
from actjax.models import BMN, PEM, TEM, import_checkpoint
from actjax.tasks.bsn.task import bmn, pem, tem
from actjax.tasks.building import CHECKPOINTS, optimizer_of, parameter_shapes, start_of
from actjax.training.optimizers import OPTIMIZERS, RULES, SCHEDULES
from actjax.training.task import Task

TEM_METRICS = ("loss", "loss_action", "loss_start", "loss_end")
PROPOSAL_METRICS = ("auc", "AR@1", "AR@5", "AR@10", "AR@100")


class Network(NamedTuple):
    """A network of the chain, and what it takes to train it.

    task: (judge) -> Task; see `actjax.tasks.pem`.
    load_from: () -> `Imported`, what training starts from, or None.
    checkpoint: the one that the next stage uses, "latest" or "best".
    labels: options of the labels.
    item: what of one record becomes part of a training batch, as shapes.
    results: folder of what the network would give, made elsewhere; "" for none.
    """

    model: Any
    task: Callable[[Callable | None], Task]
    settings: training.Settings
    optimizer: training.Optimizer
    groups: training.ParamGroups
    load_from: Callable | None
    checkpoint: str
    labels: dict
    item: dict
    nms: "Nms | None" = None
    results: str = ""


class Nms(NamedTuple):
    """Section `nms`: soft-NMS of the proposals, see `localization.soft_nms`; `top_k` is what remains of a video."""

    alpha: float
    low_threshold: float
    high_threshold: float
    top_k: int = 100


class Pgm(NamedTuple):
    """Section `pgm`: proposal generation between the two networks of BSN.

    peak_threshold: see `localization.candidate_proposals`.
    top_k_train, top_k: proposals kept of a video of the training split, of the validation split.
    bsp_boundary_ratio, num_sample_start, num_sample_end, num_sample_action, num_sample_interp: see
      `localization.bsp_feature`.
    proposals, features: folders of `<video>.csv` and `<video>.npy` made elsewhere, to be used instead; "" for none.
    """

    peak_threshold: float = 0.5
    top_k_train: int = 500
    top_k: int = 1000
    bsp_boundary_ratio: float = 0.2
    num_sample_start: int = 8
    num_sample_end: int = 8
    num_sample_action: int = 16
    num_sample_interp: int = 3
    proposals: str = ""
    features: str = ""

    @property
    def sampling(self) -> dict:
        """The options of `localization.bsp_feature`."""
        return {name: value for name, value in self._asdict().items() if name.startswith(("bsp_", "num_"))}


class Detect(NamedTuple):
    """Section `detect`: detections are proposals with the `top_classes` best classes of their video."""

    top_classes: int = 2


class Broken(NamedTuple):
    """Section `loader`: the share of unreadable videos that a run accepts; a quarantine of another run to skip."""

    max_broken: float = 0.05
    skip: str = ""


class Proposer(NamedTuple):
    """Stages from features to proposals.

    stages: those to go through, in order; chain: all there are.
    networks: by stage. pgm: between them, or None.
    sections: what of the config decides over each stage's outputs.
    """

    stages: tuple[str, ...]
    chain: tuple[str, ...]
    networks: dict[str, Network]
    pgm: Pgm | None
    open_dataset: Callable[[], Untrimmed]
    detect: Detect
    loading: Broken
    sections: dict[str, dict]


def bsn_experiment(*, data, tem, pgm, pem, stages: str = "tem,pgm,pem", detect=None, loader=None) -> Proposer:
    """BSN: curves of boundaries (TEM), proposals from them (PGM), scores for these (PEM)."""
    sections = dict(data=data, tem=tem, pgm=pgm, pem=pem)
    networks = {
        "tem": bind(_tem, tem, "tem")(),
        "pem": bind(_pem, pem, "pem", given=("num_proposals",)),
    }
    between = bind(Pgm, pgm, "pgm")()
    networks["pem"] = networks["pem"](num_proposals=between.top_k_train)
    if bool(between.proposals) != bool(between.features):
        raise ValueError("pgm.proposals, pgm.features: name both folders, or none")
    points = between.num_sample_start + between.num_sample_end + between.num_sample_action
    if networks["pem"].model.feat_dim != points:
        raise ValueError(f"pem.model.feat_dim={networks['pem'].model.feat_dim}; pgm makes {points} numbers a proposal")
    return _proposer(("tem", "pgm", "pem"), stages, networks, between, data, detect, loader, sections)


def bmn_experiment(*, data, bmn, stages: str = "bmn", detect=None, loader=None) -> Proposer:
    """BMN: one network from features to proposals."""
    networks = {"bmn": bind(_bmn, bmn, "bmn")()}
    return _proposer(("bmn",), stages, networks, None, data, detect, loader, dict(data=data, bmn=bmn))


def _proposer(chain, stages: str, networks, pgm, data, detect, loader, sections) -> Proposer:
    chosen = [stage.strip() for stage in stages.split(",") if stage.strip()]
    for stage in chosen:
        if stage not in chain:
            raise ValueError(f"config.stages={unknown(stage, chain)}")
    return Proposer(
        stages=tuple(stage for stage in chain if stage in chosen),
        chain=chain,
        networks=networks,
        pgm=pgm,
        open_dataset=pick(UNTRIMMED, data, "data"),
        detect=bind(Detect, detect or {}, "detect")(),
        loading=bind(Broken, loader or {}, "loader")(),
        sections=sections,
    )


def _tem(*, model, optim, run, loss=None, labels=None, load_from=None, checkpoint="latest", results="") -> Network:
    labels = bind(_tem_labels, labels or {}, "tem.labels")()
    model = _model(TEM, model, "tem")
    make = bind(tem, loss or {}, "tem.loss", given=("model",))
    unjudged = lambda judge: make(model)  # curves are not proposals
    item = _shapes(feature=model.input_shape, label=(3, model.temporal_scale))
    network = _network("tem", model, unjudged, optim, run, load_from, checkpoint, TEM_METRICS)
    return network._replace(labels=labels, item=item, results=results)


def _tem_labels(*, boundary_ratio: float = 0.1) -> dict:
    return dict(boundary_ratio=boundary_ratio)


def _pem(*, model, optim, run, nms, num_proposals, loss=None, load_from=None, checkpoint="latest") -> Network:
    model, p = _model(PEM, model, "pem"), num_proposals
    item = _shapes(feature=(p, model.feat_dim), iou=(p,), proposal=(p, 4)) | {"given": np.zeros(p, bool)}
    return _judged("pem", pem, model, optim, run, nms, loss, load_from, checkpoint)._replace(item=item)


def _bmn(*, model, optim, run, nms, loss=None, load_from=None, checkpoint="latest") -> Network:
    model = _model(BMN, model, "bmn")
    s = model.temporal_scale
    item = _shapes(feature=model.input_shape, label=(2, s), ious=(s, s))
    return _judged("bmn", bmn, model, optim, run, nms, loss, load_from, checkpoint)._replace(item=item)


def _shapes(**shapes: tuple[int, ...]) -> dict:
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}


def _judged(where, task, model, optim, run, nms, loss, load_from, checkpoint) -> Network:
    nms = bind(Nms, nms, f"{where}.nms")()
    make = bind(task, loss or {}, f"{where}.loss", given=("model", "nms", "judge"))
    judged = lambda judge: make(model, nms=nms._asdict(), judge=judge)
    return _network(where, model, judged, optim, run, load_from, checkpoint, PROPOSAL_METRICS)._replace(nms=nms)


def _model(kind, section, where: str):
    return bind(kind, section, f"{where}.model", given=("parent", "name"))()


def _network(where, model, task, optim, run, load_from, checkpoint, best) -> Network:
    """What all networks share, checked."""
    settings = bind(training.Settings, run, f"{where}.run", given=("scale_loss", "bn"))().check()
    if settings.best not in best:
        raise ValueError(f"{where}.run.best={unknown(settings.best, best)}")
    if checkpoint not in CHECKPOINTS:
        raise ValueError(f"{where}.checkpoint={unknown(checkpoint, CHECKPOINTS)}")
    given = ("settings", "frozen")
    optimizer, rules = bind(optimizer_of, optim, f"{where}.optim", given=given)(settings=settings, frozen=())
    return Network(
        model=model,
        task=task,
        settings=settings,
        optimizer=optimizer,
        groups=training.param_groups(parameter_shapes(task(None)), rules),
        load_from=start_of(model, load_from),
        checkpoint=checkpoint,
        labels={},
        item={},
    )


def _reader(section: Callable, model, loss: Callable, **parts: Reader) -> Reader:
    """Of the section of a network."""
    parameters = ("params", "schedule", "rules", "epoch", "epochs", "settings", "frozen")
    common = dict(
        model=Reader((model,), given=("parent", "name")),
        loss=Reader((loss,), given=("model", "nms", "judge")),
        run=Reader((training.Settings,), given=("scale_loss", "bn")),
        optim=Reader(
            (optimizer_of, OPTIMIZERS),
            given=parameters,
            parts={"rules": Reader((RULES,)), "schedule": Reader((SCHEDULES,), given=parameters)},
        ),
        load_from=Reader((import_checkpoint,), given=("model",)),
    )
    return Reader((section,), given=("num_proposals",), parts=common | parts)


READERS = {
    "data": Reader((UNTRIMMED,)),
    "tem": _reader(_tem, TEM, tem, labels=Reader((_tem_labels,))),
    "pgm": Reader((Pgm,)),
    "pem": _reader(_pem, PEM, pem, nms=Reader((Nms,))),
    "bmn": _reader(_bmn, BMN, bmn, nms=Reader((Nms,))),
}
