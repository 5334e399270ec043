"""The mean of gradients over devices, in few large messages."""

import jax
import jax.numpy as jnp
import numpy as np


def allreduce_grads(grads, axis_name: str | tuple[str, ...], *, coalesce: bool = True, bucket_size_mb: float = -1):
    """The mean of every array over the devices along `axis_name`, for use inside `jax.shard_map`.

    Gradients of parameters that are the same on all devices are summed by `jax.grad` itself, one by one. To reduce
    them here instead, tell that every device has parameters of its own, before they are differentiated:
    `params = jax.lax.pcast(params, axis_name, to="varying")`.

    Args:
      grads: a tree of arrays, each device's own.
      axis_name: of the mesh; several: over all of them.
      coalesce: one message for all arrays of a type, instead of one for each. XLA may still put messages of both
        kinds together (`--xla_gpu_all_reduce_combine_threshold_bytes`).
      bucket_size_mb: with `coalesce`, messages of about so many MB instead, so that the first ones are under way while
        the last gradients are computed; 0 or less: one.

    Raises:
      ValueError: an array is the same on all devices already.

    Source: the API entry allreduce_grads.
    """
    leaves, structure = jax.tree.flatten(grads)
    axes = {axis_name} if isinstance(axis_name, str) else set(axis_name)
    checked = axes <= _varying(jax.lax.axis_index(axis_name))
    if checked and not all(axes <= _varying(leaf) for leaf in leaves):
        raise ValueError(
            f"allreduce_grads: these are summed over {axis_name!r} already, as gradients of parameters that are the "
            "same on all devices are; differentiate with respect to "
            f"jax.lax.pcast(params, {axis_name!r}, to='varying') instead"
        )
    mean = lambda x: jax.lax.pmean(x, axis_name)
    if not coalesce:
        return jax.tree.map(mean, grads)
    reduced = list(leaves)
    for bucket in _buckets(leaves, bucket_size_mb * 2**20):
        flat = mean(jnp.concatenate([leaves[k].ravel() for k in bucket]))
        parts = jnp.split(flat, np.cumsum([leaves[k].size for k in bucket])[:-1])
        for k, part in zip(bucket, parts, strict=True):
            reduced[k] = part.reshape(leaves[k].shape)
    return jax.tree.unflatten(structure, reduced)


def _varying(x) -> set[str]:
    """The axes of the mesh along which `x` differs, as far as `shard_map` keeps track of it."""
    return set(jax.typeof(x).manual_axis_type.varying)


def _buckets(leaves: list, size: float) -> list[list[int]]:
    """Places of leaves of one type that go together; a bucket is full once it has `size` bytes, if that is positive."""
    buckets, filling = [], {}
    for k, leaf in enumerate(leaves):
        bucket = filling.setdefault(leaf.dtype, [])
        bucket.append(k)
        if 0 < size <= sum(leaves[j].size for j in bucket) * leaf.dtype.itemsize:
            buckets.append(filling.pop(leaf.dtype))
    return [*buckets, *filling.values()]
