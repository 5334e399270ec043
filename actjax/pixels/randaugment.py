"""RandAugment on the device. Shapes: b clips, t frames, h w pixels, c channels.

Every operation is one of three kinds: a table of 256 levels per frame and channel, a blend with a degenerate frame, or
an affine warp. So each clip runs one look-up, one blend and one warp, and the two that its operation does not use are
the identity. Under `vmap` this is far cheaper than computing all operations and selecting one.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from actjax.pixels.clips import below, check_clips, pixels_like

OPS = (
    "identity", "autocontrast", "equalize", "invert", "rotate", "posterize", "solarize", "color", "contrast",
    "brightness", "sharpness", "shear_x", "shear_y", "translate_x", "translate_y",
)  # fmt: skip
MAX_MAGNITUDE = 10
_FILL = 128  # grey, where a warp samples outside the frame


def rand_augment(video, *, num_ops: int, magnitude: float, u):
    """Applies `num_ops` random operations of `OPS` in turn, the same to all frames of a clip -> like `video`.

    Args:
      video: uint8 or float32 [b, t, h, w, 3] in 0..255; floats are rounded first.
      num_ops: operations per clip, drawn with replacement.
      magnitude: 0..10, for all operations. At 10: rotate 30 degrees, shear 0.3, translate 0.45 of the side, color,
        contrast, brightness and sharpness by a factor 1.9 or 0.1, posterize to 4 bits, solarize above 0. At 0 none of
        these changes anything. Autocontrast, equalize and invert ignore it.
      u: draws [b, num_ops, 2]: the operation; its direction if it has two (below 0.5: negative).

    Raises:
      ValueError: `num_ops` below 1, `magnitude` outside 0..10, draws or a video of the wrong shape.

    Source: Cubuk et al., arXiv:1909.13719; ranges as in torchvision and timm. Results match Pillow's. Autocontrast,
    equalize and contrast take their statistics per frame.
    """
    if not isinstance(num_ops, int) or num_ops < 1:
        raise ValueError(f"rand_augment: num_ops={num_ops!r}; must be a whole number, at least 1")
    if not 0 <= magnitude <= MAX_MAGNITUDE:
        raise ValueError(f"rand_augment: magnitude={magnitude}; must be in [0, {MAX_MAGNITUDE}]")
    check_clips("rand_augment", video, u=(u, (len(video), num_ops, 2)))
    strength = magnitude / MAX_MAGNITUDE
    ops, forward = below(len(OPS), u[..., 0]), (u[..., 1] >= 0.5).astype(jnp.int32)
    factors = jnp.asarray([1 - 0.9 * strength, 1 + 0.9 * strength], jnp.float32)[forward]
    matrices = jnp.asarray(_matrices(strength, *video.shape[2:4]))[forward, ops]

    def augment(frames, ops, factors, matrices):
        for i in range(num_ops):
            frames = _look_up(frames, _table(frames, ops[i], factors[i], strength))
            frames = _blend(frames, ops[i], factors[i])
            frames = _warp(frames, matrices[i])
        return frames

    frames = jnp.clip(jnp.round(video), 0, 255).astype(jnp.uint8)
    return pixels_like(video, jax.vmap(augment)(frames, ops, factors, matrices))


def _table(frames, op, factor, strength: float):
    """The new value of each level -> int32 [t, 256, c]."""
    ramp = jnp.arange(256)[None, :, None]
    mean = jnp.floor(_grey(frames).mean((1, 2), dtype=jnp.float32) + 0.5)[:, None, None]
    dropped, threshold = round(4 * strength), 256 * (1 - strength)
    tables = {
        "autocontrast": lambda: _autocontrast(_histogram(frames), ramp),
        "equalize": lambda: _equalize(_histogram(frames), ramp),
        "invert": lambda: 255 - ramp,
        "posterize": lambda: ramp >> dropped << dropped,
        "solarize": lambda: jnp.where(ramp < threshold, ramp, 255 - ramp),
        "contrast": lambda: _mix(mean, ramp, factor),
        "brightness": lambda: _mix(jnp.zeros_like(ramp), ramp, factor),
    }
    t, _, _, c = frames.shape
    whole = lambda name: jnp.broadcast_to(tables.get(name, lambda: ramp)(), (t, 256, c)).astype(jnp.int32)
    return jnp.stack([whole(name) for name in OPS])[op]  # `lax.switch` refuses tables of a share beside constant ones


def _look_up(frames, table):
    t, h, w, c = frames.shape
    levels = frames.reshape(t, h * w, c).astype(jnp.int32)
    return jnp.take_along_axis(table, levels, axis=1).reshape(frames.shape).astype(jnp.uint8)


def _histogram(frames):
    """Pixels per level -> int32 [t, 256, c]."""
    t, _, _, c = frames.shape
    where = (jnp.arange(t)[:, None, None], frames.reshape(t, -1, c), jnp.arange(c))
    return jnp.zeros((t, 256, c), jnp.int32).at[where].add(1)


def _autocontrast(histogram, ramp):
    """Maps the darkest level to 0 and the brightest to 255."""
    occurs = histogram > 0
    low = jnp.argmax(occurs, axis=1, keepdims=True)
    span = 255 - jnp.argmax(occurs[:, ::-1], axis=1, keepdims=True) - low
    return jnp.where(span > 0, jnp.clip((ramp - low) * 255 // jnp.maximum(span, 1), 0, 255), ramp)


def _equalize(histogram, ramp):
    """Maps every level to the share of pixels below it."""
    last = 255 - jnp.argmax(histogram[:, ::-1] > 0, axis=1, keepdims=True)
    total = histogram.sum(1, keepdims=True)
    step = (total - jnp.take_along_axis(histogram, last, axis=1)) // 255
    lower = jnp.cumsum(histogram, axis=1) - histogram
    return jnp.where(step > 0, jnp.clip((lower + step // 2) // jnp.maximum(step, 1), 0, 255), ramp)


def _blend(frames, op, factor):
    """Color blends with the grey frame, sharpness with the smoothed frame."""
    sharpness = op == OPS.index("sharpness")
    degenerate = jnp.where(sharpness, _smooth(frames), _grey(frames)[..., None])
    factor = jnp.where(sharpness | (op == OPS.index("color")), factor, 1.0)
    return _mix(degenerate, frames, factor).astype(jnp.uint8)


def _mix(degenerate, pixels, factor):
    degenerate = degenerate.astype(jnp.float32)
    return jnp.clip(degenerate + factor * (pixels.astype(jnp.float32) - degenerate), 0, 255).astype(jnp.int32)


def _grey(frames):
    """Luma (ITU-R 601) -> int32 [t, h, w], rounded."""
    return (frames.astype(jnp.int32) @ jnp.array([19595, 38470, 7471]) + 32768) >> 16


def _smooth(frames):
    """Weighted mean of 3x3 pixels, centre weight 5; the border is unchanged -> int32."""
    x = frames.astype(jnp.int32)
    h, w = x.shape[1:3]
    nine = sum(x[:, i : h - 2 + i, j : w - 2 + j] for i in range(3) for j in range(3))
    return x.at[:, 1:-1, 1:-1].set((2 * (nine + 4 * x[:, 1:-1, 1:-1]) + 13) // 26)


def _matrices(strength: float, height: int, width: int) -> np.ndarray:
    """Affine maps from output to input coordinates -> float32 [2, 15, 2, 3], by direction and operation."""
    out = np.tile(np.eye(2, 3, dtype=np.float32), (2, len(OPS), 1, 1))
    for way, sign in enumerate((-1, 1)):
        s = sign * strength
        cos, sin = math.cos(math.radians(30 * s)), math.sin(math.radians(30 * s))
        x, y = width / 2, height / 2
        maps = {
            "rotate": ((cos, -sin, x - cos * x + sin * y), (sin, cos, y - sin * x - cos * y)),
            "shear_x": ((1, 0.3 * s, 0), (0, 1, 0)),
            "shear_y": ((1, 0, 0), (0.3 * s, 1, 0)),
            "translate_x": ((1, 0, 0.45 * s * width), (0, 1, 0)),
            "translate_y": ((1, 0, 0), (0, 1, 0.45 * s * height)),
        }
        for name, matrix in maps.items():
            out[way, OPS.index(name)] = matrix
    return out


def _warp(frames, matrix):
    """Bilinear warp, grey outside the frame; pixel centres are at half-integer coordinates."""
    h, w = frames.shape[1:3]
    middles = jnp.stack([*jnp.meshgrid(jnp.arange(w) + 0.5, jnp.arange(h) + 0.5), jnp.ones((h, w))])
    # Written out: on some devices a matrix product would run below float32 precision.
    x, y = (matrix[:, :, None, None] * middles).sum(1)
    inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
    left, top = jnp.floor(x - 0.5), jnp.floor(y - 0.5)
    along, down = (x - 0.5 - left)[..., None], (y - 0.5 - top)[..., None]

    def corner(row, column):
        rows = jnp.clip(row, 0, h - 1).astype(jnp.int32)
        return frames[:, rows, jnp.clip(column, 0, w - 1).astype(jnp.int32)].astype(jnp.float32)

    upper = corner(top, left) * (1 - along) + corner(top, left + 1) * along
    lower = corner(top + 1, left) * (1 - along) + corner(top + 1, left + 1) * along
    pixels = jnp.round(upper * (1 - down) + lower * down)
    return jnp.where(inside[..., None], pixels, _FILL).astype(jnp.uint8)
