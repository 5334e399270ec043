"""Foreign networks are checked at launch, with shapes alone: attributes, init, training, test and frozen parameters.

`actjax.models.outside` states the contract. Every function raises ValueError, in one line, where a network breaks it.
"""

import difflib
import math
import numbers
import re
from collections.abc import Callable, Mapping, Sequence

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from actjax.models.freezing import Freezing
from actjax.pixels.normalize import IMAGENET_MEAN, IMAGENET_STD

CONTRACT = "see actjax.models.outside"
FLOW = (128.0,)  # mean and standard deviation of the pixels of optical flow
DTYPES = ("float32", "bfloat16", "float16")
SOWN = ("intermediates", "losses")

# Errors of Linen: the rule that a network breaks, with train=True and with train=False.
RULES = {
    flax.errors.InvalidRngError: (
        "'dropout' is the only stream of random numbers",
        "there are no random numbers with train=False",
    ),
    flax.errors.ModifyScopeVariableError: (
        "only collections that init makes with train=False can change",
        "nothing can change with train=False",
    ),
    flax.errors.ScopeParamNotFoundError: ("init has to make all parameters with train=False, too",) * 2,
    flax.errors.ScopeVariableNotFoundError: ("init has to make all variables with train=False, too",) * 2,
    flax.errors.ScopeCollectionNotFound: ("init has to make all variables with train=False, too",) * 2,
    TypeError: (
        "a network is called as network(clips, train=True)",
        "a network is called as network(clips, train=False)",
    ),
}


def attributes_of(module: nn.Module, channels: int, where: str) -> dict:
    """`mean`, `std`, `dtype`, `freezing` and `normalizes` of a module for clips of `channels`, defaults filled in."""
    get = lambda name: getattr(module, name, None)
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if channels == 3 else (FLOW, FLOW)
    found = {"mean": _pixels(get("mean"), "mean", where, mean), "std": _pixels(get("std"), "std", where, std)}
    if min(found["std"]) <= 0:
        raise ValueError(f"{where}: its attribute std={found['std']}; must be positive ({CONTRACT})")
    normalizes = False if (given := get("normalizes")) is None else given
    if not isinstance(normalizes, bool | np.bool_):
        raise ValueError(
            f"{where}: its attribute normalizes is {_told(normalizes)}; expected True or False ({CONTRACT})"
        )
    freezing = Freezing() if (given := get("freezing")) is None else given
    if isinstance(freezing, type) or not callable(getattr(freezing, "patterns", None)):
        raise ValueError(
            f"{where}: its attribute freezing is {_told(freezing)}; expected an object with patterns() ({CONTRACT})"
        )
    return found | dict(dtype=_dtype(get("dtype"), where), freezing=freezing, normalizes=bool(normalizes))


def _pixels(value, name: str, where: str, default: tuple[float, ...]) -> tuple[float, ...]:
    if value is None:
        return default
    values = (value,) if isinstance(value, numbers.Real) else value
    values = np.asarray(values).tolist() if hasattr(values, "__array__") else values
    if not isinstance(values, tuple | list) or not all(
        isinstance(x, numbers.Real) and not isinstance(x, bool) and math.isfinite(x) for x in values
    ):
        raise ValueError(
            f"{where}: its attribute {name} is {_told(value)}; expected the {name} of pixels in 0..255, a number or "
            f"one for each channel, or another name for this attribute ({CONTRACT})"
        )
    return tuple(map(float, values))


def _dtype(value, where: str) -> str:
    try:
        found = "float32" if value is None else str(jnp.dtype(value))
    except TypeError:
        found = None
    if found not in DTYPES:
        raise ValueError(f"{where}: its attribute dtype is {_told(value)}; choose from {DTYPES} ({CONTRACT})")
    return found


def _told(value) -> str:
    if callable(value) and not isinstance(value, type):
        return "a function or a module"
    return f"{type(value).__name__} {str(value)[:40]!r}"


def without_sown(variables: Mapping) -> dict:
    """The variables without collections of sown values, which grow from call to call."""
    return {name: values for name, values in variables.items() if name not in SOWN and not _sown(values)}


def _sown(values: Mapping) -> bool:
    """Whether a collection has nothing but tuples, as `sow` makes them."""
    found = flatten_dict(values).values()
    return bool(found) and all(isinstance(value, tuple) for value in found)


