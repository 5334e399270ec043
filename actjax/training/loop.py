"""Trains one task. Reads top to bottom; it knows of the task its four functions, and of the data two."""

import functools
import logging
import math
import pathlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import NamedTuple

import jax

from actjax.training import checkpoints, devices, step
from actjax.training.distributed import Preempted, stop_on_sigterm, wait_for_all
from actjax.training.evaluating import evaluate
from actjax.training.feeding import Feeder
from actjax.training.optimizers import Optimizer
from actjax.training.reporting import Report, check_finite, scalars

log = logging.getLogger(__name__)


class Data(NamedTuple):
    """What the loop asks of the data.

    num_records: records in an epoch.
    train: (first_step, num_steps) -> the host's batches of these steps.
    evaluate: () -> passes over the validation set, each an iterator of the host's batches.
    """

    num_records: int
    train: Callable[[int, int], Iterator]
    evaluate: Callable[[], Iterator]


class Settings(NamedTuple):
    """The numbers of a training run. `eval_every` counts epochs, `log_every` and `save_every` steps.

    eval_batch_size: videos per batch of an evaluation; None: `batch_size`.
    accumulate: parts in which a batch goes through the network, to save memory.
    ema: decay of a moving average of parameters and statistics, which is then what is evaluated; None: none.
    scale_loss: dynamic loss scaling, for networks that compute in float16.
    """

    epochs: float
    batch_size: int
    seed: int = 0
    bn: str = "global"
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
        if self.bn not in step.BN:
            raise ValueError(f"run.bn={self.bn!r}; choose from {step.BN}")
        checkpoints.higher_is_better(self.best)
        return self


def train(
    task,
    data: Data,
    optimizer: Optimizer,
    settings: Settings,
    workdir: pathlib.Path,
    *,
    initial: Callable[[], dict] | None = None,
) -> dict:
    """Trains from the latest checkpoint in `workdir`, or from the start, to the last epoch -> the final metrics.

    Args:
      task: `init`, `loss`, `predict`, `score`; see `actjax.tasks.Task`.
      initial: gives the variables of the start, in NumPy; None: those of `task.init`.

    Raises:
      ValueError: the batch does not divide by the devices.
      FloatingPointError: the loss or another reported number is not finite; nothing of that step is saved.
      Preempted: SIGTERM came; the step it was at is saved.
    """
    # Devices: one mesh, two shardings.
    mesh = devices.make_mesh()
    devices.check_batch_size(settings.batch_size, mesh, accumulate=settings.accumulate)
    devices.check_batch_size(settings.eval_batch_size or settings.batch_size, mesh)
    everywhere = devices.replicate(mesh)
    put = functools.partial(devices.put, sharding=devices.split(mesh))

    # Time: epochs are passes over the records, whatever the batch size; a batch may span two.
    steps_per_epoch = data.num_records / settings.batch_size
    steps = math.ceil(settings.epochs * steps_per_epoch)
    epoch_of = lambda n: n * settings.batch_size / data.num_records
    passed = lambda n, epochs: epoch_of(n) // epochs > epoch_of(n - 1) // epochs

    # State: shapes first, then arrays born where they belong.
    schedule = optimizer.schedule(steps_per_epoch)
    tx = functools.partial(optimizer.transform, schedule=schedule)
    create = _creator(task, optimizer, settings, schedule)
    shapes = step.shapes_of(create, everywhere)

    # The two compiled functions.
    choices = dict(bn=settings.bn, freeze=optimizer.freeze, accumulate=settings.accumulate, ema=settings.ema)
    update = jax.jit(
        functools.partial(step.update, loss=task.loss, tx=tx, schedule=schedule, mesh=mesh, **choices),
        donate_argnums=0,
        out_shardings=everywhere,
    )
    predict = jax.jit(task.predict, out_shardings=everywhere)

    with ExitStack() as stack:
        manager = stack.enter_context(
            checkpoints.open_checkpoints(workdir / "checkpoints", keep=settings.keep, best=settings.best)
        )
        latest = manager.latest_step()
        if latest is None:
            state = start(create, everywhere, initial)
        else:
            state = checkpoints.restore(manager, shapes, step=latest)
        first = latest or 0
        log.info("steps %d to %d on %d devices", first + 1, steps, jax.device_count())
        passes = stack.enter_context(closing(data.evaluate()))
        if first >= steps:
            return evaluate(predict, task.score, state.served, next(passes), put=put)
        report = Report(workdir, first_step=first, steps=steps, batch_size=settings.batch_size)
        stack.callback(report.close)
        feeder = stack.enter_context(closing(Feeder(data.train(first, steps), put)))
        stack.enter_context(jax.transfer_guard("disallow"))
        sigterm = stack.enter_context(stop_on_sigterm())

        with report.not_training():
            batch = feeder.next()
            wait_for_all("the first batch")
        waited = feeder.waited
        for n in range(first + 1, steps + 1):
            state, numbers = update(state, batch)
            report.advance(n)
            if n < steps:
                batch = feeder.next(running=numbers)
            log_due = n == steps or n % settings.log_every == 0
            eval_due = n == steps or passed(n, settings.eval_every)
            stop = sigterm()
            save_due = eval_due or stop or n % settings.save_every == 0
            if log_due or save_due:
                numbers = scalars(devices.gather(numbers))
                check_finite(n, numbers)  # before a broken state can be saved
            if log_due:
                report.train(n, epoch_of(n), numbers, waited=feeder.waited - waited)
                waited = feeder.waited
            metrics = None
            with report.not_training():
                if eval_due:
                    metrics = evaluate(predict, task.score, state.served, next(passes), put=put)
                    report.evaluation(n, epoch_of(n), scalars(metrics))
                if save_due:
                    checkpoints.save(manager, n, state, scalars(metrics) if metrics else None)
                if stop or (n == steps and sigterm()):
                    manager.wait_until_finished()
                    raise Preempted(n)
    return metrics


