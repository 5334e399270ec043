"""Values that override a config's: `--config.SECTION.KEY=VALUE` on the command line, keyword arguments in Python.

A key may be any parameter of the function that reads the section, whether or not the config has it.
"""

import contextlib
import copy
import inspect
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from actjax.config import Reader, plain, unknown
from actjax.config.sections import synonym
from actjax.config.typed_text import read_text
from actjax.config.values import fitted, storable

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

    A new `name` drops the keys of the section that the new function does not take, and logs each; so do other keys that
    a reader lists as `together`.

    Raises:
      ValueError: a key that nothing reads, or a value of another type than the parameter's.
    """
    sections, changes = copy.deepcopy(plain(config)), _flat(storable(plain(changes), "config"))
    is_name = lambda key: key.rpartition(".")[2] == "name"
    for key in sorted(changes, key=lambda key: not is_name(key)):  # names choose the readers
        *path, last = key.split(".")
        section, part, parameter = _find(sections, reader, key)
        before = section.get(last, parameter.default)
        kind = str if is_name(key) else parameter.annotation  # the old name may name nothing
        value = _value(key, changes[key], kind, before=section.get(last), part=part)
        if isinstance(value, dict) and part and part.part(last) and isinstance(section.get(last), dict | None):
            section.setdefault(last, {})
            sections = override(sections, {f"{key}.{inner}": one for inner, one in value.items()}, reader)
            continue
        section[last] = value
        if isinstance(before, str) and before != value:
            typed = {other.rpartition(".")[2] for other in changes if other.split(".")[:-1] == path}
            _drop(section, part, ".".join(("config", *path)), last, typed=typed)
    return sections


def _value(key: str, value, kind, *, before, part: Reader | None):
    """A value as the parameter takes it. ValueError: one of another type."""
    typed = isinstance(value, Text)
    try:
        found = read_text(value, kind, before=before) if typed else fitted(value, kind)
        if value is BARE and found is not True:
            raise ValueError("expected a value")
        return found
    except ValueError as error:
        flag, shown = (f"{FLAG}{key}", value) if typed else (f"config.{key}", repr(value))
        hint = _of_section(flag, value, shown, part and part.part(key.rpartition(".")[2]))
        raise ValueError(f"{flag}{'' if value is BARE else f'={shown}'}: {error}{hint}") from None


def _of_section(flag: str, value, shown: str, reader: Reader | None) -> str:
    """The end of an error for a value in place of a section: the key that was meant, if it is clear."""
    if reader is None:
        return ""
    if any(isinstance(by, Mapping) and value in by for by in reader.by if isinstance(value, str)):
        return f"; write {flag}.name={shown}"
    keys = sorted(key for by in reader.by if callable(by) for key in inspect.signature(by).parameters)
    return f"; its keys are {', '.join(key for key in keys if key not in reader.given)}" if keys else ""


def _flat(changes: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Nested sections -> dotted keys."""
    flat = {}
    for key, value in changes.items():
        found = _flat(value, f"{where}{key}.") if isinstance(value, Mapping) and value else {f"{where}{key}": value}
        if twice := sorted(flat.keys() & found.keys()):
            raise ValueError(f"config.{twice[0]} is given twice")
        flat |= found
    return flat


def _find(sections: dict, reader: Reader, key: str) -> tuple[dict, Reader | None, inspect.Parameter]:
    """The section of a key, which is created if the config lacks it; its reader; and the parameter that takes the key.

    No reader: the section may hold any key. ValueError: nothing reads the key.
    """
    section, part, parameter = sections, reader, None
    *path, last = key.split(".")
    for depth, step in enumerate([*path, last]):
        where = ".".join(("config", *path[:depth]))
        if not isinstance(section, dict):
            raise ValueError(f"config.{key}: {where} is {section!r}, not a section")
        known = {} if part is None else part.parameters(section, where)
        if part is not None and step not in known and not part.open(section, where) and not part.each:
            hint = _of_others(part, section, where, step) or _misplaced(sections, reader, key, step)
            raise ValueError(f"{where}.{hint or unknown(step, known)}")
        parameter = known.get(step, inspect.Parameter("any", inspect.Parameter.KEYWORD_ONLY))
        if depth < len(path):
            part = part.part(step) if part is not None else None
            if section.get(step) is None:
                section[step] = {}
            section = section[step]
    return section, part, parameter


def _of_others(part: Reader, section: Mapping, where: str, step: str) -> str:
    """The end of an error for a key that goes with other names of the section; "" if with none, or with many."""
    names = {name for by in part.by if isinstance(by, Mapping) for name in by}
    takes = sorted(name for name in names if step in part.parameters({"name": name}, where))
    if not 0 < len(takes) < 5:
        return ""
    return f"{step!r} does not go with {where}.name={section.get('name')!r}, only with {' or '.join(map(repr, takes))}"


def _misplaced(sections: Mapping, reader: Reader, key: str, step: str) -> str:
    """The end of an error for a key that exists in another section; "" if it exists in none, or in many."""
    last = synonym(key.rpartition(".")[2])
    places = [place for place in _keys(sections, reader, "config") if place.rpartition(".")[2] == last]
    return f"{step!r} is unknown; did you mean {' or '.join(places)}?" if 0 < len(places) < 4 else ""


def _keys(section, reader: Reader, where: str) -> Iterator[str]:
    """The dotted keys that a section and those in it may hold."""
    section = section if isinstance(section, Mapping) else {}
    with contextlib.suppress(ValueError):  # a name in the config that names nothing
        yield from (f"{where}.{key}" for key in reader.parameters(section, where))
    for name, part in reader.parts.items():
        yield from _keys(section.get(name), part, f"{where}.{name}")


def _drop(section: dict, part: Reader | None, where: str, changed: str, *, typed: set[str]) -> None:
    """Removes what does not go with the new value of the key `changed`, unless it was typed, too."""
    if part is None:
        return
    known = part.parameters(section, where)
    loose = section.keys() - known if changed == "name" and not part.open(section, where) else ()
    for key in [key for key in section if key in (*loose, *part.together.get(changed, ())) and key not in typed]:
        log.info("%s.%s=%r is dropped: %s is now %r", where, key, section.pop(key), changed, section[changed])
