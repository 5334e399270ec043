"""Which rule applies to a parameter, and what is said where none does."""

import jax.numpy as jnp
import pytest

from actjax.training import param_groups

PARAMS = {"backbone": {"stem": {"conv": {"kernel": jnp.ones(3)}, "bn": {"scale": jnp.ones(2), "bias": jnp.ones(2)}}},
          "fc_cls": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}}  # fmt: skip


def test_param_groups_print_the_table():
    table = str(param_groups(PARAMS))
    names = "group first_conv_weight first_conv_bias lr5_weight lr10_bias bn normal_weight normal_bias"
    assert [line.split()[0] for line in table.splitlines()] == names.split()
    assert table.splitlines()[3].split() == ["lr5_weight", "5", "1", "1", "4"]


def test_equal_groups_are_refused():
    with pytest.raises(ValueError, match="group names must differ"):
        param_groups(PARAMS, [("a", "x", 1, 1), ("a", ".*", 1, 1)])
