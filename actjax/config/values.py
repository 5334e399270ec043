"""What a config may hold, and whether a value is one of the type that an annotation asks for."""

import collections.abc
import inspect
import numbers
import os
import types
import typing
from collections.abc import Mapping
from typing import Any

import numpy as np

SEQUENCES = (tuple, list, collections.abc.Sequence)
UNTYPED = (inspect.Parameter.empty, Any, object)
_NAMES = {bool: "true or false", int: "an integer", float: "a number", types.NoneType: "None", str: "text"}
_NAMES |= {dict: "a section"}
_SEVERAL = {int: "integers", float: "numbers", str: "text", dict: "sections"}


def storable(value, where: str):
    """A value as a saved config can hold it: NumPy's numbers become Python's, and paths become text.

    Args:
      where: the key, for errors.

    Raises:
      ValueError: neither text, a number, a truth value, None, nor a sequence or section of these.
    """
    if isinstance(value, Mapping):
        if keys := [key for key in value if not isinstance(key, str)]:
            raise ValueError(f"{where}: the keys of a config are text, not {keys[0]!r}")
        return {key: storable(inner, f"{where}.{key}") for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return (list if isinstance(value, list) else tuple)(storable(inner, where) for inner in value)
    if isinstance(value, np.generic) or (hasattr(value, "__array__") and np.ndim(value) == 0):
        value = np.asarray(value).item()
    if isinstance(value, np.dtype) or isinstance(getattr(value, "dtype", None), np.dtype) and callable(value):
        value = np.dtype(value).name  # np.dtype("float32"), jnp.float32
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if callable(value):
        name = f"{getattr(value, '__module__', 'package.module')}:{getattr(value, '__name__', 'name')}"
        raise ValueError(f"{where}: configs hold names, not functions; write {name!r}")
    if not isinstance(value, str | int | float | None):
        raise ValueError(f"{where}: configs hold text, numbers, None and sequences of them, not {type(value).__name__}")
    return value


def fitted(value, kind):
    """`value` as a parameter with the annotation `kind` takes it: sequences become tuples or lists, as it says.

    >>> fitted([1, 2], tuple[int, int]), fitted(3, float), fitted(None, int | None)
    ((1, 2), 3, None)

    Raises:
      ValueError: a value of another type. Annotations other than the types that configs hold are not checked.
    """
    if kind in UNTYPED:
        return value
    if kinds := of_union(kind):
        for one in sorted(kinds, key=lambda one: not _exactly(value, one)):
            try:
                return fitted(value, one)
            except ValueError:
                pass
        raise ValueError(f"must be {told(kind)}")
    origin = typing.get_origin(kind) or kind
    if origin in SEQUENCES:
        if not isinstance(value, tuple | list):
            raise ValueError(f"must be {told(kind)}")
        return (list if origin is list else tuple)(map(fitted, value, elements(kind, len(value))))
    if not _is_a(value, kind, origin):
        raise ValueError(f"must be {told(kind)}")
    return value


def _is_a(value, kind, origin) -> bool:
    if origin is typing.Literal:
        return value in typing.get_args(kind)
    if origin is bool:
        return isinstance(value, bool)
    if origin in (int, float):
        wanted = numbers.Integral if origin is int else numbers.Real
        return isinstance(value, wanted) and not isinstance(value, bool)
    if origin in (str, types.NoneType):
        return isinstance(value, origin)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, Mapping)
    return True


def _exactly(value, kind) -> bool:
    """Whether `kind` is the very type of a value, so that it comes first in a union."""
    return type(value) is (typing.get_origin(kind) or kind)


def of_union(kind) -> tuple:
    """The types of a union; () for any other annotation."""
    return typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else ()


def elements(kind, count: int) -> list:
    """The annotations of the `count` elements of a sequence. ValueError: it has another number of them."""
    inner = typing.get_args(kind)
    if typing.get_origin(kind) is tuple and inner[-1:] != (...,):
        if count != len(inner):
            raise ValueError(f"must be {told(kind)}")
        return list(inner)
    return [inner[0] if inner else Any] * count


def told(kind, *, typed: bool = False) -> str:
    """A type, in words, for a value in Python or one that is typed."""
    if kinds := of_union(kind):
        *first, last = (told(one, typed=typed) for one in kinds)
        return f"{', '.join(first)} or {last}"
    origin, inner = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin in SEQUENCES:
        one = origin is tuple and inner and inner[-1] is not ...
        what = f"{len(inner)} values" if one else _SEVERAL.get(inner[0] if inner else None, "values")
        return f"{what} separated by commas" if typed else f"a list of {what}"
    if origin is typing.Literal:
        return " or ".join(map(str, inner))
    return _NAMES.get(kind, str(getattr(kind, "__name__", kind)))
