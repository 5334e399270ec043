"""Which rule applies to a parameter, and what is said where none does."""

import ast
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ml_collections import ConfigDict

from actjax.config import pick
from actjax.training import param_groups, tsm_optimizer, tsm_rules
from actjax.training.optimizers import RULES, table_rules

PARAMS = {"backbone": {"stem": {"conv": {"kernel": jnp.ones(3)}, "bn": {"scale": jnp.ones(2), "bias": jnp.ones(2)}}},
          "fc_cls": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}}  # fmt: skip


def proposed(message: str) -> tuple[list[tuple], tuple]:
    """The rows that an error proposes, and its rule for all the rest."""
    rows = [ast.literal_eval(line.rstrip(",")) for line in re.findall(r"^  (\(.*\),)$", message, re.M)]
    return rows[:-1], rows[-1]


def message_of(params, rules=None) -> str:
    with pytest.raises(ValueError) as caught:
        param_groups(params, rules)
    return str(caught.value)


def test_param_groups_print_the_table():
    table = str(param_groups(PARAMS))
    names = "group first_conv_weight first_conv_bias lr5_weight lr10_bias bn normal_weight normal_bias"
    assert [line.split()[0] for line in table.splitlines()] == names.split()
    assert table.splitlines()[3].split() == ["lr5_weight", "5", "1", "1", "4"]


def test_a_catch_all_says_what_it_took():
    params = PARAMS | {"tokens": [jnp.ones(2)] * 5}
    table = str(param_groups(params, (*tsm_rules(), ("rest", r".*", 1, 1))))
    assert table.splitlines()[-2].split() == ["rest", "1", "1", "5", "10"]
    assert table.splitlines()[-1] == (
        "rest took 5 of 10 tensors, which no other rule matches: tokens/0, tokens/1, tokens/2 and 2 more"
    )


@pytest.mark.parametrize(
    "rules",
    [
        [("all", r".*", 1, 1)],
        [("b", r"backbone/.*", 1, 1), ("f", r"fc_cls/.*", 1, 1)],
        [("b", r"(backbone|fc_cls)/.*", 1, 1), ("rest", r".*", 1, 1)],
    ],
)
def test_nothing_is_said_without_a_catch_all_that_took_something(rules):
    assert " took " not in str(param_groups(PARAMS, rules))


def test_an_unmatched_parameter_is_named_and_its_row_proposed():
    params = {"net": {"BatchNorm_0": {"scale": jnp.ones(2), "bias": jnp.ones(2)}, "Conv_0": {"kernel": jnp.ones(3)}}}
    assert message_of(params, [("weights", r".*/kernel", 1, 1)]) == (
        "param_groups: no rule matches 'net/BatchNorm_0/bias' (2,), 'net/BatchNorm_0/scale' (2,) (2 of 3 parameters). "
        "Add to `rules` or `rows` (in a config, optim.rules.rows):\n"
        '  ("norm", r".*/BatchNorm_\\d+/(scale|bias)", 1, 0),\n'
        "or, as the last one, a rule for all the rest:\n"
        '  ("rest", r".*", 1, 1),'
    )


def test_many_unmatched_parameters_are_counted_and_share_rows():
    layer = lambda: {"norm1": {"scale": jnp.ones(2), "bias": jnp.ones(2)}, "fc": {"kernel": jnp.ones((2, 2))}}
    params = {"layers": [layer() for _ in range(12)], "pos_embedding": jnp.ones((1, 8, 2)), "query": {"bias": [1.0]}}
    message = message_of(params, [("rest", r"nothing", 1, 1), ("norm", r"nothing", 1, 1)])
    assert "'layers/0/norm1/scale' (2,) and 35 more (38 of 38 parameters)" in message
    assert proposed(message) == (
        [
            ("other_norm", r".*/norm\d+/(scale|bias)", 1, 0),
            ("kernel", r".*/kernel", 1, 1),
            ("pos_embedding", r"pos_embedding", 1, 1),
            ("bias", r".*/bias/\d+", 1, 0),
        ],
        ("other_rest", r".*", 1, 1),
    )


def test_a_message_stays_short():
    message = message_of({f"w{chr(97 + k)}": jnp.ones(2) for k in range(20)}, [])
    assert len(proposed(message)[0]) == 8 and "\n  ...\nor, as the last" in message


KEYS = st.sampled_from(
    ["scale", "bias", "kernel", "norm1", "BatchNorm_0", "a.b", "a|b", '"', "\\", "é", "7", "", "a\nb"]
)
LEAVES = st.sampled_from([np.float32(0), np.ones(2), np.ones((2, 3))])
NODES = lambda nodes: (
    st.lists(nodes, max_size=3)
    | st.one_of([st.dictionaries(keys, nodes, max_size=3) for keys in (KEYS, st.integers(0, 20))])
)


@given(st.recursive(LEAVES, NODES, max_leaves=8))
@example({"a\nb": np.ones(2), "b\n": np.ones(2)})
@example({"kernel": np.ones(2), "a": {"kernel": np.ones(2)}})
@example({"norm1": {"scale": np.ones(2)}, "a": {"norm1": {"bias": np.ones(2), "scale": np.ones(2)}}})
def test_the_proposed_rows_are_enough(tree):
    """Each of the two proposals, pasted behind the table, leaves no parameter without a rule."""
    if not jax.tree.leaves(tree):
        return
    for rules in ([], tsm_rules()):
        try:
            param_groups(tree, rules)
        except ValueError as error:
            rows, rest = proposed(str(error))
            if "\n  ...\n" not in str(error):
                param_groups(tree, (*rules, *table_rules(rows=rows)))
            param_groups(tree, (*rules, *table_rules(rows=[rest])))


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
    with pytest.raises(ValueError, match=r"no rule matches 'pos_embedding' \(1, 5, 4\) \(1 of \d+ parameters\)"):
        tsm_optimizer(params, lambda step: 0.1)


def test_tsm_rules_apply_to_a_single_layer():
    assert param_groups({"kernel": 1.0, "bias": 1.0}).members["normal_bias"] == ("bias",)
    assert param_groups({"scale": 1.0, "bias": 1.0}).members["bn"] == ("bias", "scale")


def test_beside_is_the_same_module():
    rules = [("norm", r".*/bias", 1, 0, "scale"), ("rest", r".*", 1, 1)]
    params = {"a": {"scale": 1.0, "b": {"bias": 1.0}}, "c": {"scale": 1.0, "bias": 1.0}}
    assert param_groups(params, rules).members["norm"] == ("c/bias",)


@pytest.mark.parametrize("name", ["tsm", "table"])
def test_a_config_adds_the_proposed_rows(name):
    """As the lines stand in the message, in a config's `optim.rules.rows`."""
    params = PARAMS | {"cls_token": jnp.ones((1, 4))}
    rows, _ = proposed(message_of(params, tsm_rules() if name == "tsm" else []))
    section = ConfigDict({"name": name, "rows": rows})
    groups = param_groups(params, pick(RULES, section, "optim.rules")())
    assert groups.members["cls_token"] == ("cls_token",)
