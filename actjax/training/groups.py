"""Groups of parameters: which rule applies to each."""

import math
import numbers
import re
from collections.abc import Callable, Container, Sequence
from typing import Any, NamedTuple

import jax

from actjax.training.naming import map_parameters


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
        return bool(re.fullmatch(self.pattern, path)) and (not self.beside or module + slash + self.beside in paths)


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
    """The rule that applies to each parameter; `str()` prints the table."""

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
        return table

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
    the gradient norm or its clipping."""
    return groups.map(lambda rule, p: p if rule.lr_mult else jax.lax.stop_gradient(p), params)
