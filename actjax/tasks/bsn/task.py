"""Temporal action proposals: BSN's two networks (TEM, PEM) and BMN. Source: MMAction2 0.6.

Shapes: b videos, s time steps, d durations (= s), p proposals, c features, r proposals after suppression.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from actjax.errors import check_number
from actjax.localization import batched, inside_video
from actjax.losses import binary_logistic_regression, bmn_classification, bmn_regression, proposal_regression
from actjax.models.init import initialize
from actjax.training.task import Task

CURVES = ("action", "start", "end")


def tem(model: nn.Module, *, match_threshold: float = 0.5, action_weight: float = 2.0) -> Task:
    """The task of `models.TEM`: probabilities of an action, a start and an end at every time step.

    Args:
      match_threshold: label above which a time step is positive.
      action_weight: weight of the action loss; the weight of the start and end losses is 1.

    A batch has `feature` [b, s, c] and `label` float32 [b, 3, s], see `localization.actionness_labels`. `predict`
    returns `curves` [b, 3, s]. `score` returns the losses over the whole set, independent of the batch size.

    Source: TEM.
    """
    check_number("action_weight", action_weight, "[0, inf)")
    weights = dict(zip(CURVES, (action_weight, 1.0, 1.0), strict=True))

    def losses(curves, labels):
        """name -> [b]."""
        return {
            f"loss_{name}": weight * binary_logistic_regression(curves[:, k], labels[:, k], threshold=match_threshold)
            for k, (name, weight) in enumerate(weights.items())
        }

    def loss(variables, batch, key):
        curves = model.apply(variables, batch["feature"]).transpose(0, 2, 1)
        parts = losses(curves, batch["label"])
        return sum(parts.values()), {}, parts

    def predict(variables, batch):
        return {"curves": model.apply(variables, batch["feature"]).transpose(0, 2, 1)}

    def score(outputs, targets):
        parts = {name: float(part.mean()) for name, part in losses(outputs["curves"], targets["label"]).items()}
        return {"loss": math.fsum(parts.values())} | parts

    return Task(lambda key: initialize(model, key=key), loss, predict, score)


def pem(
    model: nn.Module,
    *,
    nms: dict,
    sampled: bool = False,
    high: float = 0.6,
    low: float = 0.2,
    medium_ratio: float = 1.0,
    low_ratio: float = 2.0,
) -> Task:
    """The task of `models.PEM`: how well each candidate proposal fits an action.

    Args:
      nms: `alpha`, `low_threshold`, `high_threshold`, `top_k` of soft-NMS.
      sampled: True: train on a balanced sample of the proposals, as in the paper; False: on all of them, as the
        published network was.
      high, low, medium_ratio, low_ratio: options of that sample, see `losses.proposal_regression`.

    A batch has `feature` [b, p, c], `iou` [b, p], `given` bool [b, p] (False: padding) and `proposal` [b, p, 4]: start,
    end and their scores. `predict` returns `proposals` [b, r, 3]: start, end, score; and `found` bool [b, r].
    `score` returns {}.

    Source: PEM.
    """
    draw = dict(high=high, low=low, medium_ratio=medium_ratio, low_ratio=low_ratio)

    def loss(variables, batch, key):
        scores = model.apply(variables, batch["feature"])
        u = jax.random.uniform(key, scores.shape) if sampled else None
        return proposal_regression(scores, batch["iou"], batch["given"], u=u, **draw), {}, {}

    def predict(variables, batch):
        scores = model.apply(variables, batch["feature"])
        start, end, start_score, end_score = jnp.moveaxis(batch["proposal"], -1, 0)
        rows = jnp.stack([start, end, scores * start_score * end_score], axis=-1)
        return _suppressed(rows, batch["given"], nms)

    return Task(lambda key: initialize(model, key=key), loss, predict, _unscored)


def bmn(
    model: nn.Module,
    *,
    nms: dict,
    match_threshold: float = 0.5,
    regression_weight: float = 10.0,
    classification_weight: float = 1.0,
    peak_threshold: float = 0.5,
    exact_sampling: bool = False,
) -> Task:
    """The task of `models.BMN`: boundaries at every time step, and a score for every start and duration.

    Args:
      nms: as in `pem`.
      match_threshold: label above which a time step is a start or an end.
      regression_weight, classification_weight: weights of the two losses on the boundary-matching map.
      peak_threshold: see `localization.boundary_matching_proposals`.
      exact_sampling: see `losses.bmn_regression`.

    A batch has `feature` [b, s, c], `label` float32 [b, 2, s] (`localization.boundary_labels`) and `ious` float32
    [b, d, s] (`localization.iou_map`). `predict` and `score` are as in `pem`.

    Source: BMN, BMNLoss.
    """
    check_number("regression_weight", regression_weight, "[0, inf)")
    check_number("classification_weight", classification_weight, "[0, inf)")
    inside = inside_video(model.temporal_scale)

    def loss(variables, batch, key):
        maps, label, ious = model.apply(variables, batch["feature"]), batch["label"], batch["ious"]
        curves = enumerate((maps.start, maps.end))
        boundary = lambda k, curve: binary_logistic_regression(curve, label[:, k], threshold=match_threshold)
        u = jax.random.uniform(key, (2, *ious.shape))
        parts = {
            "loss_boundary": sum(boundary(k, curve) for k, curve in curves),
            "loss_regression": bmn_regression(maps.regression, ious, u=u, exact_sampling=exact_sampling),
            "loss_classification": bmn_classification(maps.classification, ious, inside),
        }
        total = parts["loss_boundary"] + regression_weight * parts["loss_regression"]
        return total + classification_weight * parts["loss_classification"], {}, parts

    def predict(variables, batch):
        maps = model.apply(variables, batch["feature"])
        return _suppressed(*batched.boundary_matching_proposals(*maps, peak_threshold=peak_threshold), nms)

    return Task(lambda key: initialize(model, key=key), loss, predict, _unscored)


def _suppressed(rows, given, nms: dict) -> dict:
    proposals, found = batched.soft_nms(rows, given, **nms)
    return {"proposals": proposals, "found": found}


def _unscored(outputs: dict, targets: dict) -> dict:
    """No metrics: scoring proposals needs annotations, which the run adds; see `tasks.bsn.chain`."""
    return {}
