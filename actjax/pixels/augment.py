"""Augmentation of pixels and labels, inside the jitted step.

Every operation is a pure function of a batch and its random draws; `make_augment` chains operations and draws for them.
All frames of a clip get the same augmentation. Shapes: b clips, t frames, h w pixels, c channels, k classes. Pixels are
0..255; the output dtype is the input's, uint8 (rounded) or float32.
"""

import functools
import itertools
import math
import zlib
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import lax

from actjax.pixels.clips import below, check_clips, clipwise, pixels_like
from actjax.pixels.normalize import IMAGENET_MEAN
from actjax.pixels.randaugment import rand_augment


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


def make_augment(
    *,
    color_jitter: Mapping | None = None,
    rand_augment: Mapping | None = None,
    random_erasing: Mapping | None = None,
    mixup: Mapping | None = None,
    cutmix: Mapping | None = None,
) -> Callable:
    """Chains the given operations, in this order -> `augment(video, targets, key)`, which returns (video, targets).

    `video` is uint8 or float32 [b, t, h, w, 3] and keeps its dtype; `targets` is float [b, k] and becomes float32. Each
    operation folds its name into the key, so adding one does not change the draws of the others.

    Args:
      color_jitter, rand_augment, random_erasing: options of the function of that name.
      mixup, cutmix: `alpha`: lam ~ Beta(alpha, alpha) for each clip; partners are a random permutation of the batch.
        With both, each clip gets one or the other with equal probability.

    Raises:
      ValueError: invalid or unknown options, when called and not in the step.

    Source of the order: timm, Wightman et al., arXiv:2110.00476.
    """
    stages = dict(color_jitter=color_jitter, rand_augment=rand_augment, random_erasing=random_erasing)
    stages = {name: dict(options) for name, options in stages.items() if options is not None}
    alphas = {n: _alpha(n, options) for n, options in dict(mixup=mixup, cutmix=cutmix).items() if options is not None}
    for name, options in stages.items():
        _check_options(name, options)

    def augment(video, targets, key):
        given, b = video, len(video)
        video, targets = video.astype(jnp.float32), targets.astype(jnp.float32)
        for name, options in stages.items():
            function, draws = _STAGES[name]
            u = jax.random.uniform(_named(key, name), (b, *draws(options)))
            video = function(video, u=u, **options)
        if alphas:
            video, targets = _mix(video, targets, alphas, _named(key, "mixing"))
        return pixels_like(given, video), targets

    return augment


_STAGES = {
    "color_jitter": (color_jitter, lambda options: (5,)),
    "rand_augment": (rand_augment, lambda options: (options["num_ops"], 2)),
    "random_erasing": (random_erasing, lambda options: (5,)),
}


def _mix(video, targets, alphas: dict[str, float], key):
    """Mixup, cutmix, or one of the two for each clip."""
    b = len(video)
    partner = jax.random.permutation(_named(key, "partner"), b)
    mixed = {}
    for name, alpha in alphas.items():
        lam = jax.random.beta(_named(key, name), alpha, alpha, (b,))
        boxes = dict(u=jax.random.uniform(_named(key, "box"), (b, 2))) if name == "cutmix" else {}
        mixed[name] = {"mixup": mixup, "cutmix": cutmix}[name](video, targets, lam=lam, partner=partner, **boxes)
    if len(mixed) == 1:
        return mixed.popitem()[1]
    first = jax.random.bernoulli(_named(key, "choice"), 0.5, (b,))
    (video, targets), (other, others) = mixed["mixup"], mixed["cutmix"]
    return jnp.where(clipwise(first), video, other), jnp.where(first[:, None], targets, others)


def _named(key, name: str):
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def _alpha(name: str, options: Mapping) -> float:
    if set(options) != {"alpha"} or not options["alpha"] > 0:
        raise ValueError(f"{name}: {dict(options)}; expected dict(alpha=...) with alpha > 0")
    return float(options["alpha"])


def _check_options(name: str, options: dict) -> None:
    """Runs the operation on a tiny clip: ValueError now rather than in the step."""
    function, draws = _STAGES[name]
    video = jnp.zeros((1, 1, 4, 4, 3), jnp.float32)
    try:
        function(video, u=jnp.zeros((1, *draws(options))), **options)
    except (TypeError, KeyError) as error:
        raise ValueError(f"{name}: {dict(options)}: {error}") from error
