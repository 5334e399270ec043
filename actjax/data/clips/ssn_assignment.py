"""SSN's training items: assigns proposals to the types positive, incomplete and background, and samples them.

Segments are whole frames [first, frame after the last]. Classes count from 1; 0 is the background. Shapes: n
instances, p proposals of an item. Source: SSN (arXiv:1704.06228, section 4) and the API entry SSNDataset.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from actjax.data.datasets.ssn_lists import Instances, SSNRecord, joined
from actjax.segments import pairs, temporal_iou
from actjax.video.draws import below, check_draws
from actjax.video.ssn_sampling import augmented, two_ratios

POSITIVE, INCOMPLETE, BACKGROUND = range(3)


class Assigner(NamedTuple):
    """The thresholds that make a proposal positive, incomplete or background; defaults are those for THUMOS14."""

    positive_iou_threshold: float = 0.7
    background_iou_threshold: float = 0.01
    incomplete_iou_threshold: float = 0.3
    background_coverage_threshold: float = 0.02
    incomplete_overlap_threshold: float = 0.01


class Sampler(NamedTuple):
    """How many proposals of each type a training item has."""

    num_per_video: int = 8
    positive_ratio: float = 1
    background_ratio: float = 1
    incomplete_ratio: float = 6
    add_gt_as_proposals: bool = True

    @property
    def counts(self) -> tuple[int, int, int]:
        """Numbers of positive, incomplete and background proposals; the incomplete ones absorb rounding."""
        total = self.positive_ratio + self.background_ratio + self.incomplete_ratio
        positive = int(self.num_per_video * (self.positive_ratio / total))
        background = int(self.num_per_video * (self.background_ratio / total))
        return positive, self.num_per_video - positive - background, background


class Pools(NamedTuple):
    """The proposals of one video, or of many, by type."""

    positive: Instances
    incomplete: Instances
    background: Instances


class EvalItem(NamedTuple):
    """The proposals of a video as network inputs: float32 [p, 2], float32 [p, 2], int32 [p, 4]."""

    relative_proposal_list: np.ndarray
    scale_factor_list: np.ndarray
    proposal_tick_list: np.ndarray


def get_positives(gts: Instances, proposals: Instances, positive_threshold: float, with_gt: bool = True) -> Instances:
    """Proposals whose IoU with a ground truth exceeds the threshold; then, with `with_gt`, all ground truths.

    Regression targets point to the ground truth with the highest IoU, the first one if tied. ValueError: positive
    proposals in a video without ground truth. Source: the API entry get_positives, which writes the targets into its
    arguments instead.
    """
    chosen = proposals.take(proposals.best_iou > positive_threshold)
    chosen = joined([chosen, gts]) if with_gt else chosen
    if chosen.size and not gts.size:
        raise ValueError("get_positives: positive proposals of a video without ground truth; use filter_gt=True")
    return chosen._replace(regression_targets=_targets(chosen.segment, gts.segment)) if chosen.size else chosen


def get_negatives(
    proposals: Instances,
    incomplete_iou_threshold: float,
    background_iou_threshold: float,
    background_coverage_threshold: float = 0.01,
    incomplete_overlap_threshold: float = 0.7,
) -> tuple[Instances, Instances]:
    """Incomplete proposals (parts of a ground truth), and background ones (the rest, if they hardly touch any).

    Source: the API entry get_negatives.
    """
    incomplete = proposals.best_iou < incomplete_iou_threshold
    incomplete &= proposals.overlap_self > incomplete_overlap_threshold
    background = ~incomplete & (proposals.best_iou < background_iou_threshold)
    background &= proposals.coverage > background_coverage_threshold
    return proposals.take(incomplete), proposals.take(background)


def proposals_by_type(record: SSNRecord, assigner: Assigner, *, with_gt: bool = True) -> Pools:
    """The proposals of one video by type; with `with_gt`, ground truths count as positive."""
    positive = get_positives(record.ground_truth, record.proposals, assigner.positive_iou_threshold, with_gt)
    negatives = get_negatives(
        record.proposals,
        assigner.incomplete_iou_threshold,
        assigner.background_iou_threshold,
        assigner.background_coverage_threshold,
        assigner.incomplete_overlap_threshold,
    )
    return Pools(positive, *negatives)


class Assigned(NamedTuple):
    """The proposals of a split, assigned to types once.

    records: the records of the split; `number` is the position in this list.
    assigner: the thresholds used.
    pools: the proposals of all records, in record order.
    ends: int64 [3, n]: for each type, the row of its pool at which the proposals of each record end.
    with_gt: whether ground truths count as positive; they follow the positive proposals of their record.
    """

    records: Sequence[SSNRecord]
    assigner: Assigner
    pools: Pools
    ends: np.ndarray
    with_gt: bool

    def of(self, number: int) -> Pools:
        """The proposals of one record."""
        starts = self.ends[:, number - 1] if number else np.zeros(len(self.pools), np.int64)
        rows = map(slice, starts, self.ends[:, number])
        return Pools(*(pool.take(part) for pool, part in zip(self.pools, rows, strict=True)))

    def regression_constants(self) -> np.ndarray:
        """Mean and standard deviation (rows) of the regression targets of all positive proposals, without ground truths
        -> float64 [2, 2]. ValueError: there are none."""
        ends = self.ends[0]
        proposals = np.diff(ends, prepend=0)
        if self.with_gt:
            proposals = proposals - [record.ground_truth.size for record in self.records]
        first = np.repeat(np.concatenate([[0], ends[:-1]]) + proposals, np.diff(ends, prepend=0))
        targets = self.pools.positive.regression_targets[np.arange(len(first)) < first]
        if not len(targets):
            threshold = self.assigner.positive_iou_threshold
            raise ValueError(f"regression_constants: no proposal has an IoU above {threshold}")
        return np.stack([targets.mean(axis=0), targets.std(axis=0)])


def assign(records: Sequence[SSNRecord], assigner: Assigner, *, with_gt: bool = True) -> Assigned:
    """Assigns the proposals of all records to types; with `with_gt`, ground truths count as positive."""
    parts = [proposals_by_type(record, assigner, with_gt=with_gt) for record in records]
    ends = np.cumsum([[pool.size for pool in part] for part in parts], axis=0).T
    return Assigned(records, assigner, Pools(*map(joined, zip(*parts, strict=True))), ends, with_gt)


def construct_proposal_pools(records: Sequence[SSNRecord], assigner: Assigner, *, with_gt: bool = True) -> Pools:
    """The proposals of all videos by type, in record order. Source: the API entry construct_proposal_pools."""
    return assign(records, assigner, with_gt=with_gt).pools


def regression_constants(records: Sequence[SSNRecord], assigner: Assigner) -> np.ndarray:
    """`Assigned.regression_constants` of records."""
    return assign(records, assigner, with_gt=False).regression_constants()


def sample_proposals(own: Pools, pools: Pools, sampler: Sampler, *, u, video_centric: bool = True) -> Pools:
    """Draws the proposals of a training item.

    Args:
      own: proposals of this video. pools: of all videos.
      sampler: how many of each type.
      u: draws [p], for positive, then incomplete, then background proposals.
      video_centric: draw from `own`, and from `pools` only types that the video lacks; otherwise all from `pools`.

    Returns:
      The drawn proposals. None is repeated unless there are fewer than needed.

    Raises:
      ValueError: a type that no video has.

    Source: the API entry SSNDataset. Borrowed proposals keep their own `video` and are cut from its frames; MMAction2
    0.6 cuts them from the current video, as `sample_proposal_frames` does if given its `num_frames`. Fixed: a pool
    that is too small is drawn from with replacement.
    """
    check_draws("sample_proposals", (sampler.num_per_video,), u=u)
    parts = np.split(u, np.cumsum(sampler.counts)[:-1])
    groups = []
    for kind, mine, all_of_it, draws in zip(Pools._fields, own, pools, parts, strict=True):
        source = mine if video_centric and mine.size else all_of_it
        if len(draws) and not source.size:
            raise ValueError(f"sample_proposals: {len(draws)} {kind} proposals needed, but no video has any")
        groups.append(source.take(_choice(source.size, draws)))
    return Pools(*groups)


def training_item(
    drawn: Pools,
    *,
    reg_norm_consts,
    aug_ratio=(0.5, 0.5),
    clip_len: int = 1,
    frame_interval: int = 1,
) -> dict[str, np.ndarray]:
    """The arrays of a training step, from the proposals that `sample_proposals` drew.

    Args:
      drawn: the proposals.
      reg_norm_consts: [2, 2], mean and deviation of the regression targets.
      aug_ratio, clip_len, frame_interval: as in `sample_proposal_frames`.

    Returns:
      video int64 [p], out_proposals int64 [p, 2], reg_targets float32 [p, 2], normalised, 0 unless positive;
      proposal_labels int64 [p], background 0; proposal_type int64 [p]: 0 positive, 1 incomplete, 2 background;
      proposal_scale_factor float32 [p, 2]: share of the stretches before and after that lies in the video (kept from
      MMAction2: below 0 or above 1 near its ends).
    """
    everything = joined(drawn)
    kind = np.repeat([POSITIVE, INCOMPLETE, BACKGROUND], [group.size for group in drawn])
    mean, deviation = np.asarray(reg_norm_consts, np.float64)
    if not (deviation > 0).all():
        raise ValueError(f"training_item: reg_norm_consts has deviations {deviation.tolist()}; they must be above 0")
    targets = np.where((kind == POSITIVE)[:, None], (everything.regression_targets - mean) / deviation, 0)
    return dict(
        video=everything.video,
        out_proposals=everything.segment,
        reg_targets=targets.astype(np.float32),
        proposal_labels=np.where(kind == BACKGROUND, 0, everything.label),
        proposal_type=kind,
        proposal_scale_factor=_scale_factors(everything, _positive(aug_ratio), clip_len * frame_interval),
    )


def eval_item(
    record: SSNRecord, *, test_interval: int = 6, aug_ratio=(0.5, 0.5), clip_len: int = 1, frame_interval: int = 1
) -> EvalItem:
    """The network inputs to score the proposals of a video; without proposals, the whole video is one.

    Args:
      record: the video.
      test_interval, clip_len, frame_interval: as in `sample_proposal_frames`; they determine the number of clips.
      aug_ratio: as in `sample_proposal_frames`.

    Returns:
      The proposals as fractions of the video; the share of the stretches before and after that lies in the video; and,
      in clips, where the stretch before, the proposal and the stretch after begin, and where the last one ends.
    """
    before, after = _positive(aug_ratio)
    given = record.proposals.segment if record.proposals.size else np.array([[0, record.num_frames - 1]])
    num_clips = len(range(0, record.num_frames - clip_len * frame_interval, test_interval))
    start, end = (given / record.num_frames).T
    length = end - start
    first, last = np.maximum(0, start - length * before), np.minimum(1, end + length * after)
    scale = np.stack([(start - first) / (length * before), (last - end) / (length * after)], axis=1)
    ticks = np.stack([first, start, end, last], axis=1) * num_clips
    return EvalItem(np.stack([start, end], 1).astype(np.float32), scale.astype(np.float32), ticks.astype(np.int32))


def _targets(segments: np.ndarray, truths: np.ndarray) -> np.ndarray:
    nearest = truths[np.argmax(temporal_iou(*pairs(segments, truths)), axis=1)]
    length, true_length = segments[:, 1] - segments[:, 0], nearest[:, 1] - nearest[:, 0]
    shift = (nearest.sum(axis=1) - segments.sum(axis=1)) / 2
    return np.stack([shift / length, np.log(true_length / length)], axis=1)


def _choice(n: int, u: np.ndarray) -> np.ndarray:
    """len(u) of 0..n-1, each ordered subset equally likely; with replacement if there are fewer."""
    if n < len(u):
        return below(n, u)
    order = np.arange(n)
    for k, draw in enumerate(u):  # the first steps of a shuffle
        other = k + int(below(n - k, draw))
        order[[k, other]] = order[[other, k]]
    return order[: len(u)]


def _scale_factors(given: Instances, ratios: tuple[float, float], span: int) -> np.ndarray:
    first, last = augmented(given.segment, given.num_frames, ratios, span)
    start, end = given.segment.T
    length = end - start
    factors = [(start - first + 1) / (length * ratios[0]), (last - end + 2) / (length * ratios[1])]
    return np.stack(factors, axis=1).astype(np.float32)


def _positive(aug_ratio) -> tuple[float, float]:
    ratios = two_ratios(aug_ratio)
    if not min(ratios) > 0:
        raise ValueError(f"aug_ratio={aug_ratio!r}; scale factors need stretches before and after the proposals")
    return ratios
