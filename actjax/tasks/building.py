"""What the experiments of all tasks have in common: parameters, optimizers, starting points."""

import functools
import logging
import pathlib
from collections.abc import Callable

from actjax import training
from actjax.config import bind, pick
from actjax.models import import_checkpoint
from actjax.training.optimizers import OPTIMIZERS, RULES, SCHEDULES, by_epoch
from actjax.training.task import Task

log = logging.getLogger("actjax")

CHECKPOINTS = ("latest", "best")  # what later stages may ask for


def parameter_shapes(task: Task):
    """Traces the model, so that what it refuses is refused before any data is opened."""
    import jax

    try:
        return jax.eval_shape(task.init, jax.random.key(0))["params"]
    except TypeError as error:
        raise ValueError(f"model: {error}") from error


def start_of(network, section) -> Callable | None:
    """() -> the variables that training starts from, and what of the file did not fit; None: it starts from nothing."""
    if not section or section.get("path") == "":
        return None
    load = bind(import_checkpoint, section, "load_from", given=("model",))

    def start():
        try:
            return load(model=network)
        except FileNotFoundError:
            raise FileNotFoundError(
                f"load_from.path={load.keywords['path']} does not exist; docs/model_zoo.md tells which file it is. "
                "An empty path starts from nothing, as --config=FILE:scratch of TSN and TSM"
            ) from None

    return start


def initial_variables(load_from: Callable | None, folder: pathlib.Path) -> Callable | None:
    """What gives the variables to start from; None where a run in `folder` has begun, or it starts from nothing."""
    if load_from is None or any((folder / "checkpoints").glob("[0-9]*")):
        return None
    imported = load_from()
    log.info("%s", imported.report)
    return lambda: imported.variables


def fitting(network, *, run, optim) -> tuple[training.Settings, training.Optimizer, tuple]:
    """Sections `run` and `optim` of a network that looks at videos -> settings, optimizer, parameter rules."""
    settings = bind(training.Settings, run, "run", given=("scale_loss",))().check()
    settings = settings._replace(scale_loss=network.dtype == "float16")
    frozen = training.frozen_rules(network.freezing.patterns())
    make = bind(optimizer_of, optim, "optim", given=("settings", "frozen"))
    return settings, *make(settings=settings, frozen=frozen)


def optimizer_of(
    *,
    name: str,
    lr: float,
    lr_batch_size: int,
    schedule,
    rules,
    settings: training.Settings,
    frozen: tuple,
    warmup_epochs: float = 0.0,
    warmup_ratio: float = 0.1,
    **options,
) -> tuple[training.Optimizer, tuple]:
    """Optimizer and parameter rules; `lr` is meant for `lr_batch_size` clips and scales with the batch."""
    rules = (*frozen, *pick(RULES, rules, "optim.rules")())
    factor = pick(SCHEDULES, schedule, "optim.schedule", given=("epoch", "epochs"))
    given = ("params", "schedule", "rules")
    make = functools.partial(pick(OPTIMIZERS, {"name": name, **options}, "optim", given=given), rules=rules)
    scheduled = functools.partial(
        by_epoch,
        functools.partial(factor, epochs=settings.epochs),
        lr=lr * settings.batch_size / lr_batch_size,
        warmup_epochs=warmup_epochs,
        warmup_ratio=warmup_ratio,
    )
    freeze = lambda params: training.freeze(params, training.param_groups(params, rules))
    return training.Optimizer(lambda steps: scheduled(steps_per_epoch=steps), make, freeze), rules
