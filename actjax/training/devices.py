"""The device mesh, and the shardings of arrays on it."""

import math
from collections.abc import Sequence

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

# The axes of the mesh, from far to near. Batches are split over all of them.
DATA = "data"  # groups of devices
GROUP = "group"  # devices that share batch norm statistics
FSDP = "fsdp"  # devices that share one copy of the state
SMALLEST = 1024  # smaller arrays are not sharded


def make_mesh(
    num_devices: int | None = None, *, fsdp: int = 1, group: int = 1, devices: Sequence | None = None
) -> Mesh:
    """A mesh with axes `data`, `group` and `fsdp`.

    Args:
      num_devices: use only the first `num_devices` devices; None: all of them.
      fsdp: number of neighbouring devices that shard parameters, optimizer state and moving averages; -1: all devices.
      group: number of neighbouring devices that share batch norm statistics, for `bn="group:K"`.
      devices: the devices to choose from; None: the devices of all hosts.

    Raises:
      ValueError: `fsdp`, `group` and the number of devices do not divide each other in this order.
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
    """The sharding that splits the first axis over all devices."""
    return NamedSharding(mesh, PartitionSpec(mesh.axis_names))


def replicate(mesh: Mesh) -> NamedSharding:
    """The sharding that replicates an array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def share(tree, mesh: Mesh):
    """Shardings over the `fsdp` axis for a tree of arrays or shapes.

    An array is split along its longest divisible axis. Small arrays and arrays without such an axis are replicated.
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
    """The shardings of a tree of arrays, or of shapes with shardings."""
    return jax.tree.map(lambda x: x.sharding, tree)


def put(tree, sharding: NamedSharding):
    """This host's rows -> global arrays with the rows of all hosts. Only this and `place` move data to devices."""
    with jax.transfer_guard("allow"):
        return jax.tree.map(lambda rows: jax.make_array_from_process_local_data(sharding, rows), tree)


def place(tree, shardings):
    """Whole arrays, the same on every host -> arrays with `shardings`, a tree of the same structure."""
    with jax.transfer_guard("allow"):
        part_of = lambda x: lambda index: x[index]
        return jax.tree.map(lambda x, s: jax.make_array_from_callback(x.shape, s, part_of(x)), tree, shardings)


def gather(tree):
    """Replicated or split arrays -> whole NumPy arrays on every host."""
    with jax.transfer_guard("allow"):
        if jax.process_count() == 1:
            return jax.tree.map(np.asarray, tree)
        return multihost_utils.process_allgather(tree, tiled=True)


def bytes_of(tree) -> tuple[int, int]:
    """Bytes per device of sharded arrays or shapes, and bytes in total without replicas."""
    local = lambda x: math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize
    leaves = jax.tree.leaves(tree)
    return sum(map(local, leaves)), sum(math.prod(x.shape) * x.dtype.itemsize for x in leaves)


def memory() -> dict[str, float]:
    """`peak_memory_gb`: the highest peak over the local devices; {} if the backend does not count, as on CPU."""
    counted = [stats["peak_bytes_in_use"] for device in jax.local_devices() if (stats := device.memory_stats())]
    return {"peak_memory_gb": max(counted) / 1e9} if counted else {}


def local(tree):
    """Replicated arrays -> copies on this host's first device, for work that each host does on its own.

    >>> local({"w": jax.numpy.ones(2)})["w"].tolist()
    [1.0, 1.0]
    """
    return jax.tree.map(lambda x: x.addressable_data(0), tree)


class Chunks:
    """Chunks of clips, split over this host's devices for a network whose variables are on each of them.

    Args:
      variables: of the network, on this host.
      size: clips in a chunk; rounded up to a multiple of the devices.
    """

    def __init__(self, variables, size: int):
        mesh = make_mesh(devices=jax.local_devices())
        self.size = -(-size // mesh.size) * mesh.size
        self.variables, self._split = jax.device_put(variables, replicate(mesh)), split(mesh)

    def put(self, clips):
        """A chunk on the devices."""
        return jax.device_put(clips, self._split)


def check_batch_size(batch_size: int, mesh: Mesh, *, accumulate: int = 1) -> None:
    """Raises ValueError unless every device gets the same number of clips in each of `accumulate` parts."""
    if batch_size % (mesh.size * accumulate):
        parts = f" in {accumulate} parts" if accumulate > 1 else ""
        raise ValueError(f"batch_size={batch_size} is not divisible by {mesh.size} devices{parts}")
