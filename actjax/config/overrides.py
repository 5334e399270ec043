"""Values that override a config's: `--config.SECTION.KEY=VALUE` on the command line, keyword arguments in Python.

A key may be any parameter of the function that reads the section, whether or not the config has it.
"""

import copy
import inspect
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from actjax.config import Reader, plain, unknown
from actjax.config.typed_text import read_text

log = logging.getLogger("actjax")

FLAG = "--config."


class Text(str):
    """A value as typed on the command line, to be read by the type of the parameter."""


BARE = Text("true")  # a flag without a value


def split_flags(argv: Sequence[str]) -> tuple[list[str], dict[str, Text]]:
    """Takes the overrides out of the command line -> (the other arguments, {"run.epochs": "2"}).

    A blank may stand in place of `=`. A flag without a value is True. Of two values for a key the last one holds.

    Raises:
      ValueError: an empty key.
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
        value = Text(value) if equals else BARE
        if not key:
            raise ValueError(f"{argument}: write {FLAG}SECTION.KEY=VALUE")
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
    sections, changes = copy.deepcopy(plain(config)), _flat(plain(changes))
    is_name = lambda key: key.rpartition(".")[2] == "name"
    for key, value in sorted(changes.items(), key=lambda change: not is_name(change[0])):  # names choose the readers
        *path, last = key.split(".")
        section, part = _section(sections, path, reader, key)
        kind = _annotation(section, part, path, last) if last != "name" else str  # the old name may name nothing
        before = section.get(last)
        if isinstance(value, Text):
            try:
                value = read_text(value, kind, before=before)
                if changes[key] is BARE and value is not True:
                    raise ValueError("expected a value")
            except ValueError as error:
                given = "" if changes[key] is BARE else f"={value}"
                raise ValueError(f"{FLAG}{key}{given}: {error}") from None
        section[last] = copy.deepcopy(value)
        if last == "name" and before not in (None, section[last]):
            _drop(section, part, path, kept={k.rpartition(".")[2] for k in changes if k.split(".")[:-1] == path})
    return sections


def _flat(changes: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Nested sections -> dotted keys."""
    flat = {}
    for key, value in changes.items():
        found = _flat(value, f"{where}{key}.") if isinstance(value, Mapping) and value else {f"{where}{key}": value}
        if twice := sorted(flat.keys() & found.keys()):
            raise ValueError(f"config.{twice[0]} is given twice")
        flat |= found
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
    if key not in known and not part.open(section, where) and not part.each:
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
