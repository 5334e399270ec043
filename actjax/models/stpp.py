"""Structured temporal pyramid pooling in three stages: before a proposal, the proposal, after it.

`stpp_stage` gives the number of parts each stage is cut into; a tuple cuts it several times: (1, (1, 2), 1) pools the
proposal whole and in halves. Shapes: p proposals, s segments, t ticks (clips at regular steps of a video), d features,
m parts of all stages, k classes, q scores of a part. Source: SSN (arXiv:1704.06228, section 3); STPPTrain and STPPTest
of MMAction2 0.6.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np


class TickScores(NamedTuple):
    """Logits of every tick: activity [t, k + 1]; parts [t, m, q], completeness and regression for each part."""

    activity: jnp.ndarray
    parts: jnp.ndarray


def parts_of(stpp_stage) -> tuple[tuple[int, ...], ...]:
    """`stpp_stage` with a tuple for every stage. ValueError: not three stages, or a count below 1."""
    stages = tuple((stage,) if isinstance(stage, int) else tuple(stage) for stage in stpp_stage)
    if len(stages) != 3 or not all(stages) or min(min(stage) for stage in stages) < 1:
        raise ValueError(f"stpp_stage={stpp_stage!r}; expected three entries, each a count of parts or several")
    return stages


def num_parts(stpp_stage) -> int:
    """m, the number of parts of all stages."""
    return sum(map(sum, parts_of(stpp_stage)))


def pool_segments(features, scale_factors, *, num_segments_list, stpp_stage):
    """Features of sampled segments `[..., s, d]` -> the proposal's mean `[..., d]` and pyramid `[..., m, d]`.

    Args:
      scale_factors: `[..., 2]`, shares of the first and the last stage that lie in the video; they weight these parts.
      num_segments_list: segments of the three stages; s in all.

    Raises:
      ValueError: more parts than segments.
    """
    weights = jnp.asarray(_segment_weights(tuple(num_segments_list), parts_of(stpp_stage)), features.dtype)
    pyramid = jnp.einsum("ms,...sd->...md", weights, features)
    before, own, _ = num_segments_list
    course = features[..., before : before + own, :].mean(-2)
    return course, pyramid * _factors(scale_factors, stpp_stage)[..., None]


def _segment_weights(lengths: tuple[int, ...], stages) -> np.ndarray:
    """Weight of every segment in every part, divided by the number of parts in the stage -> [m, s]."""
    rows, first = [], 0
    for length, counts in zip(lengths, stages, strict=True):
        if max(counts) > length:
            raise ValueError(f"stpp_stage cuts {length} segments into {max(counts)} parts; segments: {lengths}")
        for count in counts:
            for k in range(count):
                row = np.zeros(sum(lengths))
                begin, end = k * length // count, (k + 1) * length // count
                row[first + begin : first + end] = 1 / (end - begin) / sum(counts)
                rows.append(row)
        first += length
    return np.stack(rows)


def _factors(scale_factors, stpp_stage):
    """The scale factor of every part, `[..., 2]` -> `[..., m]`."""
    before, own, behind = map(sum, parts_of(stpp_stage))
    start, end = jnp.split(jnp.asarray(scale_factors), 2, axis=-1)
    sizes = [(start, before), (jnp.ones_like(start), own), (end, behind)]
    return jnp.concatenate([jnp.broadcast_to(x, (*x.shape[:-1], n)) for x, n in sizes], axis=-1)


def part_divisors(stpp_stage) -> np.ndarray:
    """Divisor of each part in training, [m]: the number of parts in its stage."""
    return np.concatenate([np.full(sum(stage), sum(stage)) for stage in parts_of(stpp_stage)])


def pool_ticks(scores: TickScores, proposal_ticks, scale_factors, num_ticks, *, stpp_stage):
    """Per-tick logits -> logits of proposals: activity `[p, k + 1]`, and the sum over the parts `[p, q]`.

    Each part of a proposal costs two look-ups in cumulative sums, whatever its length.

    Args:
      scores: of all ticks; ticks from `num_ticks` on are padding.
      proposal_ticks: int [p, 4], first ticks of the three stages, then the end of the last.
      scale_factors: [p, 2], as in `pool_segments`.
      num_ticks: number of ticks in the video.

    An empty stage uses the tick at its start. Empty parts and stages outside the video add 0.
    Fixed: a proposal that starts after the last tick gets the activity of that tick; MMAction2 gives NaN.
    """
    ticks = jnp.asarray(proposal_ticks)
    begin = jnp.clip(ticks[:, 1], 0, num_ticks - 1)
    activity = _range_means(scores.activity[:, None], begin[:, None], jnp.maximum(begin + 1, ticks[:, 2])[:, None],
                            num_ticks)[:, 0]  # fmt: skip
    begins, ends, counted = _part_ranges(ticks, num_ticks, stpp_stage)
    means = _range_means(scores.parts, begins, ends, num_ticks)
    weights = jnp.where(counted, _factors(scale_factors, stpp_stage), 0).astype(means.dtype)
    return activity, jnp.einsum("pm,pmq->pq", weights, means)


def _part_ranges(ticks, num_ticks, stpp_stage):
    """First tick, tick after the last, and whether the part counts, for every part of every proposal: [p, m] each."""
    begins, ends, inside = [], [], []
    for stage, counts in enumerate(parts_of(stpp_stage)):
        begin = ticks[:, stage]
        length = jnp.maximum(1, ticks[:, stage + 1] - begin)
        for count in counts:
            for k in range(count):
                begins.append(begin + k * length // count)
                ends.append(begin + (k + 1) * length // count)
                inside.append((begin + length > 0) & (begin < num_ticks))
    begins, ends, inside = (jnp.stack(columns, axis=1) for columns in (begins, ends, inside))
    return begins, ends, inside & (ends > begins) & (begins < num_ticks)


def _range_means(values, begins, ends, num_ticks):
    """Means of `[t, m, q]` over [begin, end), clipped to the video; `begins`, `ends` [p, m] -> [p, m, q].

    The cumulative sums run over differences from the overall mean: they stay small enough for float32.
    """
    real = (jnp.arange(len(values)) < num_ticks)[:, None, None]
    centre = jnp.where(real, values, 0).sum(0) / num_ticks
    sums = jnp.cumsum(jnp.where(real, values - centre, 0), axis=0)
    sums = jnp.concatenate([jnp.zeros_like(sums[:1]), sums])
    begins, ends = jnp.clip(begins, 0, num_ticks), jnp.clip(ends, 0, num_ticks)
    part = jnp.arange(values.shape[1])
    lengths = jnp.maximum(ends - begins, 1)[..., None].astype(values.dtype)
    return (sums[ends, part] - sums[begins, part]) / lengths + centre
