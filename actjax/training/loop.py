"""The training loop, to be read top to bottom. It calls four functions of the task and two of the data."""

import functools
import logging
import pathlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, nullcontext
from typing import NamedTuple

import jax

from actjax.training import devices, digests, restoring
from actjax.training.checkpoints import Checkpoints
from actjax.training.distributed import wait_for_all
from actjax.training.evaluating import VALIDATION, Evaluations, Evaluator
from actjax.training.feeding import Feeder
from actjax.training.optimizers import Optimizer
from actjax.training.preemption import Preempted, StopOnSigterm, compiling
from actjax.training.program import Program, Settings, make_program
from actjax.training.reporting import Report, check_finite, scalars
from actjax.training.restoring import DamagedError
from actjax.training.step import State
from actjax.training.timeline import Timeline

log = logging.getLogger(__name__)

_TRIES = 20  # to read a checkpoint beside a training
JUDGED_ANEW = (
    "the validation has changed since step %d, in its videos or in keys of model, eval or evaluators; earlier metrics "
    "are not comparable and are ignored when the best checkpoint is chosen"
)
_NOTHING = "stopped before the first step; nothing was saved"


class Data(NamedTuple):
    """The data of a training run.

    num_records: records in an epoch.
    train: (position, num_batches) -> this host's batches; the first one of the run begins with the record at
      `position`, counted across epochs.
    evaluate: () -> passes over the validation set, each an iterator over this host's batches.
    digest, val_digest: of the records of both splits, by which a resumed run knows them; "" if it cannot tell.
    """

    num_records: int
    train: Callable[[int, int], Iterator]
    evaluate: Callable[[], Iterator]
    digest: str = ""
    val_digest: str = ""


class Standing(NamedTuple):
    """How far a run is, by its checkpoints.

    step: of the newest intact checkpoint; None if there is none.
    time: the timeline from there on.
    judged_anew: the validation is not the one whose metrics the checkpoint has.
    """

    step: int | None
    time: Timeline
    judged_anew: bool = False

    def is_complete(self, epochs: float) -> bool:
        """Whether nothing of `epochs` epochs is left to train."""
        return self.step is not None and self.step >= self.time.last_step(epochs)


