"""SSN: detection by scoring proposals. Shapes: b videos, p proposals of each, s segments, k classes."""

import math

import flax.linen as nn
import numpy as np

from actjax.errors import check_number
from actjax.losses import activity_loss, boundary_regression_loss, completeness_loss
from actjax.losses.ssn import INCOMPLETE
from actjax.models.init import initialize
from actjax.training.task import Task

LOSSES = ("activity", "completeness", "regression")


def ssn_task(
    model: nn.Module, *, num_hard: int, completeness_weight: float = 0.1, regression_weight: float = 0.1
) -> Task:
    """The task of `models.SSN`: a proposal's class, its completeness, and the regression of its boundaries.

    Args:
      num_hard: incomplete proposals per video that count, the hardest ones; usually as many as there are positives.
      completeness_weight, regression_weight: weights of these losses; the activity loss has weight 1.

    A batch has `video` uint8 [b, p, s, t, h, w, c], `proposal_scale_factor` [b, p, 2], `proposal_type` and
    `proposal_labels` int32 [b, p], `reg_targets` [b, p, 2]; see `data.clips.ssn_assignment.training_item`.
    `predict` returns the scores of these proposals. `score` returns the losses, and the classification accuracy on
    positive and background proposals.

    Source: MMAction2 0.6, SSN; its loss weights are in `train_cfg.ssn.loss_weight`.
    """
    check_number("completeness_weight", completeness_weight, "[0, inf)")
    check_number("regression_weight", regression_weight, "[0, inf)")
    weights = dict(zip(LOSSES, (1.0, completeness_weight, regression_weight), strict=True))

    def losses(scores, batch) -> dict:
        """name -> [b]."""
        labels, types = batch["proposal_labels"], batch["proposal_type"]
        parts = {
            "activity": activity_loss(scores["activity"], labels, types),
            "completeness": completeness_loss(scores["completeness"], labels, types, num_hard=num_hard),
        }
        if "regression" in scores:
            parts["regression"] = boundary_regression_loss(scores["regression"], labels, types, batch["reg_targets"])
        return {f"loss_{name}": weights[name] * part for name, part in parts.items()}

    def loss(variables, batch, key):
        collections = [name for name in variables if name != "params"]
        options = dict(train=True, mutable=collections, rngs={"dropout": key})
        scores, updated = model.apply(variables, batch["video"], batch["proposal_scale_factor"], **options)
        parts = losses(_given(scores), batch)
        return sum(parts.values()), updated, parts

    def predict(variables, batch):
        return _given(model.apply(variables, batch["video"], batch["proposal_scale_factor"]))

    def score(outputs, targets):
        parts = {name: float(np.mean(part)) for name, part in losses(outputs, targets).items()}
        counted = targets["proposal_type"] != INCOMPLETE
        right = outputs["activity"].argmax(-1) == targets["proposal_labels"]
        return {"loss": math.fsum(parts.values()), **parts, "activity_acc": float(right[counted].mean())}

    return Task(lambda key: initialize(model, key=key), loss, predict, score)


def _given(scores) -> dict:
    return {name: values for name, values in scores._asdict().items() if values is not None}
