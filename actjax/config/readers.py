"""Readers: the functions that read a config section, what it may hold, and with which types and defaults."""

import inspect
from collections.abc import Callable, Mapping
from typing import NamedTuple

from actjax.config.sections import as_section, bind, find, parameters_of, pick, plain, unknown
from actjax.config.values import UNTYPED


class Reader(NamedTuple):
    """The functions that read a config section: what it may hold, and with which types and defaults.

    by: functions that take its keys; of a table, the function that the section's `name` selects. The first one is
      called, and passes on what the others take.
    given, positional: arguments that the config does not set, as in `bind`.
    parts: readers of nested sections.
    each: reader of the nested sections whose names the config chooses.
    together: {key: keys whose values go with its value}; an override of the first one alone drops the others.
    """

    by: tuple[Callable | Mapping[str, Callable], ...] = ()
    given: tuple[str, ...] = ()
    positional: int = 0
    parts: Mapping[str, "Reader"] = {}
    each: "Reader | None" = None
    together: Mapping[str, tuple[str, ...]] = {}

    def part(self, name: str) -> "Reader | None":
        """The reader of a nested section; None: it may hold any key."""
        return self.parts.get(name, self.each)

    def functions(self, section: Mapping, where: str) -> list[Callable]:
        """The functions that read `section`; all of a table, if the section selects none. ValueError: unknown name."""
        name, tables = section.get("name"), [by for by in self.by if isinstance(by, Mapping)]
        plain_ones = [by for by in self.by if not isinstance(by, Mapping)]
        if name is None:
            return [*plain_ones, *(function for table in tables for function in table.values())]
        named = [table[name] for table in tables if isinstance(name, str) and name in table]
        return [*plain_ones, *(named or [find(tables[0], name, f"{where}.name")] if tables else ())]

    def parameters(self, section: Mapping, where: str) -> dict[str, inspect.Parameter]:
        """The keys that `section` may hold, with their annotations and defaults."""
        known = {}
        for function in self.functions(section, where):
            known |= parameters_of(function, self.given, positional=self.positional)[0]
        parts = [*(name for name in self.parts if name in known or name in self.given), *(section if self.each else ())]
        named = {"name": str} if any(isinstance(by, Mapping) for by in self.by) else {}
        for name, kind in (named | dict.fromkeys(parts, dict | None)).items():
            if name not in known or known[name].annotation in UNTYPED:
                known[name] = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind)
        return known

    def open(self, section: Mapping, where: str) -> bool:
        """Whether it may hold any other key, because a function takes `**kwargs` for itself.

        Of several functions the first one passes its own on to the others.
        """
        functions = self.functions(section, where)
        own = functions[1:] if len(functions) > 1 else functions
        return any(parameters_of(function, self.given, positional=self.positional)[1] for function in own)

    def bind(self, section, where: str) -> Callable:
        """The first function with its arguments taken from the section.

        Raises:
          ValueError: a key that no function takes, or a required argument that is missing.
        """
        section = as_section(section, where)
        known = self.parameters(section, where)
        for key in section:
            if key not in known and not self.open(section, where):
                raise ValueError(f"{where}.{unknown(key, known)}")
        by = self.by[0]
        return (pick if isinstance(by, Mapping) else bind)(
            by, section, where, given=self.given, positional=self.positional
        )


def filled(section, reader: Reader):
    """A section with its reader's defaults filled in, at any depth, so that a missing key equals its default.

    A missing section counts as empty. A section without a required key is not filled in.
    """
    section = {} if section is None else plain(section)
    if not isinstance(section, dict):
        return section
    for by in reader.by:
        function = by.get(section.get("name")) if isinstance(by, Mapping) else by
        parameters = parameters_of(function, reader.given, positional=reader.positional)[0] if function else {}
        defaults = {name: p.default for name, p in parameters.items() if p.default is not p.empty}
        if parameters.keys() <= defaults.keys() | section.keys():
            section = defaults | section
    parts = [*reader.parts, *(section if reader.each else ())]
    return section | {key: filled(section.get(key), reader.part(key)) for key in parts}
