"""Shared by all samplers: clip starts -> frame indices."""

from actjax.video.draws import below, check_draws

OUT_OF_BOUND_OPTS = ("loop", "repeat_last")


def clip_frames(
    function: str, starts, num_frames, *, clip_len: int, frame_interval: int, out_of_bound_opt: str = "loop", jitter
):
    """`clip_len` frames from each start [...], wrapped or clamped to [0, num_frames) -> int [..., clip_len].

    `num_frames` broadcasts against the result. The error for `jitter` of the wrong shape names `function`.
    """
    xp = starts.__array_namespace__()
    indices = starts[..., None] + frame_interval * xp.arange(clip_len)
    if jitter is not None:
        check_draws(function, indices.shape, jitter=jitter)
        indices = indices + below(frame_interval, jitter)
    if out_of_bound_opt == "loop":
        indices = indices % num_frames
    else:
        legal = indices < num_frames
        last = xp.max(xp.where(legal, indices, 0), axis=-1, keepdims=True)
        indices = xp.where(legal, indices, last)
    return indices.astype(int)


def check_counts(function: str, *, out_of_bound_opt: str = "loop", **counts: int) -> None:
    """ValueError unless every named count is at least 1 and `out_of_bound_opt` is known."""
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{function}: {name}={count}; must be at least 1")
    if out_of_bound_opt not in OUT_OF_BOUND_OPTS:
        raise ValueError(f"{function}: out_of_bound_opt={out_of_bound_opt!r}; choose from {OUT_OF_BOUND_OPTS}")