def _creator(task, optimizer: Optimizer, settings: Settings, schedule: Callable) -> Callable[[], step.State]:
    """() -> the state before the first update."""
    tx = functools.partial(optimizer.transform, schedule=schedule)
    extras = dict(scale_loss=settings.scale_loss, ema=settings.ema is not None)
    return functools.partial(step.create_state, seed=settings.seed, init=task.init, tx=tx, **extras)


def start(create: Callable, everywhere, initial: Callable[[], dict] | None) -> step.State:
    """What `create` gives, with the variables of `initial`, if given, in place of its own."""
    if initial is None:
        return jax.jit(create, out_shardings=everywhere)()
    variables = lambda: devices.put(initial(), everywhere)
    rest = lambda: create()._replace(variables=(), ema=())  # compiled, what is not asked for is not computed
    state = jax.jit(rest, out_shardings=everywhere)()
    return state._replace(variables=variables(), ema=variables() if jax.eval_shape(create).ema else ())


def save_variables(
    task, optimizer: Optimizer, settings: Settings, workdir: pathlib.Path, initial: Callable[[], dict]
) -> None:
    """Makes the checkpoint of step 0 in `workdir` of the variables that `initial` gives.

    Raises:
      FileExistsError: there are checkpoints already.
    """
    folder, everywhere = workdir / "checkpoints", devices.replicate(devices.make_mesh())
    with checkpoints.open_checkpoints(folder, keep=settings.keep, best=settings.best) as manager:
        if manager.latest_step() is not None:
            raise FileExistsError(f"{folder} holds checkpoints already; name another --workdir")
        create = _creator(task, optimizer, settings, optimizer.schedule(1.0))
        checkpoints.save(manager, 0, start(create, everywhere, initial))


def restore_variables(
    task, optimizer: Optimizer, settings: Settings, workdir: pathlib.Path, which: str
) -> tuple[dict, int]:
    """The variables of a checkpoint ("best", "latest" or a step) on this host's devices, and its step.

    Those of the moving average, if the run keeps one.

    Raises:
      FileNotFoundError: there is no such checkpoint.
    """
    # Only the shape of the optimizer's state matters here.
    create = _creator(task, optimizer, settings, optimizer.schedule(1.0))
    shapes = step.shapes_of(create, devices.replicate(devices.make_mesh()))
    folder = workdir / "checkpoints"
    if not folder.is_dir():
        raise FileNotFoundError(f"no checkpoints in {workdir}; train first, or name another --workdir")
    with checkpoints.open_checkpoints(folder, keep=settings.keep, best=settings.best, read_only=True) as manager:
        chosen = checkpoints.find(manager, which)
        return checkpoints.restore(manager, shapes, step=chosen).served, chosen
