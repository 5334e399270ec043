"""Values that override a config's: `--config.SECTION.KEY=VALUE` on the command line, keyword arguments in Python.

A key may be any parameter of the function that reads the section, whether or not the config has it.
"""

import ast
import collections.abc
import copy
import inspect
import logging
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from actjax.config import Reader, plain, unknown

log = logging.getLogger("actjax")

FLAG = "--config."
_SEQUENCES = (tuple, list, collections.abc.Sequence)
_WORDS = {"none": None, "true": True, "false": False}


class Text(str):
    """A value as typed on the command line, to be read by the type of the parameter."""


def split_flags(argv: Sequence[str]) -> tuple[list[str], dict[str, Text | bool]]:
    """Takes the overrides out of the command line -> (the other arguments, {"run.epochs": "2"}).

    A blank may stand in place of `=`. A flag without a value is True, as for the flags of absl.

    Raises:
      ValueError: a key that is empty or given twice with different values.
    """
    rest, changes, arguments = [], {}, list(argv)
    while arguments:
        argument = arguments.pop(0)
        if not argument.startswith((FLAG, FLAG[1:])):
            rest.append(argument)
            continue
        key, equals, value = argument.lstrip("-").removeprefix("config.").partition("=")
        if not equals and arguments and not arguments[0].startswith("--"):
            equals, value = " ", arguments.pop(0)
        value = Text(value) if equals else True
        if not key or changes.get(key, value) != value:
            raise ValueError(f"{argument}: {'name a key' if not key else f'{FLAG}{key} is given twice'}")
        changes[key] = value
    return rest, changes


def override(config: Mapping, changes: Mapping[str, Any], reader: Reader) -> dict:
    """A config with `changes` applied.

    Args:
      config: the sections; not modified.
      changes: {"run.epochs": 2.0} or {"run": {"epochs": 2.0}}. A `Text` is read by the annotation of the parameter.
      reader: the functions that read the config, `Registered.reader` of its task.

    A new `name` drops the keys of the section that the new function does not take, and logs each.

    Raises:
      ValueError: a key that nothing reads, a text that is no value of the parameter's type.
    """
    sections, changes = copy.deepcopy(plain(config)), _flat(changes)
    names = {
        key: value for key, value in changes.items() if key.rpartition(".")[2] == "name"
    }  # they choose the readers
    for key, value in (*names.items(), *((k, v) for k, v in changes.items() if k not in names)):
        *path, last = key.split(".")
        section, part = _section(sections, path, reader, key)
        kind = _annotation(section, part, path, last)
        before = section.get(last)
        section[last] = read_text(value, kind=kind, before=before, key=key) if isinstance(value, Text) else value
        if last == "name" and before not in (None, section[last]):
            _drop(section, part, path, kept={k.rpartition(".")[2] for k in changes if k.split(".")[:-1] == path})
    return sections


def _flat(changes: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Nested sections -> dotted keys."""
    flat = {}
    for key, value in changes.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{where}{key}.")
        else:
            flat[where + key] = value
    return flat


def _section(sections: dict, path: list[str], reader: Reader, key: str) -> tuple[dict, Reader | None]:
    """The section at `path`, which is created if the config lacks it, and its reader; None: it may hold any key."""
    section, part = sections, reader
    for depth, step in enumerate(path):
        _annotation(section, part, path[:depth], step)
        part = part.part(step) if part is not None else None
        if section.get(step) is None:
            section[step] = {}
        section = section[step]
        if not isinstance(section, dict):
            raise ValueError(f"config.{key}: config.{'.'.join(path[: depth + 1])} is {section!r}, not a section")
    return section, part


def _annotation(section: dict, part: Reader | None, path: list[str], key: str):
    """The annotation of a key, if it has one. ValueError: nothing reads the key."""
    if part is None:
        return inspect.Parameter.empty
    where = ".".join(("config", *path))
    known = part.parameters(section, where)
    if key not in known and not part.open(section, where):
        raise ValueError(f"{where}.{unknown(key, known)}")
    return known.get(key, inspect.Parameter.empty)


def _drop(section: dict, part: Reader | None, path: list[str], *, kept: set[str]) -> None:
    """Removes the keys that the section's new function does not take."""
    where = ".".join(("config", *path))
    if part is None or part.open(section, where):
        return
    known = part.parameters(section, where)
    for key in [key for key in section if key not in known and key not in kept]:
        log.info("%s.%s=%r is dropped: %s does not take it", where, key, section.pop(key), section["name"])


def read_text(text: str, *, kind, before, key: str):
    """A value typed on the command line, as the type of a parameter.

    Args:
      kind: the annotation of the parameter. Without one, the type of the config's value, `before`, and without that,
        what the text looks like.

    Raises:
      ValueError: not a value of this type.
    """
    if kind in (inspect.Parameter.empty, Any, object):
        if before is None or isinstance(before, Mapping):
            return _guess(text)
        kind = type(before)
    try:
        return _read(text, kind)
    except (ValueError, TypeError, SyntaxError):
        raise ValueError(f"{FLAG}{key}={text}: expected {_told(kind)}") from None


def _read(value, kind):
    """Text, or an element of a sequence, as `kind`."""
    kinds = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
    if len(kinds) > 1:
        return _read_union(value, kinds)
    origin = typing.get_origin(kind) or kind
    if origin in _SEQUENCES:
        elements = [k for k in typing.get_args(kind) if k is not ...]
        return tuple(_read(v, elements[0]) if elements else v for v in _elements(value))
    if origin is typing.Literal:
        return next(choice for choice in typing.get_args(kind) if str(choice) == str(value))
    text = str(value)
    if origin is bool:
        return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
    if origin in (int, float):
        return origin(text)
    if origin is types.NoneType:
        return {"none": None}[text.lower()]
    if issubclass(origin, Mapping):
        found = ast.literal_eval(text)
        if not isinstance(found, dict):
            raise ValueError(text)
        return found
    return text if origin is str else _guess(text)


def _read_union(value, kinds: tuple):
    """The first of several types that fits; text comes last, and a sequence before it only if it looks like one."""
    like_sequence = isinstance(value, tuple) or "," in str(value) or str(value)[:1] in ("(", "[")
    order = sorted((k for k in kinds if k is not str), key=lambda k: (typing.get_origin(k) or k) in _SEQUENCES)
    for kind in order:
        if str in kinds and (typing.get_origin(kind) or kind) in _SEQUENCES and not like_sequence:
            continue
        try:
            return _read(value, kind)
        except (ValueError, TypeError, SyntaxError, KeyError):
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
            text = text[1:-1]
    return [part.strip() for part in text.split(",") if part.strip()]


def _guess(text: str):
    """Text -> None, a truth value, a number, a sequence of these, or the text itself."""
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


def _told(kind) -> str:
    """A type, in words."""
    words = {bool: "true or false", int: "an integer", float: "a number", types.NoneType: "None", str: "text"}
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_told, typing.get_args(kind)))
    if (origin or kind) in _SEQUENCES:
        return "values separated by commas"
    if origin is typing.Literal:
        return " or ".join(map(str, typing.get_args(kind)))
    return words.get(kind, str(getattr(kind, "__name__", kind)))
