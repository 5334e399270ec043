"""The training loop, to be read top to bottom. It calls four functions of the task and two of the data."""

import functools
import logging
import math
import pathlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, nullcontext
from typing import NamedTuple

import jax

from actjax.training import checkpoints, devices
from actjax.training.distributed import wait_for_all
from actjax.training.evaluating import VALIDATION, Evaluations, Evaluator
from actjax.training.feeding import Feeder
from actjax.training.optimizers import Optimizer
from actjax.training.preemption import Preempted, StopOnSigterm, compiling
from actjax.training.program import Settings, make_program
from actjax.training.reporting import Report, check_finite, scalars

log = logging.getLogger(__name__)

_NOTHING = "stopped before the first step; nothing was saved"


class Data(NamedTuple):
    """The data of a training run.

    num_records: records in an epoch.
    train: (first_step, num_steps) -> this host's batches of steps `first_step` .. `num_steps - 1`.
    evaluate: () -> passes over the validation set, each an iterator over this host's batches.
    """

    num_records: int
    train: Callable[[int, int], Iterator]
    evaluate: Callable[[], Iterator]


def train(
    task,
    data: Data,
    optimizer: Optimizer,
    settings: Settings,
    workdir: pathlib.Path,
    *,
    initial: Callable[[], dict] | None = None,
    evaluators: Sequence[Evaluator] = (),
) -> dict:
    """Trains from the latest checkpoint in `workdir`, or from the start, to the last epoch -> final metrics.

    Args:
      task: `init`, `loss`, `predict`, `score`; see `actjax.training.task.Task`.
      initial: returns the initial variables, in NumPy; None: `task.init` makes them.
      evaluators: further evaluations besides the validation of `data`; their metrics are reported beside its own.

    Raises:
      ValueError: the batch size is not divisible by the number of devices, or `settings.best` is no metric.
      FloatingPointError: the loss or another reported number is not finite; that step is not saved.
      Preempted: SIGTERM arrived, and the current step was saved.
    """
    # Time: an epoch is a pass over the records, whatever the batch size; a batch may span two epochs.
    steps_per_epoch = data.num_records / settings.batch_size
    steps = math.ceil(settings.epochs * steps_per_epoch)
    epoch_of = lambda n: n * settings.batch_size / data.num_records
    rounds = lambda n, epochs: math.floor(epoch_of(n) / epochs + 1e-9)  # 2.4 / 0.8 is 2.9999999999999996
    passed = lambda n, epochs: rounds(n, epochs) > rounds(n - 1, epochs)

    # Devices: one mesh, the placement of arrays on it, and the compiled functions.
    program = make_program(task, optimizer, settings, steps_per_epoch=steps_per_epoch).check_batches(settings)
    put = functools.partial(devices.put, sharding=devices.split(program.mesh))

    with ExitStack() as stack:
        manager = stack.enter_context(
            checkpoints.open_checkpoints(workdir / "checkpoints", keep=settings.keep, best=settings.best)
        )
        latest = manager.latest_step()
        restore = lambda: checkpoints.restore(manager, program.shapes, step=latest)
        with compiling(_NOTHING):
            state = program.start(initial) if latest is None else restore()
        first = latest or 0
        here, whole = devices.bytes_of(program.shapes)
        log.info("steps %d to %d, devices: %d", first + 1, steps, jax.device_count())
        log.info("state: %.1f MB per device, %.1f MB in total", here / 1e6, whole / 1e6)
        validation = Evaluator(VALIDATION, settings.eval_every, task.predict, task.score, data.evaluate)
        evaluations = stack.enter_context(
            closing(Evaluations([validation, *evaluators], compile=program.jit_predict, put=put, best=settings.best))
        )
        if first >= steps:
            return evaluations.run(evaluations.all, state.eval_variables)
        report = Report(workdir, first_step=first, steps=steps, batch_size=settings.batch_size)
        stack.callback(report.close)
        feeder = stack.enter_context(closing(Feeder(data.train(first, steps), put)))
        stack.enter_context(jax.transfer_guard("disallow"))

        with report.not_training():
            batch = feeder.next()
            wait_for_all("the first batch")
        waited, numbers = feeder.waited, None
        for n in range(first + 1, steps + 1):
            previous = numbers
            with compiling(_NOTHING) if n == first + 1 else nullcontext():
                state, numbers = program.update(state, batch)
            if n == first + 1:  # the step has compiled, which takes long; before this, SIGTERM ends the process at once
                sigterm = stack.enter_context(StopOnSigterm())
            report.advance(n)
            if n < steps:
                batch = feeder.next(running=numbers)
            log_due = n == steps or n % settings.log_every == 0
            eval_due = [each for each in evaluations.all if n == steps or passed(n, each.every)]
            stop = sigterm.after(n, previous)
            save_due = bool(eval_due) or stop or n % settings.save_every == 0
            if log_due or save_due:
                numbers = scalars(devices.gather(numbers))
                check_finite(n, numbers)  # before a broken state can be saved
            if log_due:
                report.train(n, epoch_of(n), numbers | devices.memory(), waited=feeder.waited - waited)
                waited = feeder.waited
            metrics = None
            with report.not_training():
                if eval_due:
                    metrics = _evaluated(evaluations, eval_due, state, manager, n)
                    report.evaluation(n, epoch_of(n), scalars(metrics))
                if save_due:
                    checkpoints.save(manager, n, state, metrics=scalars(metrics) if metrics else None)
                    report.upload()
                if stop or (n == steps and sigterm.at_end()):
                    manager.wait_until_finished()
                    raise Preempted(n)
    return metrics


