"""Erased boxes, and clips mixed with clips. Shapes: b clips, t frames, h w pixels, k classes.

Pixels are 0..255, uint8 or float32. All frames of a clip are changed alike.
"""

import math

import jax.numpy as jnp

from actjax.pixels.clips import below, check_clips, clipwise, pixels_like
from actjax.pixels.normalize import IMAGENET_MEAN


def random_erasing(
    video,
    *,
    probability: float = 0.25,
    area_range: tuple[float, float] = (0.02, 1 / 3),
    aspect_range: tuple[float, float] = (0.3, 1 / 0.3),
    fill: tuple[float, ...] = IMAGENET_MEAN,
    u,
):
    """Fills one random box per clip, the same in all its frames -> [b, t, h, w, 3], dtype of `video`.

    Args:
      video: uint8 or float32 [b, t, h, w, 3].
      probability: chance that a clip gets a box.
      area_range: the box's share of the frame, uniform.
      aspect_range: height / width, log-uniform, limited to boxes that fit into the frame.
      fill: a colour; normalisation maps the default to 0.
      u: draws [b, 5]: whether to erase, area, aspect, row, column.

    Raises:
      ValueError: a probability outside [0, 1], ranges outside 0 < a <= b (area <= 1), draws of the wrong shape.

    Source: Zhong et al., arXiv:1708.04896. The paper redraws a box that does not fit; here its aspect is limited.
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"random_erasing: probability={probability}; must be in [0, 1]")
    for name, (low, high), limit in (("area_range", area_range, 1), ("aspect_range", aspect_range, math.inf)):
        if not (0 < low <= high <= limit and high < math.inf):
            raise ValueError(f"random_erasing: {name}={(low, high)}; expected 0 < low <= high, areas at most 1")
    if len(fill) != 3:
        raise ValueError(f"random_erasing: fill={fill}; expected three numbers, R, G, B")
    check_clips("random_erasing", video, u=(u, (len(video), 5)))
    height, width = video.shape[2:4]
    area = area_range[0] + u[:, 1] * (area_range[1] - area_range[0])
    low = jnp.log(jnp.maximum(aspect_range[0], area * height / width))
    high = jnp.log(jnp.minimum(aspect_range[1], height / width / area))
    aspect = jnp.exp(low + u[:, 2] * (high - low))
    rows = jnp.clip(jnp.round(jnp.sqrt(area * height * width * aspect)), 1, height)
    columns = jnp.clip(jnp.round(jnp.sqrt(area * height * width / aspect)), 1, width)
    top, left = below(height - rows + 1, u[:, 3]), below(width - columns + 1, u[:, 4])
    erased = _box(height, width, top, left, top + rows, left + columns) & clipwise(u[:, 0] < probability)
    return pixels_like(video, jnp.where(erased, jnp.asarray(fill, jnp.float32), video))


def mixup(video, targets, *, lam, partner):
    """Blends `lam` of each clip with 1 - `lam` of its partner, pixels and targets -> video, targets float32 [b, k].

    Args:
      video: uint8 or float32 [b, t, h, w, 3]. targets: float [b, k], rows one-hot or soft.
      lam: shares in [0, 1], [b] or one for all; Beta(alpha, alpha) in the paper.
      partner: int [b], index of the clip to mix with.

    Raises:
      ValueError: targets that are not float [b, k]; draws or a video of the wrong shape.

    Source: Zhang et al., arXiv:1710.09412.
    """
    lam = _shares("mixup", video, targets, lam, partner)
    pixels = video.astype(jnp.float32)
    mixed = clipwise(lam) * pixels + clipwise(1 - lam) * pixels[partner]
    return pixels_like(video, mixed), _mixed_targets(targets, lam, partner)


def cutmix(video, targets, *, lam, partner, u):
    """Replaces one box per clip, the same in all its frames, by its partner's -> video, targets float32 [b, k].

    The box has the frame's proportions, covers 1 - `lam` of it and is centred anywhere; it is clipped to the frame. The
    targets are mixed by the resulting shares of pixels.

    Args:
      video, targets, lam, partner: as in `mixup`.
      u: draws [b, 2]: row and column of the centre.

    Raises:
      ValueError: as `mixup`.

    Source: Yun et al., arXiv:1905.04899.
    """
    lam = _shares("cutmix", video, targets, lam, partner)
    check_clips("cutmix", video, u=(u, (len(video), 2)))
    height, width = video.shape[2:4]
    side = jnp.sqrt(1 - lam)
    edges = []
    for length, middle in ((height, below(height, u[:, 0])), (width, below(width, u[:, 1]))):
        cut = jnp.floor(length * side).astype(jnp.int32)
        edges.append((jnp.clip(middle - cut // 2, 0, length), jnp.clip(middle - cut // 2 + cut, 0, length)))
    (top, bottom), (left, right) = edges
    kept = 1 - (bottom - top) * (right - left) / (height * width)
    mixed = jnp.where(_box(height, width, top, left, bottom, right), video[partner], video)
    return mixed, _mixed_targets(targets, kept, partner)


def _shares(function: str, video, targets, lam, partner):
    """Checks the arguments of `function`; returns `lam` as float32 [b]."""
    b = len(video)
    if targets.ndim != 2 or len(targets) != b or not jnp.issubdtype(targets.dtype, jnp.floating):
        raise ValueError(f"{function}: targets are {targets.dtype} {targets.shape}; expected float [{b}, k], one-hot")
    check_clips(function, video, partner=(partner, (b,)), lam=(lam, (b,) if jnp.ndim(lam) else ()))
    return jnp.broadcast_to(jnp.asarray(lam, jnp.float32), (b,))


def _mixed_targets(targets, lam, partner):
    targets = targets.astype(jnp.float32)
    return lam[:, None] * targets + (1 - lam)[:, None] * targets[partner]


def _box(height: int, width: int, top, left, bottom, right):
    """Whether a pixel is in its clip's box, edges [b], bottom and right exclusive -> bool [b, 1, h, w, 1]."""
    rows, columns = jnp.arange(height)[:, None, None], jnp.arange(width)[:, None]
    top, left, bottom, right = (clipwise(edge) for edge in (top, left, bottom, right))
    return (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
