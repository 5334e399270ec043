"""One training step, on any mesh."""

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, PartitionSpec

from actjax.training import devices
from actjax.training.reducing import allreduce_grads

BUCKET_MB = 25  # gradients per message, in MB


class State(NamedTuple):
    """Everything that training changes, and the key of all its randomness."""

    step: Any  # int32: updates done
    variables: dict  # "params" and the other collections
    opt_state: Any
    key: Any  # uint32 key data
    loss_scale: Any = ()  # LossScale, if the network computes in float16
    ema: Any = ()  # the moving average of `variables`, if one is kept

    @property
    def eval_variables(self) -> dict:
        """The variables to evaluate: the moving average, if one is kept."""
        return self.ema or self.variables


class LossScale(NamedTuple):
    """Dynamic loss scale that keeps float16 gradients representable. Source: arXiv:1710.03740, section 3.2.

    It is halved when a gradient overflows, and that update is skipped. It doubles after `GROWTH_INTERVAL` updates in
    a row without overflow.
    """

    scale: Any  # float32
    good: Any  # int32: updates since the scale changed

    def adjust(self, finite) -> "LossScale":
        """The next scale, given whether the gradients were `finite`."""
        grown = self.good + 1 == GROWTH_INTERVAL
        scale = jnp.where(finite, self.scale * jnp.where(grown, 2.0, 1.0), jnp.maximum(self.scale / 2, 1.0))
        return LossScale(scale, jnp.where(finite & ~grown, self.good + 1, 0))


GROWTH_INTERVAL = 2000


def create_state(*, seed: int, init: Callable, tx: Callable, scale_loss: bool = False, ema: bool = False) -> State:
    """The state before the first update; `tx` maps parameters to their optimizer."""
    key = jax.random.key(seed)
    variables = init(named_key(key, "init"))
    opt_state = tx(variables["params"]).init(variables["params"])
    loss_scale = LossScale(jnp.float32(2.0**16), jnp.int32(0)) if scale_loss else ()
    average = jax.tree.map(jnp.copy, variables) if ema else ()
    return State(jnp.zeros((), jnp.int32), variables, opt_state, jax.random.key_data(key), loss_scale, average)


def shapes_of(create: Callable, mesh: Mesh) -> State:
    """The shapes of the state that `create` returns, with their shardings on `mesh`."""
    shapes = jax.eval_shape(create)
    place = lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)
    return jax.tree.map(place, shapes, devices.share(shapes, mesh))


def bn_group(bn: str) -> int:
    """k of "group:k"; 1 for "global" and "device". Raises ValueError for anything else."""
    name, _, number = bn.partition(":")
    if name == "group" and number.isdecimal() and int(number) > 0:
        return int(number)
    if bn not in ("global", "device"):
        raise ValueError(f"run.bn={bn!r}; choose from 'global', 'device', 'group:K' for groups of K devices")
    return 1


