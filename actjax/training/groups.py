"""Groups of parameters: which rule applies to each, and which rule is missing."""

import json
import math
import numbers
import re
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from actjax.training.naming import map_parameters

SHOWN = 3  # parameters that a message names
ROWS = 8  # rows that it proposes


class Rule(NamedTuple):
    """Multipliers of learning rate and weight decay for parameters whose whole path matches `pattern`.

    beside: only those whose module has a parameter of this name; "": all.
    """

    group: str
    pattern: str
    lr_mult: float
    decay_mult: float
    beside: str = ""

    def matches(self, path: str, paths: Container[str]) -> bool:
        """Whether the rule applies to `path`, one of the `paths` of all parameters."""
        module, slash, _ = path.rpartition("/")
        matched = re.fullmatch(self.pattern, path, re.DOTALL)  # any character: also that of a line break in a key
        return bool(matched) and (not self.beside or module + slash + self.beside in paths)


def checked_rules(rows: Sequence[Sequence]) -> tuple[Rule, ...]:
    """Turns rows of (group, pattern, lr multiplier, decay multiplier) into rules. A `Rule` is a row, too.

    Raises:
      ValueError: a row has the wrong length, an invalid regular expression, or a multiplier that is negative or not
        finite; or two rows have the same group name.
    """
    rules = tuple(_checked(row, f"rules: row {number}, {row!r}:") for number, row in enumerate(rows, 1))
    if len({rule.group for rule in rules}) != len(rules):
        raise ValueError(f"rules: group names must differ, got {[rule.group for rule in rules]}")
    return rules


def _checked(row: Sequence, where: str) -> Rule:
    if isinstance(row, str) or not isinstance(row, Sequence) or len(row) not in (4, len(Rule._fields)):
        raise ValueError(f"{where} expected (group, pattern, lr multiplier, decay multiplier)")
    rule = Rule(*row)
    if not all(isinstance(text, str) for text in (rule.group, rule.pattern, rule.beside)):
        raise ValueError(f"{where} group and pattern must be text")
    try:
        re.compile(rule.pattern)
    except re.error as error:
        raise ValueError(f"{where} the pattern is not a regular expression: {error}") from None
    multipliers = rule.lr_mult, rule.decay_mult
    if not all(isinstance(mult, numbers.Real) and 0 <= mult < math.inf for mult in multipliers):
        raise ValueError(f"{where} multipliers must be finite numbers of at least 0")
    # NumPy's numbers would turn bfloat16 updates into float32.
    return rule._replace(lr_mult=float(rule.lr_mult), decay_mult=float(rule.decay_mult))


