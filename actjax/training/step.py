"""One update of the parameters, on any mesh."""

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, PartitionSpec

from actjax.training.devices import DATA

BN = ("global", "device")


class State(NamedTuple):
    """All that training changes, and the key all its randomness comes from."""

    step: Any  # int32: updates done
    variables: dict  # "params" and the other collections
    opt_state: Any
    key: Any  # uint32 key data


def create_state(*, seed: int, init: Callable, tx: Callable) -> State:
    """The state before the first update; `tx` maps parameters to their optimizer."""
    key = jax.random.key(seed)
    variables = init(named_key(key, "init"))
    opt_state = tx(variables["params"]).init(variables["params"])
    return State(jnp.zeros((), jnp.int32), variables, opt_state, jax.random.key_data(key))


def shapes_of(create: Callable, sharding) -> State:
    """What `create` would return, as shapes that lie where `sharding` says."""
    place = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)
    return jax.tree.map(place, jax.eval_shape(create))


def named_key(key, name: str):
    """The stream of random numbers of that name."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def update(
    state: State, batch: dict, *, loss: Callable, tx: Callable, schedule: Callable, mesh: Mesh, bn: str
) -> tuple[State, dict]:
    """One step of gradient descent on the mean loss of the batch -> the next state and numbers to report.

    Args:
      loss: a task's loss.
      tx: parameters -> optimizer.
      schedule: step -> learning rate, to report it.
      bn: "global": batch statistics run over the whole batch, on however many devices. "device": every device
        normalises with its own share's, as multi-GPU training without synchronisation does and the published results
        were made; the running statistics are the mean of the devices'.
    """
    key = jax.random.fold_in(named_key(jax.random.wrap_key_data(state.key), "train"), state.step)
    params, others = state.variables["params"], {k: v for k, v in state.variables.items() if k != "params"}

    def mean_loss(params, others, batch, key):
        losses, updated, extra = loss({"params": params, **others}, batch, key)
        return losses.mean(), (updated, jax.tree.map(jnp.mean, extra))

    def share(params, others, batch, key):
        """On one device. The mean over devices is inside what is differentiated: gradients come out averaged."""
        key = jax.random.fold_in(key, jax.lax.axis_index(DATA))
        averaged = lambda params: jax.lax.pmean(mean_loss(params, others, batch, key), DATA)
        return jax.value_and_grad(averaged, has_aux=True)(params)

    if bn == "device":
        everywhere = PartitionSpec()
        specs = (everywhere, everywhere, PartitionSpec(DATA), everywhere)
        gradient = jax.shard_map(share, mesh=mesh, in_specs=specs, out_specs=everywhere)
    else:
        gradient = jax.value_and_grad(mean_loss, has_aux=True)
    (value, (updated, extra)), gradients = gradient(params, others, batch, key)
    updates, opt_state = tx(params).update(gradients, state.opt_state, params)
    variables = {"params": optax.apply_updates(params, updates), **updated}
    numbers = {"loss": value, "grad_norm": optax.tree.norm(gradients), "lr": schedule(state.step), **extra}
    return State(state.step + 1, variables, opt_state, state.key), numbers
