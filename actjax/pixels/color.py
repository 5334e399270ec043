"""Random colour changes. Shapes: b clips, t frames, h w pixels. Pixels are 0..255, uint8 or float32."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
from jax import lax

from actjax.pixels.clips import below, check_clips, pixels_like


def color_jitter(
    video, *, brightness: float = 0.0, contrast: float = 0.0, saturation: float = 0.0, hue: float = 0.0, u
):
    """Random colour changes in random order -> [b, t, h, w, 3], dtype of `video`.

    Args:
      video: uint8 or float32 [b, t, h, w, 3], RGB.
      brightness, contrast, saturation: x: a factor uniform in [max(0, 1 - x), 1 + x] scales the distance from black,
        from the frame's mean grey, from each pixel's own grey. 0: off.
      hue: x up to 0.5: the hue turns by a fraction of the circle uniform in [-x, x]. 0: off.
      u: draws [b, 5]: the four strengths in this order; then the order of the enabled operations.

    Raises:
      ValueError: a negative strength, hue above 0.5, `u` or `video` of the wrong shape.

    Source: torchvision's ColorJitter, as ColorJitter of MMAction2 0.6; Howard, arXiv:1312.5402.
    """
    strengths = dict(brightness=brightness, contrast=contrast, saturation=saturation, hue=hue)
    for name, strength in strengths.items():
        if not 0 <= strength <= (0.5 if name == "hue" else math.inf):
            raise ValueError(f"color_jitter: {name}={strength}; must be in [0, {'0.5]' if name == 'hue' else 'inf)'}")
    check_clips("color_jitter", video, u=(u, (len(video), 5)))
    chosen = [i for i, strength in enumerate(strengths.values()) if strength]
    orders = jnp.asarray(list(itertools.permutations(range(len(chosen)))), jnp.int32)
    order = orders[below(len(orders), u[:, 4])]
    low = jnp.asarray([max(0.0, 1 - x) for x in (brightness, contrast, saturation)] + [-hue])
    high = jnp.asarray([1 + x for x in (brightness, contrast, saturation)] + [hue])
    factors = low + u[:, :4] * (high - low)

    def jitter(frames, factors, order):
        for place in range(len(chosen)):
            frames = lax.switch(order[place], [functools.partial(_JITTERS[i], factors[i]) for i in chosen], frames)
        return frames

    return pixels_like(video, jax.vmap(jitter)(video.astype(jnp.float32), factors, order))


def _brightness(factor, frames):
    return jnp.clip(factor * frames, 0, 255)


def _contrast(factor, frames):
    mean = _grey(frames).mean((-3, -2, -1), keepdims=True)
    return jnp.clip(mean + factor * (frames - mean), 0, 255)


def _saturation(factor, frames):
    grey = _grey(frames)
    return jnp.clip(grey + factor * (frames - grey), 0, 255)


def _hue(turn, frames):
    """Rotates the hue; the maximum and minimum over the three channels stay."""
    red, green, blue = frames[..., 0], frames[..., 1], frames[..., 2]
    top, chroma = frames.max(-1), frames.max(-1) - frames.min(-1)
    span = jnp.where(chroma > 0, chroma, 1.0)
    sixths = jnp.where(
        top == red,
        (green - blue) / span,
        jnp.where(top == green, 2 + (blue - red) / span, 4 + (red - green) / span),
    )
    place = (sixths[..., None] + 6 * turn + jnp.array([5.0, 3.0, 1.0])) % 6
    return top[..., None] - chroma[..., None] * jnp.clip(jnp.minimum(place, 4 - place), 0, 1)


_JITTERS = (_brightness, _contrast, _saturation, _hue)


def _grey(frames):
    """Luma (ITU-R 601) -> [..., 1]."""
    return 0.299 * frames[..., :1] + 0.587 * frames[..., 1:2] + 0.114 * frames[..., 2:]