class ParamGroups(NamedTuple):
    """The rule that applies to each parameter; `str()` prints the table, and what a catch-all at its end took."""

    rules: tuple[Rule, ...]
    members: dict[str, tuple[str, ...]]  # group -> paths
    sizes: dict[str, int]  # group -> number of parameters
    lr_mult: Any  # trees like the parameters
    decay_mult: Any

    def __str__(self) -> str:
        rows = [("group", "lr x", "decay x", "tensors", "parameters")]
        for rule in self.rules:
            tensors, size = len(self.members[rule.group]), f"{self.sizes[rule.group]:,}"
            rows.append((rule.group, f"{rule.lr_mult:g}", f"{rule.decay_mult:g}", str(tensors), size))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = "\n".join("  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)
        return table + self._caught()

    def _caught(self) -> str:
        """A line about the last of several rules, if it matches any path."""
        *others, last = self.rules or [None]
        if not others or not re.fullmatch(last.pattern, "\0/\0") or not self.members[last.group]:
            return ""
        took = self.members[last.group]
        total = sum(map(len, self.members.values()))
        return f"\n{last.group} took {len(took)} of {total} tensors, which no other rule matches: {_first_few(took)}"

    def map(self, function: Callable, tree, *rest):
        """`jax.tree.map` with the rule of the parameter as first argument: `function(rule, leaf, ...)`.

        Raises:
          ValueError: the tree has a parameter that is in no group.
        """
        rules = {path: rule for rule in self.rules for path in self.members[rule.group]}

        def apply(name, *leaves):
            if name not in rules:
                raise ValueError(f"parameters: {name!r} is not in the tree that the groups were made for")
            return function(rules[name], *leaves)

        return map_parameters(apply, tree, *rest)


def freeze(params, groups: ParamGroups):
    """Stops the gradient of parameters whose lr multiplier is 0. Their gradients are not computed and do not count in
    the gradient norm or its clipping.

    >>> from actjax.training import param_groups
    >>> params = {"stem": 1.0, "head": 2.0}
    >>> groups = param_groups(params, [("frozen", "stem", 0, 0), ("rest", "head", 1, 1)])
    >>> gradient = jax.grad(lambda params: sum(freeze(params, groups).values()))(params)
    >>> float(gradient["stem"]), float(gradient["head"])
    (0.0, 1.0)
    """
    return groups.map(lambda rule, p: p if rule.lr_mult else jax.lax.stop_gradient(p), params)


def unmatched(paths: Sequence[str], shapes: Mapping[str, tuple[int, ...]], rules: Sequence[Rule]) -> ValueError:
    """The error for parameters that no rule matches. It proposes the rows to add.

    Args:
      paths: the names of these parameters.
      shapes: name -> shape of all parameters.
    """
    taken = {rule.group for rule in rules}
    proposals = _proposals(paths, shapes)
    rows = [_row(*proposal, taken) + "," for proposal in proposals[:ROWS]] + ["..."] * (len(proposals) > ROWS)
    return ValueError(
        f"param_groups: no rule matches {_first_few([f'{path!r} {shapes[path]}' for path in paths])} "
        f"({len(paths)} of {len(shapes)} parameters). Add to `rules` or `rows` (in a config, optim.rules.rows):\n"
        + "".join(f"  {row}\n" for row in rows)
        + f"or, as the last one, a rule for all the rest:\n  {_row('rest', '.*', 1, taken)},"
    )


def _proposals(paths: Sequence[str], shapes: Mapping[str, tuple]) -> list[tuple[str, str, int]]:
    """(group, pattern, decay multiplier) that match `paths`: one row for all norms, one for each other name.

    A number in a name stands for any number. Norms, biases and vectors have no decay.
    """
    norm = Rule("norm", r".*/(scale|bias)", 1, 0, beside="scale")
    rows, others = [], {}
    if norms := [path for path in paths if norm.matches(path, shapes)]:
        *_, modules, leaves = zip(*(("/" + path).rsplit("/", 2) for path in norms), strict=True)
        nested = [path.count("/") > 1 for path in norms]
        rows.append((norm.group, f"{_prefix(nested)}{_either(sorted(modules))}/{_either(sorted(leaves)[::-1])}", 0))
    for path in (path for path in paths if not norm.matches(path, shapes)):
        name = re.search(r"[^/]*(/\d+)*\Z", path)[0]  # from the last part that is not a number
        others.setdefault(_general(name), {})[path] = name
    for pattern, named in others.items():
        group = next(iter(named.values())).partition("/")[0]
        decay = int(group != "bias" and any(len(shapes[path]) > 1 for path in named))
        nested = [path != name for path, name in named.items()]
        rows.append(("array" if group.isdigit() else group or "array", _prefix(nested) + pattern, decay))
    return rows


def _prefix(nested: Sequence[bool]) -> str:
    return ".*/" if all(nested) else "(.*/)?" if any(nested) else ""


def _either(names: Sequence[str]) -> str:
    """A pattern for any of `names`."""
    patterns = list(dict.fromkeys(map(_general, names)))
    return patterns[0] if len(patterns) == 1 else f"({'|'.join(patterns)})"


def _general(name: str) -> str:
    return re.sub(r"\d+", r"\\d+", re.escape(name))


def _row(group: str, pattern: str, decay: int, taken: set[str]) -> str:
    """The source of a row, whose group gets a name that is not `taken` yet."""
    while group in taken:
        group = f"other_{group}"
    taken.add(group)
    plain = pattern.isprintable() and '"' not in pattern and not pattern.endswith("\\")
    quoted = f'r"{pattern}"' if plain else repr(pattern)
    return f"({json.dumps(group)}, {quoted}, 1, {decay})"


def _first_few(names: Sequence[str]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