def train(
    task,
    data: Data,
    optimizer: Optimizer,
    settings: Settings,
    workdir: pathlib.Path,
    *,
    initial: Callable[[], dict] | None = None,
    evaluators: Sequence[Evaluator] = (),
    describe: Callable[[], None] = lambda: None,
    standing: Standing | None = None,
) -> dict:
    """Trains from the newest intact checkpoint in `workdir`, or from the start, to the last epoch -> the metrics of the
    last step, and under `best` those of the best checkpoint, both with their `step`.

    With another batch size, number of epochs, of devices or of hosts, training continues from the same record of the
    same epoch.

    Args:
      initial: returns the initial variables, in NumPy; None: `task.init` makes them.
      evaluators: further evaluations besides the validation of `data`; their metrics are reported beside its own.
      describe: called once the state is restored, before anything else is written to `workdir`.
      standing: the result of `find_standing`; None: it is called here.

    Raises:
      ValueError: the batch size is not divisible by the number of devices, or `settings.best` is no metric; the
        training records are not those of the checkpoint.
      MisfitError: the network or the optimizer is not that of the checkpoint.
      FloatingPointError: the loss or another reported number is not finite; that step is not saved.
      StorageError: a checkpoint or a file of the run cannot be written.
      Preempted: SIGTERM arrived, and the current step was saved.
    """
    folder = workdir / "checkpoints"
    first, time, judged_anew = standing or find_standing(folder, data, settings)
    steps = time.last_step(settings.epochs)

    # Devices: one mesh, the placement of arrays on it, and the compiled functions.
    rates = dict(steps_per_epoch=data.num_records / settings.batch_size, earlier=time.offset / settings.batch_size)
    program = make_program(task, optimizer, settings, **rates).check_batches(settings)
    put = functools.partial(devices.put, sharding=devices.split(program.mesh))

    with ExitStack() as stack:
        with compiling(_NOTHING, what="the initial state" if first is None else None):
            state = program.start(initial) if first is None else _restored(program, folder, first)
        if judged_anew:
            log.warning(JUDGED_ANEW, first)
        first = first or 0
        describe()
        checkpoints = stack.enter_context(closing(Checkpoints(folder, settings, time)))
        here, whole = devices.bytes_of(program.shapes)
        validation = Evaluator(VALIDATION, settings.eval_every, task.predict, task.score, data.evaluate)
        evaluations = stack.enter_context(
            closing(Evaluations([validation, *evaluators], compile=program.jit_predict, put=put, best=settings.best))
        )
        if first >= steps:
            log.info("the run is complete at step %d; nothing is left to train", first)
            metrics = evaluations.run(evaluations.all, state.eval_variables)
            if checkpoints.rank(first, scalars(metrics)):  # its evaluation had failed, or has changed
                with closing(Report(workdir, first_step=first, steps=first, batch_size=settings.batch_size)) as report:
                    report.evaluation(first, time.epoch(first), scalars(metrics))
            return _with_best(metrics, folder, settings, step=first)
        if first:
            log.info("resuming after step %d", first)
        log.info("steps %d to %d, devices: %d", first + 1, steps, jax.device_count())
        log.info("state: %.1f MB per device, %.1f MB in total", here / 1e6, whole / 1e6)
        report = Report(workdir, first_step=first, steps=steps, batch_size=settings.batch_size)
        stack.callback(report.close)
        feeder = stack.enter_context(closing(Feeder(data.train(time.position(first), steps - first), put)))
        stack.enter_context(jax.transfer_guard("disallow"))

        with report.not_training():
            batch = feeder.next()
            wait_for_all("the first batch")
        waited, numbers = feeder.waited, None
        for n in range(first + 1, steps + 1):
            previous = numbers
            with compiling(_NOTHING, what="the training step") if n == first + 1 else nullcontext():
                state, numbers = program.update(state, batch)
            if n == first + 1:  # the step has compiled, which takes long; before this, SIGTERM ends the process at once
                sigterm = stack.enter_context(StopOnSigterm())
            report.advance(n)
            if n < steps:
                batch = feeder.next(running=numbers)
            if n <= first + 2:
                report.pace(n, numbers, log_every=settings.log_every)
            log_due = n == steps or n % settings.log_every == 0
            eval_due = [each for each in evaluations.all if n == steps or time.completes(n, each.every)]
            stop = sigterm.after(n, previous)
            save_due = bool(eval_due) or stop or n % settings.save_every == 0
            if log_due or save_due:
                numbers = scalars(devices.gather(numbers))
                check_finite(n, numbers)  # before a broken state can be saved
            if log_due:
                report.train(n, time.epoch(n), numbers | devices.memory(), waited=feeder.waited - waited)
                waited = feeder.waited
            metrics = None
            with report.not_training():
                if eval_due:
                    metrics = _evaluated(evaluations, eval_due, state, checkpoints, n)
                    report.evaluation(n, time.epoch(n), scalars(metrics))
                if save_due:
                    checkpoints.save(n, state, metrics=scalars(metrics) if metrics else None)
                    report.upload()
                if stop or (n == steps and sigterm.at_end()):
                    checkpoints.wait()
                    raise Preempted(n)
        checkpoints.wait()
    return _with_best(metrics, folder, settings, step=steps)


def find_standing(folder: pathlib.Path, data: Data, settings: Settings) -> Standing:
    """Verifies the checkpoints in `folder`, and sets damaged ones aside, with a warning.

    Raises:
      ValueError: the run had other training records.
    """
    if jax.process_index() == 0:
        restoring.set_damaged_aside(folder)
    wait_for_all("the checkpoints")
    now = Timeline(data.num_records, settings.batch_size, data=data.digest, val=data.val_digest)
    step = max(restoring.steps(folder), default=None)
    if step is None or not (known := digests.content(folder / str(step)).get("timeline")):
        return Standing(step, now)
    before = Timeline(**known)
    try:
        now = now.continued(before, step)
    except ValueError as error:
        error.clear = True
        error.args = (f"{folder}: {error}; use another workdir, or the earlier data",)
        raise
    return Standing(step, now, judged_anew=step in restoring.outdated(folder, now.val))