def traced(model, where: str, *, tested: Sequence[tuple[int, ...]] = ()) -> tuple[int, list[str]]:
    """k of an `Outside` and the paths of its parameters, from one trace each of init, training and test.

    tested: shapes [t, h, w, c] of the clips at test, if they differ from the `input_shape`.
    """
    one, clips = (jax.ShapeDtypeStruct((n, *model.input_shape), jnp.uint8) for n in (1, 2))
    variables = _trace(model.init, jax.random.key(0), one, train=False, where=where)
    others = {name: values for name, values in variables.items() if name != "params"}
    paths = {"/".join(keys): leaf for keys, leaf in flatten_dict(variables.get("params", {})).items()}
    apply = lambda variables, clips, **options: model.module.apply(variables, model.prepared(clips), **options)
    train = lambda variables, clips, key: apply(
        variables, clips, train=True, mutable=list(others), rngs={"dropout": key}
    )
    logits, updated = _trace(train, variables, clips, jax.random.key(0), train=True, where=where)
    k = _classes(logits, clips, where, train=True)
    for name, values in others.items():
        if _described(values) != _described(updated[name]):
            raise ValueError(
                f"{where}: collection {name!r} has other entries, shapes or types after a call with train=True "
                f"({CONTRACT})"
            )
    for shape in {model.input_shape, *tested}:
        clips = jax.ShapeDtypeStruct((2, *shape), jnp.uint8)
        logits = _trace(lambda *given: apply(*given, train=False), variables, clips, train=False, where=where)
        if (found := _classes(logits, clips, where, train=False)) != k:
            raise ValueError(f"{where}: logits have {k} classes with train=True, {found} with train=False ({CONTRACT})")
    _check_parameters(paths, where)
    return k, list(paths)


def _check_parameters(paths: Mapping, where: str) -> None:
    if not paths:
        raise ValueError(f"{where}: a network without parameters has nothing to train ({CONTRACT})")
    for path, leaf in paths.items():
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise ValueError(
                f"{where}: parameter {path!r} is {leaf.dtype}; parameters are floating point, and self.variable is for "
                f"other numbers ({CONTRACT})"
            )


def _trace(function: Callable, *arguments, train: bool, where: str):
    """`jax.eval_shape` of a call with this `train`; any error becomes a ValueError that names the rule it breaks."""
    try:
        return jax.eval_shape(function, *arguments)
    except Exception as error:
        rule = next((rules[not train] for kind, rules in RULES.items() if isinstance(error, kind)), "")
        clips = next(x.shape for x in arguments if len(getattr(x, "shape", ())) > 1)
        told = " ".join(re.sub(r"\(https://flax\S+\)", "", str(error)).split())
        raise ValueError(
            f"{where} failed on clips {clips} [b, t, h, w, c] with train={train}: {type(error).__name__}: {told}"
            + f"; {rule} ({CONTRACT})" * bool(rule)
        ) from error


def _classes(logits, clips, where: str, *, train: bool) -> int:
    """k of the shape of logits. ValueError: it is none."""
    shape = getattr(logits, "shape", None)
    if shape is None or len(shape) != 2 or shape[0] != len(clips) or not jnp.issubdtype(logits.dtype, jnp.floating):
        found = type(logits).__name__ if shape is None else f"{logits.dtype} {shape}"
        raise ValueError(
            f"{where}: a network returns float logits [b, k]; for clips {clips.shape} with train={train} it returned "
            f"{found}"
        )
    return shape[1]


def _described(tree) -> tuple:
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(leaf.shape, leaf.dtype) for leaf in leaves]


def check_freezing(freezing, paths: Sequence[str], where: str) -> None:
    """Checks that every pattern of `freezing.patterns()` matches one of the parameters `paths`."""
    patterns = freezing.patterns()
    if isinstance(patterns, str) or not all(isinstance(pattern, str) for pattern in patterns):
        raise ValueError(
            f"{where}: freezing.patterns() returned {patterns!r}; expected regular expressions ({CONTRACT})"
        )
    for pattern in patterns:
        try:
            found = any(re.fullmatch(pattern, path) for path in paths)
        except re.error as error:
            raise ValueError(f"{where}: freezing.patterns(): {pattern!r} is no regular expression: {error}") from None
        if not found:
            near = difflib.get_close_matches(pattern, paths, n=1, cutoff=0)[0]
            raise ValueError(
                f"{where}: freezing.patterns(): {pattern!r} matches no parameter; a pattern matches a whole path, such "
                f"as {near!r}"
            )
