"""num_frames -> frame indices, as pure functions of uniform draws.

`u` and `jitter` hold draws in [0, 1); `u=None` gives the deterministic test-time positions. The draws go through
array-API operations only, so the same function runs on NumPy in a loader process and under `jax.jit` / `vmap`, with
equal results for equal float32 draws (`num_frames` and the options are static; under jax the indices are int32 unless
64-bit mode is on). Test-time positions need float64 and depend on static numbers only: they are computed in NumPy,
even under a trace.
"""

import numpy as np

from actjax.video.clip_frames import check_counts, clip_frames
from actjax.video.draws import below, check_draws
from actjax.video.ssn_sampling import sample_proposal_frames as sample_proposal_frames


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

    The video is cut into equal parts, one per clip. A clip starts at a random place in its part (`u`) or in the middle
    (`u=None`).

    >>> sample_frames(30, clip_len=1, num_clips=3).ravel().tolist()
    [5, 15, 25]
    >>> sample_frames(30, clip_len=1, num_clips=3, u=np.array([0.0, 0.5, 0.9])).ravel().tolist()
    [0, 15, 29]

    Args:
      num_frames: length of the video, at least 1.
      clip_len: frames per clip.
      frame_interval: distance between the frames of a clip.
      num_clips: clips per video (the segments of TSN and TSM, with `clip_len=1`).
      twice_sample: test time only: `num_clips` more clips, at the beginnings of the parts.
      out_of_bound_opt: for indices beyond the end: `loop` starts again at frame 0, `repeat_last` repeats the last
        frame sampled within the video.
      u: draws [num_clips] for training, None for testing.
      jitter: draws [clips, clip_len]; moves every frame by up to `frame_interval - 1` (`temporal_jitter=True` of
        MMAction2 0.6). None: no jitter.

    Raises:
      ValueError: a count below 1, an unknown `out_of_bound_opt`, draws of the wrong shape, `twice_sample` with `u`.

    Source: the API entry SampleFrames. Kept from MMAction2: the last `(num_frames - span + 1) % num_clips` starts are
    never drawn. Fixed: `twice_sample` gives twice the clips for short videos too.
    """
    check_counts(
        "sample_frames",
        out_of_bound_opt=out_of_bound_opt,
        num_frames=num_frames,
        clip_len=clip_len,
        frame_interval=frame_interval,
        num_clips=num_clips,
    )
    span = clip_len * frame_interval
    if u is None:
        starts = _middle_starts(num_frames, span=span, num_clips=num_clips, twice_sample=twice_sample)
    elif twice_sample:
        raise ValueError("sample_frames: twice_sample is a test-time option; it takes no draws u")
    else:
        check_draws("sample_frames", (num_clips,), u=u)
        starts = _random_starts(num_frames, span=span, num_clips=num_clips, u=u)
    clip = dict(clip_len=clip_len, frame_interval=frame_interval, out_of_bound_opt=out_of_bound_opt, jitter=jitter)
    return clip_frames("sample_frames", starts, num_frames, **clip)


def dense_sample_frames(
    num_frames: int,
    *,
    clip_len: int,
    frame_interval: int = 1,
    num_clips: int = 1,
    sample_range: int = 64,
    num_sample_positions: int = 10,
    out_of_bound_opt: str = "loop",
    u=None,
    jitter=None,
):
    """Frames of `num_clips` clips within one window of the video -> int64 [clips, clip_len], 0-based.

    The clips start `sample_range // num_clips` frames apart. In training (`u`) there is one window at a random place;
    at test time (`u=None`) `num_sample_positions` windows are spread over the video, each with `num_clips` clips.

    >>> dense_sample_frames(200, clip_len=1, num_clips=4, num_sample_positions=2).reshape(2, 4).tolist()
    [[0, 16, 32, 48], [136, 152, 168, 184]]

    Args:
      num_frames: length of the video, at least 1.
      clip_len, frame_interval, num_clips, out_of_bound_opt: as in `sample_frames`.
      sample_range: length of the window in frames; a shorter video is one window.
      num_sample_positions: windows at test time.
      u: one draw, [1], for training; None for testing.
      jitter: draws [clips, clip_len]; moves every frame by up to `frame_interval - 1`. None: no jitter.

    Raises:
      ValueError: a count below 1, an unknown `out_of_bound_opt`, draws of the wrong shape.

    Source: the API entry DenseSampleFrames. Kept from MMAction2: training never draws the last window.
    """
    check_counts(
        "dense_sample_frames",
        out_of_bound_opt=out_of_bound_opt,
        num_frames=num_frames,
        clip_len=clip_len,
        frame_interval=frame_interval,
        num_clips=num_clips,
        sample_range=sample_range,
        num_sample_positions=num_sample_positions,
    )
    last = max(0, num_frames - sample_range)
    if u is None:
        windows = np.linspace(0, last, num_sample_positions).astype(np.int64)
    else:
        check_draws("dense_sample_frames", (1,), u=u)
        windows = below(max(last, 1), u)
    xp = windows.__array_namespace__()
    starts = (windows[:, None] + (sample_range // num_clips) * xp.arange(num_clips)) % num_frames
    clip = dict(clip_len=clip_len, frame_interval=frame_interval, out_of_bound_opt=out_of_bound_opt, jitter=jitter)
    return clip_frames("dense_sample_frames", starts.reshape(-1), num_frames, **clip)


def untrimmed_sample_frames(num_frames: int, *, clip_len: int = 1, frame_interval: int = 16) -> np.ndarray:
    """A clip of adjacent frames around every `frame_interval`-th frame -> int64 [clips, clip_len], 0-based.

    Used to extract features of a whole video. Frames beyond either end become the first or last one.

    >>> untrimmed_sample_frames(50, frame_interval=16).ravel().tolist()
    [8, 24, 40]

    Raises:
      ValueError: a count below 1, or a video of at most `frame_interval // 2` frames: too short for one clip.

    Source: the API entry UntrimmedSampleFrames.
    """
    check_counts("untrimmed_sample_frames", num_frames=num_frames, clip_len=clip_len, frame_interval=frame_interval)
    centres = np.arange(frame_interval // 2, num_frames, frame_interval)
    if not centres.size:
        raise ValueError(
            f"untrimmed_sample_frames: num_frames={num_frames}; the first clip is around frame {frame_interval // 2}; "
            "make frame_interval smaller"
        )
    return np.clip(centres[:, None] - clip_len // 2 + np.arange(clip_len), 0, num_frames - 1)


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
    """The middles of the parts, then (twice_sample) their beginnings, not truncated yet -> float64 [clips]."""
    room = num_frames - span + 1
    if num_frames < span:
        return np.zeros(num_clips * (1 + twice_sample))
    # The order of these operations decides the rounding; this one gives MMAction2's positions.
    part = room / num_clips
    begins = np.arange(num_clips) * part
    middles = np.trunc(begins + part / 2)
    return np.concatenate([middles, begins]) if twice_sample else middles
