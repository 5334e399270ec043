"""One mesh over all devices, and the two ways an array lies on it."""

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

DATA = "data"  # the mesh axis over which batches are split


def make_mesh(num_devices: int | None = None) -> Mesh:
    """The first `num_devices` devices of all hosts, by default all of them, along one axis."""
    devices = jax.devices()[:num_devices]
    return jax.make_mesh((len(devices),), (DATA,), axis_types=(AxisType.Auto,), devices=devices)


def split(mesh: Mesh) -> NamedSharding:
    """Each device holds its part of the first axis."""
    return NamedSharding(mesh, PartitionSpec(DATA))


def replicate(mesh: Mesh) -> NamedSharding:
    """Each device holds everything."""
    return NamedSharding(mesh, PartitionSpec())


def put(tree, sharding: NamedSharding):
    """This host's rows -> arrays over all hosts' rows. One of the two places where data crosses to a device."""
    with jax.transfer_guard("allow"):
        return jax.tree.map(lambda rows: jax.make_array_from_process_local_data(sharding, rows), tree)


def gather(tree):
    """Replicated or split arrays -> NumPy on every host. The other place."""
    with jax.transfer_guard("allow"):
        if jax.process_count() == 1:
            return jax.tree.map(np.asarray, tree)
        return multihost_utils.process_allgather(tree, tiled=True)


def local(tree):
    """Replicated arrays -> the same on this host's first device alone, for what each host computes for itself."""
    return jax.tree.map(lambda x: x.addressable_data(0), tree)


def check_batch_size(batch_size: int, mesh: Mesh, *, accumulate: int = 1) -> None:
    """ValueError unless every device gets the same number of clips in each of `accumulate` parts."""
    if batch_size % (mesh.size * accumulate):
        parts = f" in {accumulate} parts" if accumulate > 1 else ""
        raise ValueError(f"batch_size={batch_size} does not divide by {mesh.size} devices{parts}")
