"""The optimizers take any tree of parameters, and do the same with the same arrays in another one."""

import collections
import dataclasses

import flax
import flax.linen as nn
import jax
import numpy as np
import optax
import pytest
from flax import nnx

from actjax.training import param_groups, sgd
from actjax.training.naming import map_parameters, parameter_names

Pair = collections.namedtuple("Pair", "kernel bias")


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Layer:
    kernel: jax.Array
    value: jax.Array


@jax.tree_util.register_pytree_node_class
class Plain:
    """A node whose children have no keys."""

    def __init__(self, *children):
        self.children = children

    def tree_flatten(self):
        return self.children, None

    @classmethod
    def tree_unflatten(cls, _, children):
        return cls(*children)


ONE, TWO = np.ones((2, 3), np.float32), np.full(2, 2, np.float32)
PARTITIONED = nn.Partitioned(ONE, names=(None, "model"))
TREES = {
    "dict": ({"backbone": {"stem": {"kernel": ONE}}, "fc": TWO}, ["backbone/stem/kernel", "fc"]),
    "FrozenDict": (flax.core.freeze({"b": {"kernel": ONE, "bias": TWO}}), ["b/bias", "b/kernel"]),
    "list": ({"layers": [{"kernel": ONE}, {"kernel": TWO}]}, ["layers/0/kernel", "layers/1/kernel"]),
    "tuple": ((ONE, (TWO,)), ["0", "1/0"]),
    "namedtuple": ([Pair(ONE, TWO)], ["0/kernel", "0/bias"]),
    "dataclass": ({"layer": Layer(ONE, TWO)}, ["layer/kernel", "layer/value"]),
    "no keys": (Plain(ONE, [TWO]), ["0", "1/0"]),
    "other keys": ({1: ONE, 10: {(2, "b"): TWO}}, ["1", "10/(2, 'b')"]),
    "slashes": ({"mlp/linear": {"w": ONE}, "mlp": {"b": TWO}}, ["mlp/b", "mlp/linear/w"]),
    "nnx.State": (nnx.State({"fc": {"kernel": nnx.Param(ONE), "value": nnx.Param(TWO)}}), ["fc/kernel", "fc/value"]),
    "metadata": ({"fc": {"kernel": PARTITIONED, "bias": TWO}}, ["fc/bias", "fc/kernel"]),
    "array": (ONE, [""]),
    "None": ({"a": None, "b": TWO}, ["b"]),
    "empty": ({"a": {}}, []),
}


@pytest.mark.parametrize(("tree", "names"), TREES.values(), ids=TREES)
def test_names_and_updates(tree, names):
    """Names are natural, trees of multipliers are like the parameters, and the optimizer moves all of them."""
    assert parameter_names(tree) == names
    groups = param_groups(tree, [("two", r".*", 2, 0)])
    assert groups.members["two"] == tuple(names) and groups.sizes["two"] == sum(x.size for x in jax.tree.leaves(tree))
    assert jax.tree.structure(groups.lr_mult) == jax.tree.structure(groups.decay_mult) == jax.tree.structure(tree)
    assert set(jax.tree.leaves(groups.lr_mult)) <= {2} and set(jax.tree.leaves(groups.decay_mult)) <= {0}
    optimizer = sgd(tree, lambda step: 0.25, weight_decay=1.0, clip_norm=1e9, rules=[("two", r".*", 2, 0)])
    updates, _ = jax.jit(optimizer.update)(tree, optimizer.init(tree), tree)
    moved = optax.apply_updates(tree, updates)
    assert jax.tree.structure(moved) == jax.tree.structure(tree)
    for before, after in zip(jax.tree.leaves(tree), jax.tree.leaves(moved), strict=True):
        np.testing.assert_allclose(after, before / 2, rtol=1e-6)


def test_equal_paths_are_refused():
    with pytest.raises(ValueError, match="two have the name 'a/b'; rename"):
        param_groups({"a/b": ONE, "a": {"b": TWO}})


def test_gradients_of_another_tree_are_refused():
    optimizer = sgd({"a": ONE}, lambda step: 0.1)
    with pytest.raises(ValueError, match="'b' is not in the tree that the groups were made for"):
        optimizer.update({"b": ONE}, optimizer.init({"b": ONE}), {"b": ONE})


def test_map_parameters_is_tree_map():
    tree = {"a": [1.0, 2.0], "b": Pair(3.0, None)}
    assert map_parameters(lambda name, x, y: f"{name}={x + y:g}", tree, tree) == {
        "a": ["a/0=2", "a/1=4"],
        "b": Pair("b/kernel=6", None),
    }
