"""SSN: classes, completeness and boundaries of proposals, from clips before, inside and after them.

Shapes: b videos, p proposals, s segments, t frames of a clip, h w pixels, c channels, v crops, d features, k classes;
n ticks of a video. Source: Zhao et al., arXiv:1704.06228; SSN and SSNHead of MMAction2 0.6.
"""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from actjax.errors import check_number
from actjax.models.stpp import TickScores, num_parts, part_divisors, pool_segments, pool_ticks
from actjax.models.temporal import Temporal
from actjax.models.tsm import TSM


class ProposalScores(NamedTuple):
    """activity: [..., p, k + 1], background first; completeness: [..., p, k]; regression: [..., p, k, 2], or None."""

    activity: jnp.ndarray
    completeness: jnp.ndarray
    regression: jnp.ndarray | None


class SSN(TSM):
    """Clips of segments `[b, p, s, t, h, w, c]` and scale factors `[b, p, 2]` -> `ProposalScores`.

    The backbone is TSN's or, with `num_segments` above 1, TSM's, which shifts among that many frames of a clip. A
    clip's features are the mean over its frames. `heads=False` returns these features alone: clips
    `[..., t, h, w, c]` -> `[..., d]`.

    >>> import jax
    >>> model, clips = SSN(num_classes=3, depth=18), jnp.zeros((1, 2, 9, 1, 32, 32, 3), jnp.uint8)
    >>> scores = jax.eval_shape(lambda key: model.init_with_output(key, clips)[0], jax.random.key(0))
    >>> scores.activity.shape, scores.completeness.shape, scores.regression.shape
    ((1, 2, 4), (1, 2, 3), (1, 2, 3, 2))

    Attributes in addition to TSM's:
      dropout: on clip features. head_dropout: on proposal features.
      segments: clips before, inside and after a proposal; s in all.
      stpp_stage: number of parts each of these is pooled into, see `actjax.models.stpp`.
      use_regression: whether boundaries are regressed.
    """

    num_segments: int | None = 1
    dropout: float = 0.8
    head_dropout: float = 0.0
    segments: tuple[int, int, int] = (2, 5, 2)
    stpp_stage: tuple = (1, 1, 1)
    use_regression: bool = True

    def __post_init__(self):
        check_number("head_dropout", self.head_dropout, "[0, 1]")
        super().__post_init__()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of a small video with one proposal."""
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
    """uint8 clips of ticks `[n, v, t, h, w, c]` -> features, averaged over crops, float32 `[n, d]`."""
    return model.apply(variables, clips, heads=False).mean(1)


def tick_scores(model: SSN, variables: dict, features, *, divide_parts: bool = True) -> TickScores:
    """Features of ticks `[n, d]` -> per-tick logits; `pool_ticks` pools them into the scores of any proposal.

    The heads on the pyramid are linear: each part of the pyramid has its own rows of their kernels, so every tick is
    scored once per part. Each part gets an equal share of the bias.

    >>> dense = lambda rows, columns: {"kernel": jnp.ones((rows, columns)), "bias": jnp.zeros(columns)}
    >>> heads = {"activity_fc": dense(4, 4), "completeness_fc": dense(12, 3), "regressor_fc": dense(12, 6)}
    >>> model = SSN(num_classes=3)
    >>> scores = tick_scores(model, {"params": heads}, jnp.ones((7, 4)))
    >>> scores.activity.shape, scores.parts.shape
    ((7, 4), (7, 3, 9))

    Args:
      divide_parts: divide a part by the number of parts in its stage, as in training. MMAction2 does not; with one part
        per stage there is no difference.

    Source: MMAction2's SSNHead.prepare_test_fc.
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
    """Per-tick logits of a video -> `ProposalScores` of its proposals, with regression in units of proposal length.

    >>> scores = TickScores(activity=jnp.ones((7, 4)), parts=jnp.ones((7, 3, 9)))  # of 7 ticks
    >>> ticks, factors = jnp.array([[0, 2, 4, 6]]), jnp.ones((1, 2))
    >>> found = proposal_scores(SSN(num_classes=3), scores, ticks, factors, jnp.array([[0, 0], [1, 1]]), num_ticks=7)
    >>> found.activity.shape, found.completeness.shape, found.regression.shape
    ((1, 4), (1, 3), (1, 3, 2))

    Args:
      proposal_ticks, scale_factors, num_ticks: as in `pool_ticks`.
      reg_norm_consts: [2, 2], mean and standard deviation that normalised the regression targets in training.
    """
    activity, parts = pool_ticks(scores, proposal_ticks, scale_factors, num_ticks, stpp_stage=model.stpp_stage)
    completeness, regression = jnp.split(parts, [model.num_classes], axis=-1)
    if not model.use_regression:
        return ProposalScores(activity, completeness, None)
    mean, deviation = jnp.asarray(reg_norm_consts, parts.dtype)
    return ProposalScores(activity, completeness, regression.reshape(*completeness.shape, 2) * deviation + mean)
