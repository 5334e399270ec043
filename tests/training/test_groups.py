"""Which rule applies to a parameter, and what is said where none does."""

import re

import jax.numpy as jnp
import pytest

from actjax.training import param_groups
from actjax.training.optimizers import table_rules

PARAMS = {"backbone": {"stem": {"conv": {"kernel": jnp.ones(3)}, "bn": {"scale": jnp.ones(2), "bias": jnp.ones(2)}}},
          "fc_cls": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}}  # fmt: skip


def test_param_groups_print_the_table():
    table = str(param_groups(PARAMS))
    names = "group first_conv_weight first_conv_bias lr5_weight lr10_bias bn normal_weight normal_bias"
    assert [line.split()[0] for line in table.splitlines()] == names.split()
    assert table.splitlines()[3].split() == ["lr5_weight", "5", "1", "1", "4"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("a", "(", 1, 1), r"the pattern is not a regular expression: missing \)"),
        (("a", ".*", 1), r"expected \(group, pattern, lr multiplier, decay multiplier\)"),
        (("a", ".*", 1, 1, 1), r"expected \(group, pattern, lr multiplier, decay multiplier\)"),
        ("abcd", r"expected \(group, pattern, lr multiplier, decay multiplier\)"),
        (3, r"expected \(group, pattern, lr multiplier, decay multiplier\)"),
        ((1, ".*", 1, 1), "group and pattern must be text"),
        (("a", None, 1, 1), "group and pattern must be text"),
        (("a", ".*", -1, 1), "multipliers must be finite numbers of at least 0"),
        (("a", ".*", 1, float("nan")), "multipliers must be finite numbers of at least 0"),
        (("a", ".*", float("inf"), 1), "multipliers must be finite numbers of at least 0"),
        (("a", ".*", "1", 1), "multipliers must be finite numbers of at least 0"),
    ],
)
def test_a_bad_row_is_named(row, message):
    rows = [("first", "x", 1, 1), row]
    for refuse in (lambda: param_groups(PARAMS, rows), lambda: table_rules(rows=rows)):
        with pytest.raises(ValueError, match=rf"rules: row 2, {re.escape(repr(row))}: {message}"):
            refuse()


def test_equal_groups_are_refused():
    with pytest.raises(ValueError, match="group names must differ"):
        param_groups(PARAMS, [("a", "x", 1, 1), ("a", ".*", 1, 1)])
