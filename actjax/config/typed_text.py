"""Text from the command line -> values, by the annotation of the parameter that takes them."""

import ast
import types
import typing
from collections.abc import Mapping

from actjax.config.values import SEQUENCES, UNTYPED, elements, of_union, told

_WORDS = {"none": None, "null": None, "true": True, "false": False}
_REFUSED = (ValueError, TypeError, SyntaxError, KeyError, StopIteration)


def read_text(text: str, kind, *, before=None):
    """A value typed on the command line, as the type of a parameter.

    >>> read_text("0.5,1", tuple[float, ...]), read_text("None", float | None), read_text("7", str)
    ((0.5, 1.0), None, '7')

    Args:
      kind: the annotation of the parameter. Without one (`inspect.Parameter.empty`), the type of the value that it
        replaces, `before`, and without that, what the text looks like.

    Raises:
      ValueError: not a value of this type; says what was expected.
    """
    if kind in UNTYPED:
        if before is None or isinstance(before, Mapping):
            return _guess(text)
        kind = int | float if type(before) is int else type(before)
    try:
        return _read(text, kind)
    except _REFUSED:
        raise ValueError(f"expected {told(kind, typed=True)}") from None


def _read(value, kind):
    """Text, or an element of a sequence, as `kind`."""
    if kind in UNTYPED:
        return _guess(value)
    if kinds := of_union(kind):
        return _read_union(value, kinds)
    origin = typing.get_origin(kind) or kind
    if origin in SEQUENCES:
        values = _elements(value)
        return tuple(map(_read, values, elements(kind, len(values))))
    if origin is typing.Literal:
        return next(choice for choice in typing.get_args(kind) if str(choice) == str(value))
    text = str(value)
    if origin is bool:
        return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
    if origin in (int, float):
        return origin(text)
    if origin is types.NoneType:
        return {"none": None, "null": None}[text.lower()]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        found = ast.literal_eval(text)
        if not isinstance(found, dict):
            raise ValueError(text)
        return found
    return text if origin is str else _guess(text)


def _read_union(value, kinds: tuple):
    """The first of several types that fits; text comes last, and a sequence before it only if it looks like one."""
    like_sequence = isinstance(value, tuple) or "," in str(value) or str(value)[:1] in ("(", "[")
    order = sorted((k for k in kinds if k is not str), key=lambda k: (typing.get_origin(k) or k) in SEQUENCES)
    for kind in order:
        if str in kinds and (typing.get_origin(kind) or kind) in SEQUENCES and not like_sequence:
            continue
        try:
            return _read(value, kind)
        except _REFUSED:
            continue
    if str in kinds:
        return str(value)
    raise ValueError(value)


def _elements(value) -> list:
    """`a,b`, `(1, 2)` or `["a", "b"]` -> the elements."""
    if not isinstance(value, str):
        return list(value)
    text = value.strip()
    if text[:1] in ("(", "["):
        try:
            found = ast.literal_eval(text)
            return list(found) if isinstance(found, (tuple, list)) else [found]
        except (ValueError, SyntaxError):
            if text[-1] != {"(": ")", "[": "]"}[text[0]]:
                raise ValueError("a bracket is not closed") from None
            text = text[1:-1]
    return [part.strip() for part in text.split(",") if part.strip()]


def _guess(text):
    """Text -> None, a truth value, a number, a sequence of these, or the text itself. No text: itself."""
    if not isinstance(text, str):
        return text
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    if text[:1] in ("(", "[", "{", '"', "'"):
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return text
    return tuple(_guess(part.strip()) for part in text.split(",") if part.strip()) if "," in text else text
