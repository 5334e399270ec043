"""Config sections -> a network, its optimizer and its settings. Shared by all tasks."""

import functools
import inspect
import logging
import math
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from actjax import training
from actjax.config import Reader, bind, find, pick, plain
from actjax.errors import RangeError, check_number, named
from actjax.interop import import_checkpoint
from actjax.interop.importing import Report
from actjax.paths import local
from actjax.published import check_published
from actjax.recipes import PUBLISHED
from actjax.training.optimizers import OPTIMIZERS, RULES, SCHEDULES, by_epoch, with_stages
from actjax.training.task import Task

log = logging.getLogger("actjax")

CHECKPOINTS = ("latest", "best")  # names that a config accepts
RUN = Reader((training.Settings,), given=("scale_loss",))
LOAD_FROM = Reader((import_checkpoint,), given=("model",))
WITH_BACKBONE = {"arch": ("arch_options", "depth", "width", "small_input", "style")}  # see `config.Reader.together`
_GIVEN = ("params", "schedule", "rules", "epoch", "epochs", "settings", "frozen")


class Network(NamedTuple):
    """A network, its task, and how it is trained.

    element_spec: one example of a training batch, as arrays that take no memory.
    groups: multipliers of learning rate and weight decay for every parameter.
    load_from: (model=) -> `Imported`, the checkpoint that training starts from; None: training from scratch.
    """

    model: Any
    task: Task
    settings: training.Settings
    optimizer: training.Optimizer
    element_spec: dict
    groups: training.ParamGroups
    load_from: Callable | None = None

    def check_start(self, folder: pathlib.Path) -> None:
        """Checks the file that a run in `folder` starts from, unless it trains from scratch or resumes.

        Raises:
          FileNotFoundError: it is missing; says where to get it. ValueError: it is not the published one of this name.
        """
        if self.load_from is not None and not any((folder / "checkpoints").glob("[0-9]*")):
            otherwise = (
                ". To train from scratch, use tsm_own:scratch, or RECIPE:scratch with another recipe of TSN or TSM, or "
                "an empty path"
            )
            path = local(self.load_from.keywords["path"], "load_from.path")
            check_published(path, PUBLISHED, otherwise=otherwise)

    def initial(self, folder: pathlib.Path) -> Callable[[], dict] | None:
        """The imported variables that a run in `folder` starts from; None if it trains from scratch or resumes."""
        if self.load_from is None or any((folder / "checkpoints").glob("[0-9]*")):
            return None
        self.check_start(folder)
        imported = self.load_from(model=self.model)
        log.info("%s", imported.report)
        return lambda: imported.variables

    def train(
        self,
        data: training.Data,
        folder: pathlib.Path,
        *,
        initial: Callable[[], dict] | None,
        evaluators: Sequence[training.Evaluator] = (),
        describe: Callable[[], None] = lambda: None,
        standing: training.Standing | None = None,
    ) -> dict:
        """Calls `training.train` in `folder` -> the final metrics."""
        options = dict(initial=initial, evaluators=evaluators, describe=describe, standing=standing)
        return training.train(self.task, data, self.optimizer, self.settings, folder, **options)

    def standing(self, folder: pathlib.Path, data: training.Data) -> tuple[training.Standing, bool]:
        """How far the run in `folder` is, and whether it is complete.

        Raises:
          ValueError: the run had other training records. MisfitError: a complete one had another network or optimizer.
        """
        standing = training.find_standing(folder / "checkpoints", data, self.settings)
        complete = standing.is_complete(self.settings.epochs)
        if complete:
            training.check_fit(self.task, self.optimizer, self.settings, folder, standing.step)
        return standing, complete

    def restore(self, folder: pathlib.Path, which: str) -> tuple[dict, int]:
        """The variables of a checkpoint in `folder` ("best", "latest" or a step), and its step."""
        return training.restore_variables(self.task, self.settings, folder, which)

    def import_file(self, path: str, folder: pathlib.Path, *, ema: bool | None = None) -> Report:
        """Saves another program's checkpoint as step 0 in `folder`, as if it had been trained there.

        Args:
          ema: averaged or plain weights, see `interop.import_checkpoint`.

        Raises:
          FileExistsError: `folder` has checkpoints already. Other errors: see `interop.import_checkpoint`.
        """
        imported = import_checkpoint(path, self.model, ema=ema)
        start = lambda: imported.variables
        training.save_variables(self.task, self.optimizer, self.settings, folder, start)
        return imported.report


