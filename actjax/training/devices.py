"""One mesh over all devices, and the ways an array lies on it."""

import math
from collections.abc import Sequence

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

# The axes of the mesh, from far to near. Batches are split over all of them.
DATA = "data"  # groups of devices
GROUP = "group"  # devices that share their statistics of batch norm
FSDP = "fsdp"  # devices that share one copy of the state
SMALLEST = 1024  # numbers of an array that is worth sharing


def make_mesh(
    num_devices: int | None = None, *, fsdp: int = 1, group: int = 1, devices: Sequence | None = None
) -> Mesh:
    """A mesh of axes `data`, `group` and `fsdp`.

    Args:
      num_devices: the first so many devices of all hosts; by default all of them.
      fsdp: neighbours among which parameters, optimizer state and moving averages are divided; -1: all devices.
      group: neighbours over which batch norm runs, where `bn` says "group".
      devices: those to choose from; by default the devices of all hosts.

    Raises:
      ValueError: the numbers do not divide each other.
    """
    devices = list(jax.devices() if devices is None else devices)[:num_devices]
    fsdp = len(devices) if fsdp == -1 else fsdp
    if len(devices) % fsdp:
        raise ValueError(f"run.fsdp={fsdp} does not divide {len(devices)} devices")
    near = fsdp if group == 1 else group
    if near % fsdp or len(devices) % near:
        raise ValueError(
            f"run.bn='group:{group}', run.fsdp={fsdp} and {len(devices)} devices: "
            "each must divide the next, fsdp, group, devices"
        )
    shape = (len(devices) // near, near // fsdp, fsdp)
    return jax.make_mesh(shape, (DATA, GROUP, FSDP), axis_types=(AxisType.Auto,) * 3, devices=devices)


def split(mesh: Mesh) -> NamedSharding:
    """Each device holds its part of the first axis."""
    return NamedSharding(mesh, PartitionSpec(mesh.axis_names))


def replicate(mesh: Mesh) -> NamedSharding:
    """Each device holds everything."""
    return NamedSharding(mesh, PartitionSpec())


def share(tree, mesh: Mesh):
    """Of arrays or shapes: where each of them lies if the devices along `fsdp` divide them among each other.

    An array is cut along its longest axis that divides; short ones and those that do not divide are on every device.
    """
    parts = mesh.shape[FSDP]

    def place(x) -> NamedSharding:
        fitting = [axis for axis, size in enumerate(x.shape) if size % parts == 0]
        if parts == 1 or math.prod(x.shape) < SMALLEST or not fitting:
            return replicate(mesh)
        longest = max(fitting, key=lambda axis: (x.shape[axis], axis))
        return NamedSharding(mesh, PartitionSpec(*(FSDP if axis == longest else None for axis in range(x.ndim))))

    return jax.tree.map(place, tree)


def shardings_of(tree):
    """Of arrays, or of shapes that have them."""
    return jax.tree.map(lambda x: x.sharding, tree)


def put(tree, sharding: NamedSharding):
    """This host's rows -> arrays over all hosts' rows. Data crosses to a device here, or in `place`."""
    with jax.transfer_guard("allow"):
        return jax.tree.map(lambda rows: jax.make_array_from_process_local_data(sharding, rows), tree)


def place(tree, shardings):
    """Whole arrays, the same on every host -> arrays that lie as `shardings`, a tree like them, says."""
    with jax.transfer_guard("allow"):
        part_of = lambda x: lambda index: x[index]
        return jax.tree.map(lambda x, s: jax.make_array_from_callback(x.shape, s, part_of(x)), tree, shardings)


def gather(tree):
    """Replicated or split arrays -> NumPy on every host."""
    with jax.transfer_guard("allow"):
        if jax.process_count() == 1:
            return jax.tree.map(np.asarray, tree)
        return multihost_utils.process_allgather(tree, tiled=True)


def bytes_of(tree) -> tuple[int, int]:
    """Of arrays or of shapes with shardings: bytes on the device that holds most, and in all without copies."""
    local = lambda x: math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize
    leaves = jax.tree.leaves(tree)
    return sum(map(local, leaves)), sum(math.prod(x.shape) * x.dtype.itemsize for x in leaves)


def memory() -> dict[str, float]:
    """`peak_memory_gb` of the local device that needed most; nothing where the backend does not count it, as on CPU."""
    counted = [stats["peak_bytes_in_use"] for device in jax.local_devices() if (stats := device.memory_stats())]
    return {"peak_memory_gb": max(counted) / 1e9} if counted else {}


def local(tree):
    """Replicated arrays -> the same on this host's first device alone, for what each host computes for itself."""
    return jax.tree.map(lambda x: x.addressable_data(0), tree)


def check_batch_size(batch_size: int, mesh: Mesh, *, accumulate: int = 1) -> None:
    """ValueError unless every device gets the same number of clips in each of `accumulate` parts."""
    if batch_size % (mesh.size * accumulate):
        parts = f" in {accumulate} parts" if accumulate > 1 else ""
        raise ValueError(f"batch_size={batch_size} is not divisible by {mesh.size} devices{parts}")
