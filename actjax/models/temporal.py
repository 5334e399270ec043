"""Temporal shift and temporal pooling, and their hooks in a 2-d network.

Shapes: b clips, t frames (segments) per clip, h w pixels, c channels.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from actjax.models.layers import largest


class Temporal(NamedTuple):
    """Four hooks of a 2-d network where frames may exchange information; by default they do nothing.

    before_stage: (x, stage) -> x.
    before_block: (x, stage, block) -> x, for the residual branch and the shortcut.
    in_residual: (x, stage, block) -> x, for the residual branch alone.
    after_block: (x, stage, block, train=) -> x.
    """

    before_stage: Callable = lambda x, stage: x
    before_block: Callable = lambda x, stage, block: x
    in_residual: Callable = lambda x, stage, block: x
    after_block: Callable = lambda x, stage, block, *, train: x


def watched(temporal: Temporal) -> tuple[Temporal, set[str]]:
    """The same hooks, and the names of those that have done nothing yet: a set that shrinks as they are called.

    A hook that was not given, so that it does nothing by default, is not in the set.
    """
    given = {name: hook for name, hook in temporal._asdict().items() if hook is not Temporal._field_defaults[name]}
    idle = set(given)

    def watch(name: str, hook: Callable) -> Callable:
        def call(x, *at, **options):
            y = hook(x, *at, **options)
            if y is not x:
                idle.discard(name)
            return y

        return call

    return temporal._replace(**{name: watch(name, hook) for name, hook in given.items()}), idle


def clips_of(name: str, x, num_segments: int):
    """`[b * t, ...] -> [b, t, ...]`. ValueError: the frames do not divide into clips of `num_segments`."""
    if x.shape[0] % num_segments:
        raise ValueError(f"{name}: {x.shape[0]} frames do not divide into clips of num_segments={num_segments}")
    return x.reshape(-1, num_segments, *x.shape[1:])


def temporal_shift(x, *, num_segments: int, shift_div: int = 8):
    """Shifts a fraction of the channels one frame back and as many one frame forward -> `[b * t, h, w, c]`.

    In every clip of t = `num_segments` adjacent frames, channels [0, f) take the next frame's values and channels
    [f, 2f) the previous frame's, with f = c // shift_div; zeros fill both ends. c < shift_div: nothing moves.

    >>> frames = jnp.array([[1.0, 10.0, 5.0, 5.0], [2.0, 20.0, 6.0, 6.0], [3.0, 30.0, 7.0, 7.0]])
    >>> temporal_shift(frames[:, None, None], num_segments=3, shift_div=4)[:, 0, 0].tolist()
    [[2.0, 0.0, 5.0, 5.0], [3.0, 10.0, 6.0, 6.0], [0.0, 20.0, 7.0, 7.0]]

    Raises:
      ValueError: the frames do not divide into clips of `num_segments`.

    Source: Lin et al., arXiv:1811.08383, section 3; `TemporalShift.shift` of MMAction2 0.6.
    """
    clips = clips_of("temporal_shift", x, num_segments)
    fold = x.shape[-1] // shift_div
    zeros = jnp.zeros_like(clips[:, :1, ..., :fold])
    future = jnp.concatenate([clips[:, 1:, ..., :fold], zeros], axis=1)
    past = jnp.concatenate([zeros, clips[:, :-1, ..., fold : 2 * fold]], axis=1)
    return jnp.concatenate([future, past, clips[..., 2 * fold :]], axis=-1).reshape(x.shape)


def temporal_pool(x, *, num_segments: int):
    """Maximum over 3 frames at stride 2, `[b * t, h, w, c] -> [b * t / 2, h, w, c]`.

    >>> frames = jnp.array([1.0, 5.0, 2.0, 3.0]).reshape(4, 1, 1, 1)
    >>> temporal_pool(frames, num_segments=4).ravel().tolist()
    [5.0, 5.0]

    Raises:
      ValueError: t is odd, or the frames do not divide into clips of t = `num_segments`.

    Source: MMAction2's ResNetTSM (`temporal_pool`).
    """
    if num_segments % 2:
        raise ValueError(f"temporal_pool: num_segments={num_segments} must be even")
    clips = clips_of("temporal_pool", x, num_segments)
    previous = jnp.pad(clips[:, 1:-1:2], [(0, 0), (1, 0)] + [(0, 0)] * (x.ndim - 1), constant_values=-jnp.inf)
    return largest([previous, clips[:, ::2], clips[:, 1::2]]).reshape(-1, *x.shape[1:])
