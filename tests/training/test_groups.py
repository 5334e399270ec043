"""Which rule applies to a parameter, and what is said where none does."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from actjax.training import param_groups, tsm_optimizer, tsm_rules
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
        (("a", ".*", 1, 1, "scale", 0), r"expected \(group, pattern, lr multiplier, decay multiplier\)"),
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
    for refuse in (lambda: param_groups(PARAMS, rows), lambda: table_rules(rows=rows), lambda: tsm_rules(rows=rows)):
        with pytest.raises(ValueError, match=rf"rules: row 2, {re.escape(repr(row))}: {message}"):
            refuse()


def test_equal_groups_are_refused():
    with pytest.raises(ValueError, match="group names must differ"):
        param_groups(PARAMS, [("a", "x", 1, 1), ("a", ".*", 1, 1)])
    with pytest.raises(ValueError, match="group names must differ"):
        param_groups(PARAMS, tsm_rules(rows=[("bn", ".*", 1, 1)]))


class Foreign(nn.Module):
    """What people build of Flax: default names, and names of their own."""

    @nn.compact
    def __call__(self, x):
        x = nn.GroupNorm(2)(nn.BatchNorm(use_running_average=True)(nn.Conv(4, (3,))(x)))
        x = x + self.param("pos_embedding", nn.initializers.ones, (1, *x.shape[1:]))
        x = nn.RMSNorm(name="before")(nn.LayerNorm(name="norm1")(x))
        x = nn.RNN(nn.OptimizedLSTMCell(4))(nn.MultiHeadDotProductAttention(2)(x, x))
        return nn.Dense(3)(nn.LayerNorm(use_scale=False)(x.mean(1)))


def test_tsm_rules_know_the_norms_of_other_networks():
    params = jax.eval_shape(Foreign().init, jax.random.key(0), jnp.ones((2, 5, 4)))["params"]
    groups = param_groups(params, tsm_rules(rows=[("embedding", r"pos_embedding", 1, 0)]))
    norms = {"BatchNorm_0", "GroupNorm_0", "norm1"}
    assert set(groups.members["bn"]) == {f"{norm}/{leaf}" for norm in norms for leaf in ("scale", "bias")} | {
        "before/scale"
    }
    biases = {path for path in groups.members["normal_bias"] if path.count("/") == 1}
    assert biases == {"Conv_0/bias", "Dense_0/bias", "LayerNorm_0/bias"}
    assert {"Conv_0/kernel", "Dense_0/kernel"} < set(groups.members["normal_weight"])
    assert groups.members["embedding"] == ("pos_embedding",) and groups.decay_mult["BatchNorm_0"]["bias"] == 0
    with pytest.raises(ValueError, match=r"no rule matches 'pos_embedding'"):
        tsm_optimizer(params, lambda step: 0.1)


def test_tsm_rules_apply_to_a_single_layer():
    assert param_groups({"kernel": 1.0, "bias": 1.0}).members["normal_bias"] == ("bias",)
    assert param_groups({"scale": 1.0, "bias": 1.0}).members["bn"] == ("bias", "scale")


def test_beside_is_the_same_module():
    rules = [("norm", r".*/bias", 1, 0, "scale"), ("rest", r".*", 1, 1)]
    params = {"a": {"scale": 1.0, "b": {"bias": 1.0}}, "c": {"scale": 1.0, "bias": 1.0}}
    assert param_groups(params, rules).members["norm"] == ("c/bias",)
