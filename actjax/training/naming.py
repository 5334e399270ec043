"""Names of the parameters in any pytree: `backbone/stem/conv/kernel`, `layers/0/kernel`."""

import collections
from collections.abc import Callable

import jax
from flax import nnx
from flax.core import meta

BOXES = (nnx.Variable, meta.AxisMetadata)  # Flax keeps arrays in these; the key of the array in its box is not a name


def parameter_names(tree) -> list[str]:
    """The path of every leaf, joined by "/", in the order of `jax.tree.leaves`; "" if the tree is a bare array.

    Raises:
      ValueError: two leaves have the same name.
    """
    flat = jax.tree_util.tree_leaves_with_path
    paths = [
        (*path, *inner[1:])  # () without a box
        for path, node in flat(tree, is_leaf=lambda node: isinstance(node, BOXES))
        for inner, _ in flat(node)
    ]
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path in paths]
    if twice := [name for name, count in collections.Counter(names).items() if count > 1]:
        raise ValueError(f"parameters: two have the name {twice[0]!r}; rename a key that contains '/'")
    return names


def map_parameters(function: Callable, tree, *rest):
    """`jax.tree.map` with the name of the parameter as first argument: `function(name, leaf, ...)`."""
    leaves, structure = jax.tree.flatten(tree)
    others = [structure.flatten_up_to(other) for other in rest]
    return structure.unflatten(map(function, parameter_names(tree), leaves, *others))