def _evaluated(evaluations: Evaluations, due: Sequence[Evaluator], state, manager, step: int) -> dict:
    """The metrics of the evaluators in `due`. If one cannot be computed, no training is lost: the step is saved first.

    Raises:
      ValueError: a metric fails, is not finite, or is not reported.
    """
    try:
        return evaluations.run(due, state.eval_variables)
    except ValueError as error:
        checkpoints.save(manager, step, state)
        manager.wait_until_finished()
        error.clear = True
        error.args = (f"{error}. Step {step} is saved; mend the evaluation and start again to go on from there",)
        raise


def save_variables(
    task, optimizer: Optimizer, settings: Settings, workdir: pathlib.Path, initial: Callable[[], dict]
) -> None:
    """Saves the variables from `initial` in `workdir`, as the checkpoint of step 0.

    Raises:
      FileExistsError: `workdir` already holds checkpoints.
    """
    folder, program = workdir / "checkpoints", make_program(task, optimizer, settings)
    with checkpoints.open_checkpoints(folder, keep=settings.keep, best=settings.best) as manager:
        if manager.latest_step() is not None:
            raise FileExistsError(f"{folder} already holds checkpoints; choose another --workdir")
        checkpoints.save(manager, 0, program.start(initial))


def restore_variables(
    task, optimizer: Optimizer, settings: Settings, workdir: pathlib.Path, which: str
) -> tuple[dict, int]:
    """The variables of a checkpoint ("best", "latest" or a step) on this host's devices, and its step.

    If the run keeps a moving average, these are the averaged variables.

    Raises:
      FileNotFoundError: there is no such checkpoint.
    """
    shapes = make_program(task, optimizer, settings._replace(fsdp=1, bn="global")).shapes  # all on every device
    folder = workdir / "checkpoints"
    if not folder.is_dir():
        raise FileNotFoundError(f"no checkpoints in {workdir}; train first, or choose another --workdir")
    with checkpoints.open_checkpoints(folder, keep=settings.keep, best=settings.best, read_only=True) as manager:
        chosen = checkpoints.find(manager, which)
        return checkpoints.restore(manager, shapes, step=chosen).eval_variables, chosen
