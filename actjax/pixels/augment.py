"""Augmentation of pixels and labels, inside the jitted step: chains of operations, built-in ones and others'.

All frames of a clip get the same augmentation. Shapes: b clips, t frames, h w pixels, c channels, k classes. Pixels are
0..255; the output dtype is the input's, uint8 (rounded once, at the end) or float32.
"""

import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import jax.numpy as jnp

from actjax.config import bind, find, plain
from actjax.errors import check_number
from actjax.pixels.clips import clipwise, pixels_like
from actjax.pixels.color import color_jitter
from actjax.pixels.mixing import cutmix, mixup, random_erasing
from actjax.pixels.randaugment import rand_augment

# The built-in operations that take draws, and the shape of the draws of one clip.
_DRAWN = {
    "color_jitter": (color_jitter, lambda options: (5,)),
    "rand_augment": (rand_augment, lambda options: (options["num_ops"], 2)),
    "random_erasing": (random_erasing, lambda options: (5,)),
}
_MIXING = {"mixup": mixup, "cutmix": cutmix}


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

    >>> augment = make_augment(mixup={"alpha": 0.2})
    >>> video, targets = augment(jnp.zeros((2, 1, 4, 4, 3), jnp.uint8), jnp.eye(2), jax.random.key(0))
    >>> print(video.shape, targets.sum(1).round(2))
    (2, 1, 4, 4, 3) [1. 1.]

    Args:
      color_jitter, rand_augment, random_erasing: options of the function of that name.
      mixup, cutmix: `alpha`: lam ~ Beta(alpha, alpha) for each clip; partners are a random permutation of the batch.
        With both, each clip gets one or the other with equal probability.

    Raises:
      ValueError: invalid or unknown options, when called and not in the step.

    Source of the order: timm, Wightman et al., arXiv:2110.00476.
    """
    given = dict(
        color_jitter=color_jitter, rand_augment=rand_augment, random_erasing=random_erasing, mixup=mixup, cutmix=cutmix
    )
    return augment_in_order([{**options, "name": name} for name, options in given.items() if options is not None])


def augment_in_order(operations: Sequence[Mapping]) -> Callable:
    """Chains operations in the order given -> `augment(video, targets, key)`, as `make_augment` does.

    An operation of your own is a pure function (clips, targets, key, **options) -> (clips, targets) of the same shapes.
    It gets clips float32 [b, t, h, w, c] in 0..255, not rounded, and targets float32 [b, k], and returns clips as
    float32 or uint8 and targets as floats. Operations fold their names into the key, the second of a name also its
    number. `mixup` directly before `cutmix`: each clip gets one or the other, as in `make_augment`.

    Args:
      operations: sections with the `name` of an operation of `make_augment`, or "package.module:name" of your own, and
        its options.

    Raises:
      ValueError: invalid or unknown names or options, when called; in the first call of `augment`: an operation that
        fails, or returns anything but two arrays of the right shapes and types.
    """
    chain, counts = [], Counter()
    for name, operation in _operations(operations):
        counts[name] += 1
        chain.append((name if counts[name] == 1 else f"{name} {counts[name]}", operation))

    def augment(video, targets, key):
        given = jnp.asarray(video)
        clips, targets = given.astype(jnp.float32), jnp.asarray(targets).astype(jnp.float32)
        for stream, operation in chain:
            clips, targets = operation(clips, targets, _named(key, stream))
        return pixels_like(given, clips), targets

    return augment


def _operations(operations: Sequence[Mapping]) -> Iterator[tuple[str, Callable]]:
    """Name and function of each operation; mixup and cutmix, or one of them, are called "mixing"."""
    if isinstance(operations, str) or not isinstance(operations, Sequence):
        raise ValueError(f"augment={operations!r}; expected a section, or a sequence of sections with a name each")
    sections = [plain(section) for section in operations]
    for place, section in enumerate(sections):
        if not isinstance(section, dict) or not isinstance(section.get("name"), str):
            known = sorted([*_DRAWN, *_MIXING])
            raise ValueError(
                f"augment[{place}]={section!r}; expected a section with a name, one of {known} or your own"
            )
    names = [section.pop("name") for section in sections]
    for place, (name, options) in enumerate(zip(names, sections, strict=True)):
        if name == "mixup" and names[place + 1 : place + 2] == ["cutmix"]:
            yield "mixing", _mixing({"mixup": options, "cutmix": sections[place + 1]})
        elif name in _MIXING and not (name == "cutmix" and place and names[place - 1] == "mixup"):
            yield "mixing", _mixing({name: options})
        elif name not in _MIXING:
            yield name, _operation(name, options, f"augment[{place}]")


def _mixing(options: Mapping[str, Mapping]) -> Callable:
    alphas = {name: _alpha(name, own) for name, own in options.items()}
    return lambda clips, targets, key: _mix(clips, targets, alphas, key)


def _operation(name: str, options: dict, where: str) -> Callable:
    """(clips, targets, key) -> (clips, targets), with its options checked."""
    if name in _DRAWN:
        _check_options(name, options)
        function, draws = _DRAWN[name]

        def drawn(clips, targets, key):
            u = jax.random.uniform(key, (len(clips), *draws(options)))
            return function(clips, u=u, **options), targets

        return drawn
    function = bind(find({**_DRAWN, **_MIXING}, name, f"{where}.name"), options, where, positional=3)
    return lambda clips, targets, key: _checked(name, function, clips, targets, key)


def _checked(name: str, function: Callable, clips, targets, key):
    """What an operation of others returns, with both arrays as float32. ValueError: see `augment_in_order`."""
    try:
        result = function(clips, targets, key)
    except Exception as error:
        given = f"clips {_told(clips)}, targets {_told(targets)} and a key"
        raise ValueError(f"augment: {name!r} failed on {given}: {type(error).__name__}: {error}") from error
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        got = f"{len(result)} values" if isinstance(result, (tuple, list)) else _told(result)
        raise ValueError(f"augment: {name!r} returned {got}; it must return (clips, targets)")
    for what, new, old, kinds in (
        ("clips", result[0], clips, (jnp.uint8, jnp.float32)),
        ("targets", result[1], targets, (jnp.floating,)),
    ):
        fits = getattr(new, "shape", None) == old.shape and any(jnp.issubdtype(new.dtype, kind) for kind in kinds)
        if not fits:
            types = " or ".join(kind.__name__ for kind in kinds)
            raise ValueError(f"augment: {name!r} returned {what} {_told(new)}; expected {types} {list(old.shape)}")
    return tuple(jnp.asarray(array).astype(jnp.float32) for array in result)


def _told(value) -> str:
    return f"{value.dtype} {list(value.shape)}" if hasattr(value, "dtype") else type(value).__name__


def _mix(video, targets, alphas: dict[str, float], key):
    """Mixup, cutmix, or one of the two for each clip."""
    b = len(video)
    partner = jax.random.permutation(_named(key, "partner"), b)
    mixed = {}
    for name, alpha in alphas.items():
        lam = jax.random.beta(_named(key, name), alpha, alpha, (b,))
        boxes = dict(u=jax.random.uniform(_named(key, "box"), (b, 2))) if name == "cutmix" else {}
        mixed[name] = _MIXING[name](video, targets, lam=lam, partner=partner, **boxes)
    if len(mixed) == 1:
        return mixed.popitem()[1]
    first = jax.random.bernoulli(_named(key, "choice"), 0.5, (b,))
    (video, targets), (other, others) = mixed["mixup"], mixed["cutmix"]
    return jnp.where(clipwise(first), video, other), jnp.where(first[:, None], targets, others)


def _named(key, name: str):
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def _alpha(name: str, options: Mapping) -> float:
    if set(options) != {"alpha"}:
        raise ValueError(f"{name}: {dict(options)}; expected dict(alpha=...)")
    check_number(f"{name}: alpha", options["alpha"], "(0, inf)")
    return float(options["alpha"])


def _check_options(name: str, options: dict) -> None:
    """Runs the operation on a tiny clip: ValueError now rather than in the step."""
    function, draws = _DRAWN[name]
    video = jnp.zeros((1, 1, 4, 4, 3), jnp.float32)
    try:
        function(video, u=jnp.zeros((1, *draws(options))), **options)
    except (TypeError, KeyError) as error:
        raise ValueError(f"{name}: {dict(options)}: {error}") from error
