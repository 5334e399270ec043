"""The config of BSN or BMN -> its run.

Sections: `data`; one per network (`tem` and `pem`, or `bmn`) with `model`, `optim`, `run` and optionally `loss`,
`labels`, `nms`, `load_from`; `pgm`; `loader` and `detect`. `stages` lists the stages to run.
"""

from collections.abc import Callable

import numpy as np

from actjax import training
from actjax.config import Reader, bind, plain, unknown
from actjax.data.datasets.untrimmed import UNTRIMMED
from actjax.errors import named
from actjax.models import BMN, PEM, TEM
from actjax.tasks.bsn.proposals import Nms, Pgm
from actjax.tasks.bsn.report import Detect
from actjax.tasks.bsn.run import BsnRun, StageNetwork
from actjax.tasks.bsn.task import bmn, pem, tem
from actjax.tasks.building import CHECKPOINTS, LOAD_FROM, OPTIM, make_network
from actjax.tasks.loading import LoaderConfig

TEM_METRICS = ("loss", "loss_action", "loss_start", "loss_end")
PROPOSAL_METRICS = ("auc", "AR@1", "AR@5", "AR@10", "AR@100")


def build(*, data, tem, pgm, pem, stages: str = "tem,pgm,pem", detect=None, loader=None, code: str = "") -> BsnRun:
    """BSN: TEM predicts boundary curves, PGM turns them into proposals, PEM scores the proposals."""
    between = READERS["pgm"].bind(pgm, "pgm")()
    networks = {
        "tem": READERS["tem"].bind(tem, "tem")(),
        "pem": READERS["pem"].bind(pem, "pem")(num_proposals=between.top_k_train),
    }
    if bool(between.proposals) != bool(between.features):
        raise ValueError("pgm.proposals and pgm.features: set both folders or neither")
    points = between.num_sample_start + between.num_sample_end + between.num_sample_action
    feat_dim = networks["pem"].network.model.feat_dim
    if feat_dim != points:
        raise ValueError(f"pem.model.feat_dim={feat_dim}; pgm makes {points} numbers per proposal")
    sections = dict(data=data, tem=tem, pgm=pgm, pem=pem, code=code)
    return _run(("tem", "pgm", "pem"), stages, networks, between, detect, loader, sections)


def build_bmn(*, data, bmn, stages: str = "bmn", detect=None, loader=None, code: str = "") -> BsnRun:
    """BMN: one network from features to proposals."""
    networks = {"bmn": READERS["bmn"].bind(bmn, "bmn")()}
    return _run(("bmn",), stages, networks, None, detect, loader, dict(data=data, bmn=bmn, code=code))


def _run(chain, stages: str, networks, pgm, detect, loader, sections) -> BsnRun:
    chosen = [stage.strip() for stage in stages.split(",") if stage.strip()]
    for stage in chosen:
        if stage not in chain:
            raise ValueError(f"config.stages={unknown(stage, chain)}")
    if not chosen:
        raise ValueError(f"config.stages={stages!r} names no stage; choose from {', '.join(chain)}")
    READERS["data"].bind(sections["data"], "data")
    return BsnRun(
        stages=tuple(stage for stage in chain if stage in chosen),
        chain=chain,
        networks=networks,
        pgm=pgm,
        data=plain(sections["data"]),
        detect=READERS["detect"].bind(detect or {}, "detect")(),
        loader=READERS["loader"].bind(loader or {}, "loader")().check(),
        sections=sections,
        readers=READERS,
    )


def _tem(*, model, optim, run, loss=None, labels=None, load_from=None, checkpoint="latest", results="") -> StageNetwork:
    labels = bind(_tem_labels, labels or {}, "tem.labels")()
    model = _model(TEM, model, "tem")
    with named("tem.loss"):
        task = bind(tem, loss or {}, "tem.loss", given=("model",))(model)
    shapes = _shapes(feature=model.input_shape, label=(3, model.temporal_scale))
    network = _network("tem", model, task, optim, run, load_from, shapes, TEM_METRICS)
    return StageNetwork(network, _checkpoint("tem", checkpoint), labels, results=results)


def _tem_labels(*, boundary_ratio: float = 0.1) -> dict:
    return dict(boundary_ratio=boundary_ratio)


def _pem(*, model, optim, run, nms, num_proposals, loss=None, load_from=None, checkpoint="latest") -> StageNetwork:
    model, p = _model(PEM, model, "pem"), num_proposals
    shapes = _shapes(feature=(p, model.feat_dim), iou=(p,), proposal=(p, 4)) | {"given": np.zeros(p, bool)}
    return _proposing("pem", pem, model, optim, run, nms, loss, load_from, checkpoint, shapes)


def _bmn(*, model, optim, run, nms, loss=None, load_from=None, checkpoint="latest") -> StageNetwork:
    model = _model(BMN, model, "bmn")
    s = model.temporal_scale
    shapes = _shapes(feature=model.input_shape, label=(2, s), ious=(s, s))
    return _proposing("bmn", bmn, model, optim, run, nms, loss, load_from, checkpoint, shapes)


def _shapes(**shapes: tuple[int, ...]) -> dict:
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}


def _proposing(where, task, model, optim, run, nms, loss, load_from, checkpoint, shapes) -> StageNetwork:
    """A stage whose network predicts proposals."""
    nms = bind(Nms, nms, f"{where}.nms")()
    with named(f"{where}.loss"):
        task = bind(task, loss or {}, f"{where}.loss", given=("model", "nms"))(model, nms=nms._asdict())
    network = _network(where, model, task, optim, run, load_from, shapes, PROPOSAL_METRICS)
    return StageNetwork(network, _checkpoint(where, checkpoint), {}, nms)


def _model(kind, section, where: str):
    return bind(kind, section, f"{where}.model", given=("parent", "name"))()


def _checkpoint(where: str, name: str) -> str:
    if name not in CHECKPOINTS:
        raise ValueError(f"{where}.checkpoint={unknown(name, CHECKPOINTS)}")
    return name


def _network(where, model, task, optim, run, load_from, shapes, best):
    settings = bind(training.Settings, run, f"{where}.run", given=("scale_loss", "bn"))().check(f"{where}.run")
    if settings.best not in best:
        raise ValueError(f"{where}.run.best={unknown(settings.best, best)}")
    return make_network(model, task, settings, optim=optim, element_spec=shapes, load_from=load_from, where=f"{where}.")


def _reader(section: Callable, model, loss: Callable, **parts: Reader) -> Reader:
    """The reader of a network's section."""
    common = dict(
        model=Reader((model,), given=("parent", "name")),
        loss=Reader((loss,), given=("model", "nms")),
        run=Reader((training.Settings,), given=("scale_loss", "bn")),
        optim=OPTIM,
        load_from=LOAD_FROM,
    )
    return Reader((section,), given=("num_proposals",), parts=common | parts)


READERS = {
    "data": Reader((UNTRIMMED,)),
    "loader": Reader((LoaderConfig,), given=("num_workers", "timeout", "power")),
    "detect": Reader((Detect,)),
    "tem": _reader(_tem, TEM, tem, labels=Reader((_tem_labels,))),
    "pgm": Reader((Pgm,)),
    "pem": _reader(_pem, PEM, pem, nms=Reader((Nms,))),
    "bmn": _reader(_bmn, BMN, bmn, nms=Reader((Nms,))),
}