def check_fit(task, optimizer: Optimizer, settings: Settings, workdir: pathlib.Path, step: int) -> None:
    """Raises MisfitError unless the checkpoint of `step` is one of this network and optimizer."""
    folder = workdir / "checkpoints"
    wanted = make_program(task, optimizer, settings).shapes._asdict()
    restoring.compare(restoring.arrays(folder, step), wanted, whole=True, where=str(folder / str(step)))


def _restored(program: Program, folder: pathlib.Path, step: int) -> State:
    """The state of a checkpoint, with the program's shapes and shardings."""
    return State(**restoring.read(folder, step, program.shapes._asdict(), whole=True))


def _with_best(metrics: dict, folder: pathlib.Path, settings: Settings, *, step: int) -> dict:
    """The metrics, their step, and as `best` those of the best checkpoint and its step."""
    best = restoring.best(folder, settings.best, upward=settings.upward)
    numbers = {} if best is None else restoring.metrics(folder, best)
    counts = {name: int(value) for name, value in numbers.items() if isinstance(metrics.get(name), int)}
    known = {} if best is None else {"best": {"step": best, **numbers, **counts}}
    return {"step": step, **metrics, **known}


def _evaluated(evaluations: Evaluations, due: Sequence[Evaluator], state, checkpoints: Checkpoints, step: int) -> dict:
    """The metrics of the evaluators in `due`. If one cannot be computed, no training is lost: the step is saved first.

    Raises:
      ValueError: a metric fails, is not finite, or is not reported.
    """
    try:
        return evaluations.run(due, state.eval_variables)
    except ValueError as error:
        checkpoints.save(step, state)
        checkpoints.wait()
        error.clear = True
        error.args = (
            f"{error}. Step {step} is saved; fix the evaluation and repeat the command, which resumes from there",
        )
        raise


def save_variables(
    task, optimizer: Optimizer, settings: Settings, workdir: pathlib.Path, initial: Callable[[], dict]
) -> None:
    """Saves the variables from `initial` in `workdir`, as the checkpoint of step 0.

    Raises:
      FileExistsError: `workdir` already holds checkpoints.
    """
    folder, program = workdir / "checkpoints", make_program(task, optimizer, settings)
    if restoring.steps(folder):
        raise FileExistsError(f"{folder} already holds checkpoints; choose another --workdir")
    with closing(Checkpoints(folder, settings)) as checkpoints:
        checkpoints.save(0, program.start(initial))


def restore_variables(task, settings: Settings, workdir: pathlib.Path, which: str) -> tuple[dict, int]:
    """The variables of a checkpoint ("best", "latest" or a step) on this host's devices, and its step.

    If the run keeps a moving average, these are the averaged variables.

    Raises:
      FileNotFoundError: there is no such checkpoint. DamagedError: it is damaged. MisfitError: the network has other
        arrays. ValueError: it holds values that are not finite.
    """
    folder = workdir / "checkpoints"
    if not folder.is_dir():
        raise FileNotFoundError(f"no checkpoints in {workdir}; train first, or choose another --workdir")
    shapes = jax.eval_shape(task.init, jax.random.key(0))
    everywhere = devices.replicate(devices.make_mesh())
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere), shapes)
    tries = 0
    while True:
        existing = restoring.steps(folder)
        try:
            step = restoring.find(folder, which, metric=settings.best, upward=settings.upward)
            if which == "best":
                for each in existing:  # one whose metrics are damaged may be the best
                    with restoring.offering(folder, each):
                        digests.check(folder / str(each), only="metrics/")
            return _variables(folder, step, shapes), step
        except (DamagedError, FileNotFoundError):
            tries += 1
            if restoring.steps(folder) == existing or tries == _TRIES:
                raise  # else a training has just replaced one


def _variables(folder: pathlib.Path, step: int, shapes: dict) -> dict:
    """The variables of a checkpoint, verified."""
    with restoring.offering(folder, step):
        restoring.check(folder, step)
        averaged = any(name.startswith("ema/") for name in restoring.arrays(folder, step))
        name = "ema" if averaged else "variables"
        variables = restoring.read(folder, step, {name: shapes}, whole=False)[name]
    restoring.check_finite(variables, f"{folder / str(step)}")
    return variables
