"""Averages gradients over devices, in a few large messages."""

import jax
import jax.numpy as jnp
import numpy as np


def allreduce_grads(grads, axis_name: str | tuple[str, ...], *, coalesce: bool = True, bucket_size_mb: float = -1):
    """The mean of every array over the devices along `axis_name`, for use inside `jax.shard_map`.

    `jax.grad` itself sums the gradients of replicated parameters, one array at a time. To reduce them here instead,
    mark the parameters as different on every device before differentiating:
    `params = jax.lax.pcast(params, axis_name, to="varying")`.

    Args:
      grads: a tree of arrays that differ between devices.
      axis_name: one or several axes of the mesh.
      coalesce: send one message per dtype instead of one per array. XLA may combine messages further
        (`--xla_gpu_all_reduce_combine_threshold_bytes`).
      bucket_size_mb: with `coalesce`, send messages of about this many MB, so that the first are under way while the
        last gradients are computed; 0 or less: one message.

    Raises:
      ValueError: an array is already the same on all devices.

    Source: MMAction2 0.6, allreduce_grads.
    """
    leaves, structure = jax.tree.flatten(grads)
    axes = {axis_name} if isinstance(axis_name, str) else set(axis_name)
    checked = axes <= _varying(jax.lax.axis_index(axis_name))
    if checked and not all(axes <= _varying(leaf) for leaf in leaves):
        raise ValueError(
            f"allreduce_grads: these gradients are summed over {axis_name!r} already, because the parameters are the "
            "same on all devices; differentiate with respect to "
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
    """The axes of the mesh along which `x` differs, as tracked by `shard_map`."""
    return set(jax.typeof(x).manual_axis_type.varying)


def _buckets(leaves: list, size: float) -> list[list[int]]:
    """Groups the indices of leaves with equal dtype; a bucket is full at `size` bytes, if `size` is positive."""
    buckets, filling = [], {}
    for k, leaf in enumerate(leaves):
        bucket = filling.setdefault(leaf.dtype, [])
        bucket.append(k)
        if 0 < size <= sum(leaves[j].size for j in bucket) * leaf.dtype.itemsize:
            buckets.append(filling.pop(leaf.dtype))
    return [*buckets, *filling.values()]
