"""One update of the parameters, on any mesh."""

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, PartitionSpec

from actjax.training import devices
from actjax.training.reducing import allreduce_grads

BUCKET_MB = 25  # of gradients that travel together


class State(NamedTuple):
    """All that training changes, and the key all its randomness comes from."""

    step: Any  # int32: updates done
    variables: dict  # "params" and the other collections
    opt_state: Any
    key: Any  # uint32 key data
    loss_scale: Any = ()  # LossScale, if the network computes in float16
    ema: Any = ()  # the moving average of `variables`, if one is kept

    @property
    def served(self) -> dict:
        """The variables to evaluate: the moving average, if one is kept."""
        return self.ema or self.variables


class LossScale(NamedTuple):
    """Factor of the loss that keeps float16 gradients representable. Source: arXiv:1710.03740, section 3.2.

    It is halved whenever a gradient overflows, and that update is left out; it doubles after `GROWTH_INTERVAL`
    updates in a row that did not.
    """

    scale: Any  # float32
    good: Any  # int32: updates since it changed

    def adjust(self, finite) -> "LossScale":
        """The scale after an update whose gradients were `finite`, or were not."""
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
    """What `create` would return, as shapes that lie where the state of a run on `mesh` lies."""
    shapes = jax.eval_shape(create)
    place = lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)
    return jax.tree.map(place, shapes, devices.share(shapes, mesh))


def bn_group(bn: str) -> int:
    """k of "group:k"; 1 for "global" and "device". ValueError: it is none of these."""
    name, _, number = bn.partition(":")
    if name == "group" and number.isdecimal() and int(number) > 0:
        return int(number)
    if bn not in ("global", "device"):
        raise ValueError(f"run.bn={bn!r}; choose from 'global', 'device', 'group:K' for groups of K devices")
    return 1


def named_key(key, name: str):
    """The stream of random numbers of that name."""
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
      loss: a task's loss.
      tx: parameters -> optimizer.
      schedule: step -> learning rate, to report it.
      bn: "global": batch statistics run over the whole batch, on however many devices. "device": every device
        normalises with its own share's, as multi-GPU training without synchronisation does and the published results
        were made; the running statistics are the mean of the devices'. "group:k": the same, with the shares of k
        devices together.
      freeze: parameters -> the same, without a gradient for those that do not train.
      accumulate: parts in which the batch goes through the network, one after the other, their gradients averaged.
      ema: decay of the moving average of the variables, less in the first steps; None: there is none.
    """
    key = jax.random.fold_in(named_key(jax.random.wrap_key_data(state.key), "train"), state.step)
    params, scale = state.variables["params"], state.loss_scale.scale if state.loss_scale else 1.0
    whole = jax.lax.with_sharding_constraint(state.variables, devices.replicate(mesh))  # all of it on every device
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
    """(params, others, batch, key, scale) -> (gradients of scale x the mean loss, (others, numbers))."""

    def mean_loss(params, others, batch, key, scale):
        losses, updated, extra = loss({"params": freeze(params), **others}, batch, key)
        value = losses.mean()
        return value * scale, (updated, {"loss": value, **jax.tree.map(jnp.mean, extra)})

    gradient = _in_parts(jax.grad(mean_loss, has_aux=True), accumulate)
    if bn == "global":
        return gradient
    axes = mesh.axis_names if bn == "device" else (devices.DATA,)  # within what is left, statistics are common

    def apart(params, others, batch, key, scale):
        """On one device, or one group of them."""
        key = jax.random.fold_in(key, jax.lax.axis_index(axes))
        arguments = params, others, scale
        params, others, scale = jax.tree.map(lambda x: jax.lax.pcast(x, axes, to="varying"), arguments)
        return allreduce_grads(gradient(params, others, batch, key, scale), axes, bucket_size_mb=BUCKET_MB)

    everywhere = PartitionSpec()
    specs = (everywhere, everywhere, PartitionSpec(axes), everywhere, everywhere)
    return jax.shard_map(apart, mesh=mesh, in_specs=specs, out_specs=everywhere, axis_names=set(axes))


def _in_parts(gradient: Callable, parts: int) -> Callable:
    """`gradient`, with the batch taken in `parts`; what changes with every part is handed on from one to the next."""
    if parts == 1:
        return gradient

    def whole(params, others, batch, key, scale):
        # Rows r, r + parts, r + 2 parts, ... are one part, so that every device keeps its rows.
        batches = jax.tree.map(lambda x: jnp.moveaxis(x.reshape(-1, parts, *x.shape[1:]), 1, 0), batch)

        def one(carry, part):
            (others, total), (number, rows) = carry, part
            gradients, (others, numbers) = gradient(params, others, rows, jax.random.fold_in(key, number), scale)
            return (others, jax.tree.map(jnp.add, total, gradients)), numbers

        start = others, jax.tree.map(jnp.zeros_like, params)
        (others, total), numbers = jax.lax.scan(one, start, (jnp.arange(parts), batches))
        return jax.tree.map(lambda g: g / parts, total), (others, jax.tree.map(lambda x: x.mean(0), numbers))

    return whole
