"""The optimizers take any tree of parameters, and do the same with the same arrays in another one."""

import collections
import dataclasses

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from actjax.training import freeze, param_groups, sgd, tsm_optimizer, tsm_rules
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


def test_shapes_and_numbers_are_parameters():
    shapes = jax.eval_shape(lambda: {"kernel": jnp.ones((2, 3)), "bias": 0.0})
    assert param_groups(shapes).sizes == param_groups({"kernel": ONE, "bias": 0.0}).sizes
    assert param_groups(shapes).sizes["normal_bias"] == 1


def test_equal_paths_are_refused():
    with pytest.raises(ValueError, match="two have the name 'a/b'; rename"):
        param_groups({"a/b": ONE, "a": {"b": TWO}})


def test_gradients_of_another_tree_are_refused():
    optimizer = sgd({"a": ONE}, lambda step: 0.1)
    with pytest.raises(ValueError, match="'b' is not in the tree that the groups were made for"):
        optimizer.update({"b": ONE}, optimizer.init({"b": ONE}), {"b": ONE})


def test_part_of_the_tree():
    """Names decide, so an optimizer may be applied to some of the parameters only, as `optax.masked` does."""
    params = {"kernel": ONE, "bias": TWO}
    optimizer = optax.masked(tsm_optimizer(params, lambda step: 0.1, weight_decay=0.0), {"kernel": False, "bias": True})
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    np.testing.assert_allclose(updates["bias"], -0.1 * 2 * TWO, rtol=1e-6)
    np.testing.assert_array_equal(updates["kernel"], ONE)


def test_map_parameters_is_tree_map():
    tree = {"a": [1.0, 2.0], "b": Pair(3.0, None)}
    assert map_parameters(lambda name, x, y: f"{name}={x + y:g}", tree, tree) == {
        "a": ["a/0=2", "a/1=4"],
        "b": Pair("b/kernel=6", None),
    }


class InLinen(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3,), name="conv")(x)
        x = nn.relu(nn.LayerNorm(name="norm")(x))
        x = nn.Dense(4, name="layers_0")(x)
        return nn.Dense(3, name="fc_cls")(x.mean(1))


class InNNX(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(2, 4, (3,), rngs=rngs)
        self.norm = nnx.LayerNorm(4, rngs=rngs)
        self.layers = nnx.List([nnx.Linear(4, 4, rngs=rngs)])
        self.fc_cls = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x):
        x = self.layers[0](nnx.relu(self.norm(self.conv(x))))
        return self.fc_cls(x.mean(1))


CLIPS, LABELS = np.random.default_rng(0).normal(size=(6, 5, 2)).astype(np.float32), np.arange(6) % 3
OPTIONS = dict(schedule=lambda step: 0.1 / (step + 1), weight_decay=0.1, clip_norm=0.5)


def loss_of(logits):
    return optax.softmax_cross_entropy_with_integer_labels(logits, LABELS).mean()


def linen_arrays(params) -> dict:
    names = [name.replace("layers_", "layers/") for name in parameter_names(params)]
    return dict(zip(names, jax.tree.leaves(params), strict=True))


@pytest.fixture(scope="module")
def start_and_end():
    """The network in Linen, before and after three steps: name -> array."""
    params = InLinen().init(jax.random.key(0), CLIPS)["params"]
    optimizer = tsm_optimizer(params, **OPTIONS)
    start, state = linen_arrays(params), optimizer.init(params)
    for _ in range(3):
        gradients = jax.grad(lambda p: loss_of(InLinen().apply({"params": p}, CLIPS)))(params)
        updates, state = optimizer.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
    return start, linen_arrays(params)


def nnx_network(start) -> InNNX:
    model = InNNX(nnx.Rngs(1))
    nnx.update(model, map_parameters(lambda name, _: start[name], nnx.state(model, nnx.Param)))
    return model


def check(model, expected):
    state = nnx.state(model, nnx.Param)
    assert parameter_names(state) == sorted(expected)
    for name, value in zip(parameter_names(state), jax.tree.leaves(state), strict=True):
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_nnx_through_optax_equals_linen(start_and_end):
    start, end = start_and_end
    model = nnx_network(start)
    graph, params = nnx.split(model, nnx.Param)
    optimizer = tsm_optimizer(params, **OPTIONS)
    state = optimizer.init(params)
    groups = param_groups(params)
    assert groups.lr_mult["fc_cls"]["bias"].get_value() == 10 and groups.members["bn"] == ("norm/bias", "norm/scale")
    for _ in range(3):
        gradients = jax.grad(lambda p: loss_of(nnx.merge(graph, p)(CLIPS)))(params)
        updates, state = optimizer.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
    check(nnx.merge(graph, params), end)


def test_nnx_optimizer_equals_linen(start_and_end):
    """`nnx.Optimizer` updates bare arrays, without the variables that the optimizer was made for."""
    start, end = start_and_end
    model = nnx_network(start)
    optimizer = nnx.Optimizer(model, tsm_optimizer(nnx.state(model, nnx.Param), **OPTIONS), wrt=nnx.Param)
    for _ in range(3):
        optimizer.update(model, nnx.grad(lambda m: loss_of(m(CLIPS)))(model))
    check(model, end)


def test_nnx_parameters_freeze(start_and_end):
    graph, params = nnx.split(nnx_network(start_and_end[0]), nnx.Param)
    groups = param_groups(params, [("frozen", r"conv/.*", 0, 0), *tsm_rules()])
    gradients = jax.grad(lambda p: loss_of(nnx.merge(graph, freeze(p, groups))(CLIPS)))(params)
    for name, gradient in zip(parameter_names(gradients), jax.tree.leaves(gradients), strict=True):
        assert np.any(gradient) != name.startswith("conv/")
