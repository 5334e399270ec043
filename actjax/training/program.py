"""The numbers of a run -> its compiled functions, and where its arrays lie."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
from jax.sharding import Mesh

from actjax.training import checkpoints, devices, step
from actjax.training.optimizers import Optimizer


class Settings(NamedTuple):
    """The numbers of a training run. `eval_every` counts epochs, `log_every` and `save_every` steps.

    bn: what batch norm runs over: "global", "device" or "group:K"; see `step.update`.
    fsdp: devices that divide parameters, optimizer state and moving averages among each other; -1: all.
    eval_batch_size: videos per batch of an evaluation; None: `batch_size`.
    accumulate: parts in which a batch goes through the network, to save memory.
    ema: decay of a moving average of parameters and statistics, which is then what is evaluated; None: none.
    scale_loss: dynamic loss scaling, for networks that compute in float16.
    """

    epochs: float
    batch_size: int
    seed: int = 0
    bn: str = "global"
    fsdp: int = 1
    log_every: int = 20
    eval_every: float = 1
    save_every: int = 1000
    keep: int = 2
    best: str = "top1_acc"
    eval_batch_size: int | None = None
    accumulate: int = 1
    ema: float | None = None
    scale_loss: bool = False

    def check(self) -> "Settings":
        """Itself. Raises ValueError for a number or name out of range."""
        for name in ("epochs", "batch_size", "log_every", "eval_every", "save_every", "keep", "accumulate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"run.{name}={getattr(self, name)}; must be positive")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"run.ema={self.ema}; must lie between 0 and 1, or be None")
        if self.fsdp < 1 and self.fsdp != -1:
            raise ValueError(f"run.fsdp={self.fsdp}; must be positive, or -1 for all devices")
        step.bn_group(self.bn)
        checkpoints.higher_is_better(self.best)
        return self


class Program(NamedTuple):
    """What runs on the devices, the same whatever their number.

    create: () -> the state before the first update.
    shapes: of the state, and where its arrays lie.
    update: jitted, (state, batch) -> the next state, numbers to report; the old state is given up.
    predict: jitted, (variables, batch) -> the task's predictions, on every device.
    """

    mesh: Mesh
    create: Callable[[], step.State]
    shapes: step.State
    update: Callable
    predict: Callable

    def check_batches(self, settings: Settings) -> "Program":
        """Itself. Raises ValueError if the batches of training or evaluation do not divide by the devices."""
        devices.check_batch_size(settings.batch_size, self.mesh, accumulate=settings.accumulate)
        devices.check_batch_size(settings.eval_batch_size or settings.batch_size, self.mesh)
        return self

    def start(self, initial: Callable[[], dict] | None = None) -> step.State:
        """The state before the first update, with the variables of `initial`, in NumPy, if given."""
        shardings = devices.shardings_of(self.shapes)
        if initial is None:
            return jax.jit(self.create, out_shardings=shardings)()
        variables = lambda: devices.place(initial(), shardings.variables)
        rest = lambda: self.create()._replace(variables=(), ema=())  # compiled, what is not asked for is not computed
        state = jax.jit(rest, out_shardings=shardings._replace(variables=(), ema=()))()
        return state._replace(variables=variables(), ema=variables() if self.shapes.ema else ())


def make_program(task, optimizer: Optimizer, settings: Settings, *, steps_per_epoch: float = 1.0) -> Program:
    """The program of a run on all devices.

    Raises:
      ValueError: the devices do not divide by `fsdp` or the groups of batch norm.
    """
    mesh = devices.make_mesh(fsdp=settings.fsdp, group=step.bn_group(settings.bn))
    everywhere = devices.replicate(mesh)
    schedule = optimizer.schedule(steps_per_epoch)
    tx = functools.partial(optimizer.transform, schedule=schedule)
    extras = dict(scale_loss=settings.scale_loss, ema=settings.ema is not None)
    create = functools.partial(step.create_state, seed=settings.seed, init=task.init, tx=tx, **extras)
    shapes = step.shapes_of(create, mesh)
    choices = dict(bn=settings.bn, freeze=optimizer.freeze, accumulate=settings.accumulate, ema=settings.ema)
    update = jax.jit(
        functools.partial(step.update, loss=task.loss, tx=tx, schedule=schedule, mesh=mesh, **choices),
        donate_argnums=0,
        out_shardings=(devices.shardings_of(shapes), everywhere),
    )

    def predict(variables, batch):
        return task.predict(jax.lax.with_sharding_constraint(variables, everywhere), batch)

    return Program(mesh, create, shapes, update, jax.jit(predict, out_shardings=everywhere))
