"""The settings of a run -> its compiled functions and the shardings of its state."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
from jax.sharding import Mesh

from actjax.errors import check_number, named
from actjax.training import checkpoints, devices, step
from actjax.training.optimizers import Optimizer


class Settings(NamedTuple):
    """The settings of a training run. `eval_every` is in epochs, `log_every` and `save_every` are in steps.

    epochs: None stands in the config of a recogniser alone: they go by the number of training videos.
    bn: scope of batch norm statistics: "global", "device" or "group:K"; see `step.update`.
    fsdp: number of devices that shard parameters, optimizer state and moving averages; -1: all.
    seed: of all random numbers, below 2**32, the number of JAX's keys.
    keep: number of latest checkpoints to keep, besides the best one.
    best: metric that selects the best checkpoint.
    best_rule: "greater" or "less", which value of it is better; None: judged by the name of the metric.
    eval_batch_size: videos per evaluation batch; None: `batch_size`.
    accumulate: number of parts in which a batch goes through the network, to save memory.
    ema: decay of a moving average of parameters and statistics, which is then evaluated; None: no average.
    scale_loss: dynamic loss scaling, for networks that compute in float16.
    """

    epochs: float | None
    batch_size: int
    seed: int = 0
    bn: str = "global"
    fsdp: int = 1
    log_every: int = 20
    eval_every: float = 1
    save_every: int = 1000
    keep: int = 2
    best: str = "top1_acc"
    best_rule: str | None = None
    eval_batch_size: int | None = None
    accumulate: int = 1
    ema: float | None = None
    scale_loss: bool = False

    @property
    def eval_size(self) -> int:
        """The number of videos in an evaluation batch."""
        return self.eval_batch_size or self.batch_size

    @property
    def upward(self) -> bool:
        """Whether a higher value of `best` is better."""
        return checkpoints.higher_is_better(self.best, rule=self.best_rule)

    def check(self, where: str = "run") -> "Settings":
        """Returns itself. Raises ValueError for a value out of range or an unknown name.

        Args:
          where: the section of the config, for errors.
        """
        with named(where):
            for name in ("epochs", "eval_every"):
                check_number(name, getattr(self, name), "(0, inf)")
            for name in ("batch_size", "log_every", "save_every", "keep", "accumulate"):
                check_number(name, getattr(self, name), "[1, inf)", whole=True)
            check_number("seed", self.seed, f"[0, {2**32})", whole=True)
            if self.eval_batch_size is not None:
                check_number("eval_batch_size", self.eval_batch_size, "[1, inf)", whole=True)
            if self.ema is not None:
                check_number("ema", self.ema, "(0, 1)")
            check_number("fsdp", self.fsdp, "[-1, inf)", whole=True)
        if self.fsdp == 0:
            raise ValueError(f"{where}.fsdp=0; must be positive, or -1 for all devices")
        step.bn_group(self.bn)
        try:
            _ = self.upward
        except ValueError as error:
            raise ValueError(f"{where}.{error}") from None
        return self


class Program(NamedTuple):
    """The functions that run on the devices, for any number of them.

    create: () -> the state before the first update.
    shapes: shapes and shardings of the state.
    update: jitted, (state, batch) -> next state, numbers to report; donates the old state.
    """

    mesh: Mesh
    create: Callable[[], step.State]
    shapes: step.State
    update: Callable

    def check_batches(self, settings: Settings) -> "Program":
        """Returns itself. Raises ValueError if the devices do not divide the training or evaluation batch."""
        devices.check_batch_size(settings.batch_size, self.mesh, accumulate=settings.accumulate)
        devices.check_batch_size(settings.eval_size, self.mesh)
        return self

    def jit_predict(self, predict: Callable) -> Callable:
        """A task's `predict`, jitted: (variables, batch) -> predictions, replicated on every device."""
        everywhere = devices.replicate(self.mesh)

        def whole(variables, batch):
            return predict(jax.lax.with_sharding_constraint(variables, everywhere), batch)

        return jax.jit(whole, out_shardings=everywhere)

    def start(self, initial: Callable[[], dict] | None = None) -> step.State:
        """The state before the first update; `initial`, if given, returns its variables as NumPy arrays."""
        shardings = devices.shardings_of(self.shapes)
        if initial is None:
            return jax.jit(self.create, out_shardings=shardings)()
        variables = lambda: devices.place(initial(), shardings.variables)
        rest = lambda: self.create()._replace(variables=(), ema=())  # unused results are not computed once compiled
        state = jax.jit(rest, out_shardings=shardings._replace(variables=(), ema=()))()
        return state._replace(variables=variables(), ema=variables() if self.shapes.ema else ())


def make_program(
    task, optimizer: Optimizer, settings: Settings, *, steps_per_epoch: float = 1.0, earlier: float = 0.0
) -> Program:
    """The program of a run on all devices.

    Args:
      earlier: steps, of the present batch size, that the schedule counts before step 0; see `Timeline.offset`.

    Raises:
      ValueError: the number of devices is not divisible by `fsdp` or by the batch norm group.
    """
    mesh = devices.make_mesh(fsdp=settings.fsdp, group=step.bn_group(settings.bn))
    by_step = optimizer.schedule(steps_per_epoch)
    schedule = (lambda step: by_step(step + earlier)) if earlier else by_step
    tx = functools.partial(optimizer.transform, schedule=schedule)
    extras = dict(scale_loss=settings.scale_loss, ema=settings.ema is not None)
    create = functools.partial(step.create_state, seed=settings.seed, init=task.init, tx=tx, **extras)
    shapes = step.shapes_of(create, mesh)
    choices = dict(bn=settings.bn, freeze=optimizer.freeze, accumulate=settings.accumulate, ema=settings.ema)
    update = jax.jit(
        functools.partial(step.update, loss=task.loss, tx=tx, schedule=schedule, mesh=mesh, **choices),
        donate_argnums=0,
        out_shardings=(devices.shardings_of(shapes), devices.replicate(mesh)),
    )
    return Program(mesh, create, shapes, update)
