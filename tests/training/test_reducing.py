"""The mean of gradients over eight devices, and in how many messages it is made: read from the compiled program."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from actjax.training import allreduce_grads, devices

AXES = ("data", "group", "fsdp")
PARAMS = {f"layer{k}": {"kernel": jnp.ones((8, 16 + k)), "bias": jnp.ones(16 + k)} for k in range(6)}
X = np.random.default_rng(0).normal(size=(16, 8)).astype(np.float32)
# The XLA of CPUs puts all messages together by itself, as one for GPUs may up to its threshold.
AS_ASKED = {"xla_disable_hlo_passes": "all-reduce-combiner,cpu-all-reduce-combiner"}


def loss(params, x):
    return sum(jnp.tanh(x @ layer["kernel"] + layer["bias"]).mean() for layer in params.values())


def compiled(axis_name=AXES, *, varying=True, check_vma=True, params=PARAMS, **options):
    mesh = devices.make_mesh(8, fsdp=2, group=4)

    def gradients(params, x):
        if varying:
            params = jax.tree.map(lambda p: jax.lax.pcast(p, AXES, to="varying"), params)
        return allreduce_grads(jax.grad(loss)(params, x), axis_name, **options)

    specs = dict(in_specs=(PartitionSpec(), PartitionSpec(AXES)), out_specs=PartitionSpec())
    function = jax.shard_map(gradients, mesh=mesh, check_vma=check_vma, **specs)
    return jax.jit(function).lower(params, X).compile(compiler_options=AS_ASKED)


def messages(program) -> list[list[str]]:
    """Of each all-reduce the shapes that it sends."""
    found = re.findall(r" = (.*?) all-reduce(?:-start)?\(", program.as_text())
    return [re.findall(r"\w+\[[\d,]*\]", shapes) for shapes in found]


@pytest.mark.parametrize("options", [{}, {"coalesce": False}, {"bucket_size_mb": 1e-3}])
def test_it_is_the_mean(options):
    of_all = jax.grad(loss)(PARAMS, X)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), compiled(**options)(PARAMS, X), of_all)


def test_one_message_for_all():
    assert messages(compiled()) == [[f"f32[{sum(x.size for x in jax.tree.leaves(PARAMS))}]"]]


def test_one_message_for_each_without_coalescing():
    assert len(messages(compiled(coalesce=False))) == 12


def test_as_many_messages_as_buckets():
    """Each is full once it has 1,000 bytes; a kernel and its bias have some 600."""
    sent = messages(compiled(bucket_size_mb=1000 / 2**20))
    sizes = [int(re.search(r"\[(\d+)\]", shape)[1]) * 4 for (shape,) in sent]
    assert len(sizes) == 3 and sum(sizes) == sum(x.nbytes for x in jax.tree.leaves(PARAMS))
    assert min(sizes) >= 1000


def test_a_message_for_each_type():
    halves = {name: jax.tree.map(lambda x: x.astype(jnp.bfloat16), layer) for name, layer in PARAMS.items()}
    mixed = PARAMS | {"layer0": halves["layer0"]}
    assert len(messages(compiled(params=mixed))) == 2


def test_without_bookkeeping_of_axes():
    """`check_vma=False` knows no sums of its own: every gradient is a device's own."""
    gradients = compiled(varying=False, check_vma=False)(PARAMS, X)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), gradients, jax.grad(loss)(PARAMS, X))


def test_what_is_summed_already_is_refused():
    with pytest.raises(ValueError, match="gradients are summed over .* already.*pcast"):
        compiled(varying=False)