def named_key(key, name: str):
    """A key derived from `key` by name."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def update(
    state: State,
    batch: dict,
    *,
    loss: Callable,
    tx: Callable,
    schedule: Callable,
    mesh: Mesh,
    bn: str,
    freeze: Callable = lambda params: params,
    accumulate: int = 1,
    ema: float | None = None,
) -> tuple[State, dict]:
    """One step of gradient descent on the mean loss of the batch -> the next state and numbers to report.

    Args:
      loss: the loss of a task.
      tx: parameters -> optimizer.
      schedule: step -> learning rate; used for reporting only.
      bn: "global": batch statistics over the whole batch, on any number of devices. "device": each device normalises
        with the statistics of its own share, as in multi-GPU training without SyncBN, which gave the published
        results; the running statistics are the mean over devices. "group:k": like "device", with statistics shared
        by k devices.
      freeze: parameters -> parameters, with gradients stopped for frozen ones.
      accumulate: number of parts in which the batch goes through the network, one after the other; their gradients are
        averaged.
      ema: decay of the moving average of the variables, lower in the first steps; None: no average.
    """
    key = jax.random.fold_in(named_key(jax.random.wrap_key_data(state.key), "train"), state.step)
    params, scale = state.variables["params"], state.loss_scale.scale if state.loss_scale else 1.0
    whole = jax.lax.with_sharding_constraint(state.variables, devices.replicate(mesh))  # gathered on every device
    others = {name: values for name, values in whole.items() if name != "params"}

    gradient = _gradient(loss, freeze, mesh=mesh, bn=bn, accumulate=accumulate)
    gradients, (updated, numbers) = gradient(whole["params"], others, batch, key, scale)
    gradients = jax.tree.map(lambda g: g / scale, gradients)
    gradients = jax.lax.with_sharding_constraint(gradients, devices.share(gradients, mesh))
    norm = optax.tree.norm(gradients)
    updates, opt_state = tx(params).update(gradients, state.opt_state, params)
    variables, loss_scale = {"params": optax.apply_updates(params, updates), **updated}, ()
    numbers |= {"grad_norm": norm, "lr": schedule(state.step)}
    if state.loss_scale:
        finite = jnp.isfinite(norm)
        keep = lambda new, old: jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, old)
        variables, opt_state = keep(variables, state.variables), keep(opt_state, state.opt_state)
        loss_scale = state.loss_scale.adjust(finite)
        numbers |= {"grad_norm": jnp.where(finite, norm, 0.0), "loss_scale": scale, "skipped": 1.0 - finite}
    average = state.ema
    if ema is not None:
        decay = jnp.minimum(ema, (1 + state.step) / (10 + state.step))
        average = optax.incremental_update(variables, average, 1 - decay)
    return State(state.step + 1, variables, opt_state, state.key, loss_scale, average), numbers


def _gradient(loss: Callable, freeze: Callable, *, mesh: Mesh, bn: str, accumulate: int) -> Callable:
    """(params, others, batch, key, scale) -> (gradients of scale x mean loss, (others, numbers))."""

    def mean_loss(params, others, batch, key, scale):
        losses, updated, extra = loss({"params": freeze(params), **others}, batch, key)
        value = losses.mean()
        return value * scale, (updated, {"loss": value, **jax.tree.map(jnp.mean, extra)})

    gradient = _in_parts(jax.grad(mean_loss, has_aux=True), accumulate)
    if bn == "global":
        return gradient
    axes = mesh.axis_names if bn == "device" else (devices.DATA,)  # devices along the remaining axes share statistics

    def apart(params, others, batch, key, scale):
        """The gradient on one device or one group of devices."""
        key = jax.random.fold_in(key, jax.lax.axis_index(axes))
        arguments = params, others, scale
        params, others, scale = jax.tree.map(lambda x: jax.lax.pcast(x, axes, to="varying"), arguments)
        return allreduce_grads(gradient(params, others, batch, key, scale), axes, bucket_size_mb=BUCKET_MB)

    everywhere = PartitionSpec()
    specs = (everywhere, everywhere, PartitionSpec(axes), everywhere, everywhere)
    return jax.shard_map(apart, mesh=mesh, in_specs=specs, out_specs=everywhere, axis_names=set(axes))


def _in_parts(gradient: Callable, parts: int) -> Callable:
    """`gradient` over the batch in `parts`; the other collections are passed on from part to part."""
    if parts == 1:
        return gradient

    def whole(params, others, batch, key, scale):
        # Rows r, r + parts, r + 2 parts, ... form one part, so every device keeps its rows.
        batches = jax.tree.map(lambda x: jnp.moveaxis(x.reshape(-1, parts, *x.shape[1:]), 1, 0), batch)

        def one(carry, part):
            (others, total), (number, rows) = carry, part
            gradients, (others, numbers) = gradient(params, others, rows, jax.random.fold_in(key, number), scale)
            return (others, jax.tree.map(jnp.add, total, gradients)), numbers

        start = others, jax.tree.map(jnp.zeros_like, params)
        (others, total), numbers = jax.lax.scan(one, start, (jnp.arange(parts), batches))
        return jax.tree.map(lambda g: g / parts, total), (others, jax.tree.map(lambda x: x.mean(0), numbers))

    return whole