def make_network(
    model, task: Task, settings: training.Settings, *, optim, element_spec: dict, load_from, where: str = "", frozen=()
) -> Network:
    """Builds the `Network` of a model from the sections `optim` and `load_from`.

    Args:
      where: prefix of these sections in error messages, such as "tem."; "" at the top level.
      frozen: rules for parameters that are not trained.

    Raises:
      ValueError: an unknown key in a section, a number out of range, or an invalid attribute of the model.
    """
    make = bind(optimizer_of, with_stages(optim, model), f"{where}optim", given=("settings", "frozen"))
    with named(f"{where}optim"):
        optimizer, rules = make(settings=settings, frozen=frozen)
    starts = load_from and load_from.get("path") != ""
    with named("model"):
        shapes = _parameter_shapes(task)
    groups = training.param_groups(shapes, rules)
    with named(f"{where}optim"):
        schedule = optimizer.schedule(1.0)
        jax.eval_shape(lambda params: optimizer.transform(params, schedule).init(params), shapes)
    return Network(
        model=model,
        task=task,
        settings=settings,
        optimizer=optimizer,
        element_spec=element_spec,
        groups=groups,
        load_from=LOAD_FROM.bind(load_from, "load_from") if starts else None,
    )


def video_settings(model, run) -> training.Settings:
    """Section `run` of a network that takes video clips."""
    settings = RUN.bind(run, "run")().check()
    return settings._replace(scale_loss=model.dtype == "float16")


def _parameter_shapes(task: Task):
    """Shape-checks the model with `jax.eval_shape`, so a bad attribute fails before any data is opened."""
    try:
        return jax.eval_shape(task.init, jax.random.key(0))["params"]
    except TypeError as error:
        raise ValueError(f"model: {error}") from error


def optimizer_of(
    *,
    name: str,
    lr: float,
    schedule,
    rules,
    settings: training.Settings,
    frozen: tuple,
    lr_batch_size: int | None = None,
    warmup_epochs: float = 0.0,
    warmup_ratio: float = 0.1,
    **options,
) -> tuple[training.Optimizer, tuple]:
    """The optimizer and its parameter rules.

    `lr` applies to a batch of `lr_batch_size` clips and scales with the batch size; None: it does not scale.
    """
    rules = (*frozen, *_made_rules(rules))
    check_number("lr", lr, "[0, inf)")
    if lr_batch_size is not None:
        check_number("lr_batch_size", lr_batch_size, "[1, inf)", whole=True)
    factor = functools.partial(
        pick(SCHEDULES, schedule, "optim.schedule", given=("epoch", "epochs")), epochs=settings.epochs
    )
    _check_schedule(factor, plain(schedule)["name"])
    given = ("params", "schedule", "rules")
    if lacks := [key for key in given if key not in inspect.signature(find(OPTIMIZERS, name, "optim.name")).parameters]:
        raise ValueError(f"optim.name={name!r} has no argument {lacks[0]!r}; an optimizer of your own takes {given}")
    make = functools.partial(pick(OPTIMIZERS, {"name": name, **options}, "optim", given=given), rules=rules)
    scheduled = functools.partial(
        by_epoch,
        factor,
        lr=lr * settings.batch_size / (lr_batch_size or settings.batch_size),
        warmup_epochs=warmup_epochs,
        warmup_ratio=warmup_ratio,
    )
    freeze = lambda params: training.freeze(params, training.param_groups(params, rules))
    return training.Optimizer(lambda steps: scheduled(steps_per_epoch=steps), make, freeze), rules


def _made_rules(section) -> Iterable[Sequence]:
    rules = pick(RULES, section, "optim.rules")()
    if isinstance(rules, str | Mapping) or not isinstance(rules, Iterable):
        raise ValueError(
            f"optim.rules.name={plain(section)['name']!r} returned {type(rules).__name__}; it must return rows of "
            "(group, pattern, lr multiplier, decay multiplier)"
        )
    return rules


def _check_schedule(factor: Callable, name: str) -> None:
    """Traces a schedule, (epoch) -> factor of the learning rate, and tries it at both ends of the run.

    Args:
      name: of the schedule in the config, for errors.

    Raises:
      ValueError: it fails for a traced epoch, or does not return a finite number of at least 0.
    """
    where = f"optim.schedule.name={name!r}"
    try:
        with named("schedule"):
            traced = jax.eval_shape(factor, jax.ShapeDtypeStruct((), np.float32))
    except RangeError:
        raise
    except Exception as error:
        told = str(error).partition("\n")[0]
        raise ValueError(f"{where} failed on a traced epoch, float32 []: {type(error).__name__}: {told}") from error
    if getattr(traced, "shape", None) != () or np.dtype(traced.dtype).kind not in "iuf":
        raise ValueError(f"{where} returned {traced} for an epoch; it must return one number")
    epochs = factor.keywords["epochs"]
    for epoch in (0.0, 0.999 * epochs):  # the last step comes before the very end, where it need not be defined
        if not 0 <= (value := float(factor(jax.numpy.float32(epoch)))) < math.inf:
            raise ValueError(
                f"{where} returned {value:g} for epoch {epoch:g} of {epochs:g}; "
                "it must return a finite number, 0 or more"
            )


OPTIM = Reader(
    (optimizer_of, OPTIMIZERS),
    given=_GIVEN,
    parts={"rules": Reader((RULES,)), "schedule": Reader((SCHEDULES,), given=_GIVEN)},
)
