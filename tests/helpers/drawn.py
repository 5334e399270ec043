"""Variables of a network, drawn by NumPy: compiling an initialisation takes seconds, even of a small net."""

import functools

import jax
import numpy as np

from actjax.models import initialize


def drawn(init, *, classifier_std=0.001):
    """What `init(key)` would give, in shape and about in scale: He's for kernels, small for the classifier."""
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        names = [key.key for key in path]
        if names[-1] in ("scale", "var"):
            return np.ones(leaf.shape, np.float32)
        if names[-1] in ("bias", "mean"):
            return np.zeros(leaf.shape, np.float32)
        std = classifier_std if "fc_cls" in names else np.sqrt(2 / (leaf.shape[-1] * np.prod(leaf.shape[:-2])))
        return (std * rng.normal(size=leaf.shape)).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, jax.eval_shape(init, jax.random.key(0)))


def drawn_variables(model):
    """Of a recogniser."""
    return drawn(lambda key: initialize(model, key=key))


def jitted(model, **options):
    """`model.apply`, compiled: a few operations one by one take longer."""
    return jax.jit(functools.partial(model.apply, **options))
