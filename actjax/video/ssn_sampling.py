"""Proposals -> frame indices for SSN: clips of each proposal and of the stretches before and after it."""

import numbers

import numpy as np

from actjax.video.clip_frames import check_counts, clip_frames
from actjax.video.draws import below, check_draws

MODES = ("train", "val", "test")


def sample_proposal_frames(
    num_frames,
    proposals,
    *,
    clip_len: int,
    body_segments: int,
    aug_segments: tuple[int, int],
    aug_ratio,
    frame_interval: int = 1,
    test_interval: int = 6,
    mode: str = "train",
    u=None,
    jitter=None,
):
    """Clips before, inside and after every proposal -> int64 [p, segments, clip_len], 0-based.

    The three stretches are cut into `aug_segments[0]`, `body_segments` and `aug_segments[1]` equal parts, in this
    order. Each part gives a clip, at a random place (train) or in the middle (val). A stretch too short for its parts
    gives all its clips at its beginning. Indices beyond the end start again at frame 0.

    >>> options = dict(clip_len=1, body_segments=3, aug_segments=(1, 1), aug_ratio=0.5)
    >>> sample_proposal_frames(100, np.array([[40, 60]]), mode="val", **options).ravel().tolist()
    [34, 43, 49, 55, 64]

    Args:
      num_frames: length of the video; or [p], one per proposal, if proposals are borrowed from other videos.
      proposals: whole numbers [p, 2], first frame and the frame after the last; unused (None) in test mode.
      clip_len, frame_interval: as in `sample_frames`.
      body_segments: parts of the proposal itself.
      aug_segments: parts of the stretches before and after it.
      aug_ratio: lengths of these stretches as fractions of the proposal's length, one number or two.
      test_interval: distance between clips in test mode.
      mode: "train" (with `u`), "val", or "test": clips over the whole video, [clips, clip_len].
      u: draws [p, segments] in train mode, else None.
      jitter: draws of the shape of the result; moves every frame by up to `frame_interval - 1`. None: no jitter.

    Raises:
      ValueError: a count below 1, an unknown mode, an `aug_ratio` that is neither one number nor two, proposals that
        are not [p, 2] with p >= 1 and begin < end, draws missing, unexpected or of the wrong shape; in test mode a
        video of at most `clip_len * frame_interval` frames.

    Source: the API entry SampleProposalFrames (SSN, arXiv:1704.06228, section 3). Fixed: with one `num_frames` per
    proposal, a borrowed proposal is limited by the length of its own video.
    """
    if mode not in MODES:
        raise ValueError(f"sample_proposal_frames: mode={mode!r}; choose from {MODES}")
    before, after = aug_segments
    check_counts(
        "sample_proposal_frames",
        num_frames=np.min(num_frames),
        clip_len=clip_len,
        frame_interval=frame_interval,
        body_segments=body_segments,
        aug_segments=min(aug_segments),
        test_interval=test_interval,
    )
    ratios = two_ratios(aug_ratio)
    if (u is None) == (mode == "train"):
        raise ValueError(f"sample_proposal_frames: mode={mode!r} {'needs' if u is None else 'takes no'} draws u")
    clip = dict(clip_len=clip_len, frame_interval=frame_interval, jitter=jitter)
    span = clip_len * frame_interval
    if mode == "test":
        starts = np.arange(0, num_frames - span, test_interval)
        if not starts.size:
            raise ValueError(
                f"sample_proposal_frames: num_frames={num_frames}; test mode needs more than {span}, one clip"
            )
        return clip_frames("sample_proposal_frames", starts, num_frames, **clip)
    proposals = _checked(proposals)
    totals = np.broadcast_to(num_frames, len(proposals))
    parts = (before, body_segments, after)
    if u is not None:
        check_draws("sample_proposal_frames", (len(proposals), sum(parts)), u=u)
    begins, lengths = _stretches(proposals, totals, ratios, span)
    starts = np.repeat(begins, parts, axis=1) + _offsets(lengths, parts, u)
    return clip_frames("sample_proposal_frames", starts, totals[:, None, None], **clip)


def augmented(proposals, totals, ratios: tuple[float, float], span: int) -> tuple[np.ndarray, np.ndarray]:
    """Proposals [p, 2] -> first frame of the stretch before each, last start of a `span`-frame clip after each."""
    begin, end = proposals.T
    length = end - begin
    first = np.maximum(0, begin - np.trunc(length * ratios[0]).astype(np.int64))
    return first, np.minimum(totals - span + 1, end - 1 + np.trunc(length * ratios[1]).astype(np.int64))


def two_ratios(aug_ratio) -> tuple[float, float]:
    """`aug_ratio` as (before, after). ValueError: not one or two non-negative numbers."""
    ratios = (aug_ratio, aug_ratio) if isinstance(aug_ratio, numbers.Real) else tuple(aug_ratio)
    if len(ratios) != 2 or not all(isinstance(ratio, numbers.Real) and ratio >= 0 for ratio in ratios):
        raise ValueError(f"aug_ratio={aug_ratio!r}; expected one number or two, not negative")
    return ratios


def _checked(proposals) -> np.ndarray:
    proposals = np.asarray(proposals)
    if proposals.ndim != 2 or proposals.shape[1] != 2 or not len(proposals) or proposals.dtype.kind not in "iu":
        raise ValueError(
            f"sample_proposal_frames: proposals of shape {proposals.shape} and type {proposals.dtype}; "
            "expected whole numbers [p, 2], at least one row"
        )
    wrong = (proposals[:, 0] < 0) | (proposals[:, 1] <= proposals[:, 0])
    if wrong.any():
        raise ValueError(
            f"sample_proposal_frames: proposal {proposals[wrong][0].tolist()}; expected [first frame, frame "
            "after the last] with 0 <= first < last"
        )
    return proposals.astype(np.int64)


def _stretches(proposals, totals, ratios, span: int) -> tuple[np.ndarray, np.ndarray]:
    """Where clips of `span` frames may start before, in and after each proposal: first starts, lengths, int [p, 3]."""
    begin, end = proposals.T
    length = end - begin
    first, last = augmented(proposals, totals, ratios, span)
    begins = np.stack([first, begin, end], axis=1)
    return begins, np.stack([begin - first - span, length - span, last - end + 1 - span], axis=1)


def _offsets(lengths: np.ndarray, parts: tuple[int, int, int], u):
    """One offset in each of `parts` equal parts of the three stretches -> int [p, segments]."""
    number = np.concatenate([np.arange(n) for n in parts])
    lengths, parts = np.repeat(lengths, parts, axis=1), np.repeat(parts, parts)
    if u is None:
        # The order of these operations decides the rounding; this one gives MMAction2 0.6's positions.
        size = lengths / parts
        return np.where(lengths >= parts, np.trunc(number * size + size / 2), 0).astype(np.int64)
    xp = u.__array_namespace__()
    size = (lengths + 1) // parts
    return xp.where(size > 0, number * size + below(size.astype(u.dtype), u), 0)
