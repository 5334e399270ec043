"""SSN: classes, completeness and boundaries of proposals, from clips before, inside and behind them.

Shapes: b videos, p proposals, s segments, t frames of a clip, h w pixels, c channels, v views, d features, k classes;
n ticks of a video. Source: Zhao et al., arXiv:1704.06228; SSN and SSNHead of the reference.
"""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from actjax.models.stpp import TickScores, num_parts, part_divisors, pool_segments, pool_ticks
from actjax.models.temporal import Temporal
from actjax.models.tsm import TSM


class ProposalScores(NamedTuple):
    """activity [..., p, k + 1], background first; completeness [..., p, k]; regression [..., p, k, 2], or None."""

    activity: jnp.ndarray
    completeness: jnp.ndarray
    regression: jnp.ndarray | None


class SSN(TSM):
    """Clips of segments `[b, p, s, t, h, w, c]` and scale factors `[b, p, 2]` -> `ProposalScores`.

    The backbone is that of TSN or, with `num_segments` above 1, of TSM: so many frames of a clip shift among each
    other. The features of a clip are the mean over its frames. Without `heads` they are all that comes out: `[..., d]`
    of clips `[..., t, h, w, c]`.

    Attributes, beside those of TSM:
      dropout: of the clips' features. head_dropout: of those of proposals.
      segments: clips before, inside and behind a proposal; s in all.
      stpp_stage: into how many parts these are pooled, see `actjax.models.stpp`.
      use_regression: whether boundaries are regressed.
    """

    num_segments: int | None = 1
    dropout: float = 0.8
    head_dropout: float = 0.0
    segments: tuple[int, int, int] = (2, 5, 2)
    stpp_stage: tuple = (1, 1, 1)
    use_regression: bool = True

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of a small video of one proposal."""
        return (1, sum(self.segments), *super().input_shape)

    def shifts(self, stage: int, block: int) -> bool:
        return self.num_segments != 1 and super().shifts(stage, block)

    @nn.compact
    def __call__(self, clips, scale_factors=None, *, train: bool = False, heads: bool = True):
        self._check()
        shifting = self._temporal(self.num_segments or clips.shape[-4])
        video = clips.reshape(-1, *clips.shape[-4:])
        features = self.features(video, train=train, temporal=Temporal() if self.num_segments == 1 else shifting)
        features = features.mean(1).reshape(*clips.shape[:-4], -1)
        if not heads:
            return features
        if scale_factors is None:
            scale_factors = jnp.ones((*clips.shape[:2], 2), features.dtype)
        features = self.drop(features, train=train)
        pooling = dict(num_segments_list=self.segments, stpp_stage=self.stpp_stage)
        course, pyramid = pool_segments(features, scale_factors, **pooling)
        drop = nn.Dropout(self.head_dropout, deterministic=not train)
        course, pyramid = drop(course), drop(pyramid.reshape(*pyramid.shape[:-2], -1))
        init = nn.initializers.normal(self.init_std)
        dense = lambda features, name: nn.Dense(features, kernel_init=init, name=name)
        activity = dense(self.num_classes + 1, "activity_fc")(course)
        completeness = dense(self.num_classes, "completeness_fc")(pyramid)
        if not self.use_regression:
            return ProposalScores(activity, completeness, None)
        regression = dense(2 * self.num_classes, "regressor_fc")(pyramid)
        return ProposalScores(activity, completeness, regression.reshape(*completeness.shape, 2))


def tick_features(model: SSN, variables: dict, clips):
    """uint8 clips of ticks `[n, v, t, h, w, c]` -> their features, the mean over views, float32 `[n, d]`."""
    return model.apply(variables, clips, heads=False).mean(1)


def tick_scores(model: SSN, variables: dict, features, *, divide_parts: bool = True) -> TickScores:
    """Features of ticks `[n, d]` -> what `pool_ticks` makes the scores of any number of proposals of.

    The classifiers of pyramids are linear, so each part of a pyramid has its own rows of them, which score every tick
    once; biases are shared out among the parts.

    Args:
      divide_parts: divide a part by the number of its stage's parts, as training does. The reference does not, which
        is the same for one part a stage.

    Source: SSNHead.prepare_test_fc of the reference.
    """
    params, parts, d = variables["params"], num_parts(model.stpp_stage), features.shape[-1]
    activity = features @ params["activity_fc"]["kernel"] + params["activity_fc"]["bias"]
    heads = [params[name] for name in ("completeness_fc", "regressor_fc") if name in params]
    kernel = jnp.concatenate([head["kernel"].reshape(parts, d, -1) for head in heads], axis=-1)
    if divide_parts:
        kernel = kernel / part_divisors(model.stpp_stage)[:, None, None].astype(kernel.dtype)
    bias = jnp.concatenate([head["bias"] for head in heads]) / parts
    return TickScores(activity, jnp.einsum("nd,mdq->nmq", features, kernel) + bias)


def proposal_scores(
    model: SSN, scores: TickScores, proposal_ticks, scale_factors, reg_norm_consts, num_ticks
) -> ProposalScores:
    """Scores of the ticks of a video -> of its proposals, the regression in lengths of the proposal.

    Args:
      proposal_ticks, scale_factors, num_ticks: as in `pool_ticks`.
      reg_norm_consts: [2, 2], mean and deviation of the targets that the network learned normalised.
    """
    activity, parts = pool_ticks(scores, proposal_ticks, scale_factors, num_ticks, stpp_stage=model.stpp_stage)
    completeness, regression = jnp.split(parts, [model.num_classes], axis=-1)
    if not model.use_regression:
        return ProposalScores(activity, completeness, None)
    mean, deviation = jnp.asarray(reg_norm_consts, parts.dtype)
    return ProposalScores(activity, completeness, regression.reshape(*completeness.shape, 2) * deviation + mean)
