"""num_frames -> frame indices, as pure functions of uniform draws.

`u` and `jitter` hold draws in [0, 1); `u=None` asks for the deterministic test-time positions. Only array-API
operations touch the draws, so the same function runs on NumPy in a loader process and under `jax.jit` / `vmap`,
with equal answers for equal float32 draws (`num_frames` and the options are static; under jax the indices are
int32 unless 64-bit mode is on). Test-time positions need float64 and depend on static numbers only: they are
computed in NumPy, also under a trace.
"""

import numpy as np

from actjax.video.draws import below, check_draws

OUT_OF_BOUND_OPTS = ("loop", "repeat_last")


def sample_frames(
    num_frames: int,
    *,
    clip_len: int,
    frame_interval: int = 1,
    num_clips: int = 1,
    twice_sample: bool = False,
    out_of_bound_opt: str = "loop",
    u=None,
    jitter=None,
):
    """Frames of `num_clips` clips spread over the video -> int64 [clips, clip_len], 0-based.

    Each clip starts in its own equal part of the video: at a random place of it (`u`), or in its middle (`u=None`).

    Args:
      num_frames: length of the video, at least 1.
      clip_len: frames per clip.
      frame_interval: distance between the frames of a clip.
      num_clips: clips per video (the segments of TSN and TSM, with `clip_len=1`).
      twice_sample: test time only: `num_clips` further clips, at the beginnings of the parts.
      out_of_bound_opt: what an index beyond the end becomes: `loop` starts again at frame 0, `repeat_last` holds
        the last frame sampled within the video.
      u: draws [num_clips] for training, None for testing.
      jitter: draws [clips, clip_len]; moves every frame by up to `frame_interval - 1` (the reference's
        `temporal_jitter=True`). None: no jitter.

    Raises:
      ValueError: a count below 1, an unknown `out_of_bound_opt`, draws of the wrong shape, `twice_sample` with `u`.

    Source: the API entry SampleFrames. Kept from the reference: the last `num_frames - span + 1 mod num_clips` starts
    are never drawn. Fixed: `twice_sample` gives twice the clips for short videos too.
    """
    counts = dict(num_frames=num_frames, clip_len=clip_len, frame_interval=frame_interval, num_clips=num_clips)
    _at_least_one("sample_frames", **counts)
    if out_of_bound_opt not in OUT_OF_BOUND_OPTS:
        raise ValueError(f"sample_frames: out_of_bound_opt={out_of_bound_opt!r}; choose from {OUT_OF_BOUND_OPTS}")
    span = clip_len * frame_interval
    if u is None:
        starts = _middle_starts(num_frames, span=span, num_clips=num_clips, twice_sample=twice_sample)
    elif twice_sample:
        raise ValueError("sample_frames: twice_sample is a test-time option; it takes no draws u")
    else:
        check_draws("sample_frames", (num_clips,), u=u)
        starts = _random_starts(num_frames, span=span, num_clips=num_clips, u=u)
    xp = starts.__array_namespace__()
    indices = starts[:, None] + frame_interval * xp.arange(clip_len)
    if jitter is not None:
        check_draws("sample_frames", indices.shape, jitter=jitter)
        indices = indices + below(frame_interval, jitter)
    return _within(indices, num_frames, out_of_bound_opt)


def _random_starts(num_frames: int, *, span: int, num_clips: int, u):
    """One start in each of `num_clips` equal parts of the legal starts -> int [num_clips]."""
    xp = u.__array_namespace__()
    room = num_frames - span + 1
    part = room // num_clips
    if part > 0:
        return part * xp.arange(num_clips) + below(part, u)
    if num_frames > max(num_clips, span):
        return xp.sort(below(room, u))
    if part == 0:
        return xp.asarray(np.rint(np.arange(num_clips) * (room / num_clips)).astype(np.int64))
    return xp.zeros(num_clips, dtype=int)


def _middle_starts(num_frames: int, *, span: int, num_clips: int, twice_sample: bool) -> np.ndarray:
    """The middles of the parts, then (twice_sample) their beginnings, not yet truncated -> float64 [clips]."""
    room = num_frames - span + 1
    if num_frames < span:
        return np.zeros(num_clips * (1 + twice_sample))
    # The order of these operations decides the rounding, and the reference's positions with it.
    part = room / num_clips
    begins = np.arange(num_clips) * part
    middles = np.trunc(begins + part / 2)
    return np.concatenate([middles, begins]) if twice_sample else middles


def _within(indices, num_frames: int, out_of_bound_opt: str):
    """Brings indices [clips, clip_len] into [0, num_frames) -> int."""
    xp = indices.__array_namespace__()
    if out_of_bound_opt == "loop":
        indices = indices % num_frames
    else:
        legal = indices < num_frames
        last = xp.max(xp.where(legal, indices, 0), axis=1, keepdims=True)
        indices = xp.where(legal, indices, last)
    return indices.astype(int)


def _at_least_one(function: str, **counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{function}: {name}={count}; must be at least 1")
