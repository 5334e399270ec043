"""The command line as a value, and the modes shared by all tasks with a single network."""

import contextlib
import logging
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from flax.traverse_util import flatten_dict

from actjax import training
from actjax.config import plain
from actjax.config.changes import told
from actjax.config.files import saved_config
from actjax.data.datasets.class_names import load_class_names
from actjax.errors import clear_errors
from actjax.interop import export_checkpoint
from actjax.paths import does_not_exist
from actjax.showing import Table, show
from actjax.tasks.building import Network
from actjax.text_files import read_json
from actjax.workdir import changed, save_description, saved_results, show_results

log = logging.getLogger("actjax")


class Call(NamedTuple):
    """The user's command line.

    mode: name of the mode.
    config: config of the run.
    workdir: folder of the run.
    started: `time.perf_counter()` when the program started.
    video, out, source, stage, num, protocol, topk: the flags of these names; `source` is `--from`.
    checkpoint: "best", "latest" or a step; None if the flag was not given.
    ema: of a file to import, see `import_checkpoint`.
    features, network, proposals, truth, render, min_score: the flags of localize.
    load, open, train: open another run, as `actjax.load` does; a config, see `opening.open_config`; train a recipe.
    """

    mode: str
    config: Any
    workdir: pathlib.Path
    started: float
    video: str | None = None
    out: str | None = None
    source: str | None = None
    stage: str | None = None
    num: int = 16
    protocol: str = "test"
    topk: int = 5
    checkpoint: str | None = None
    ema: bool | None = None
    features: str | None = None
    network: str | None = None
    proposals: str | None = None
    truth: str | None = None
    render: bool = False
    min_score: float | None = None
    load: Callable | None = None
    open: Callable | None = None
    train: Callable | None = None

    @property
    def seconds(self) -> float:
        """Seconds since the program started."""
        return time.perf_counter() - self.started


_NAMES = "class_names.json"
# Sections of a config that say what arrays a network and its optimizer have.
_ARRAYS = ("task", "model", "optim", "run.ema", "code", "tem", "pem", "bmn")


@contextlib.contextmanager
def fitting(config, workdir: pathlib.Path) -> Iterator[None]:
    """A context that reads a checkpoint of `workdir` for `config`.

    Raises:
      MisfitError: it does not fit; the message names the keys of the config with the run's values and the new ones.
    """
    try:
        yield
    except training.MisfitError as error:
        keys = [change for change in changed(workdir, config) if change[0].startswith(_ARRAYS)]
        why = f"{workdir} was trained with another config: {told(keys)}" if keys else f"{workdir}: the code has changed"
        raise training.MisfitError(f"{why} ({error}); take the run's values, or another workdir") from None


def known_results(call: Call, standing: training.Standing) -> dict | None:
    """The results of a complete run, which are shown; None if they were not written, or name a best checkpoint that is
    gone.

    Says so, and which keys of the config have no effect any more.
    """
    results, step = saved_results(call.workdir, "results"), standing.step
    best = (results or {}).get("best")
    steps = training.steps(call.workdir / "checkpoints")
    if results is None or results.get("step") != step or not isinstance(best, dict) or best.get("step") not in steps:
        return None
    log.info("the run is complete at step %d; nothing is left to train", step)
    if standing.judged_anew:
        log.warning(f"{training.JUDGED_ANEW}. --mode=eval scores the present one", step)
    show_results(call.workdir, "results", {key: x for key, x in results.items() if not isinstance(x, list)})
    if changes := changed(call.workdir, call.config):
        log.warning(
            "ignored changes: %s. To train further, raise run.epochs; to train with another config, use a new workdir",
            told(changes),
        )
    return results


def restored(run, call: Call) -> tuple[dict, int]:
    """The variables of `call.checkpoint`, by default the best one, and its step. Errors as `training`'s, and of
    `fitting`."""
    with clear_errors(), fitting(call.config, call.workdir):
        return run.network.restore(call.workdir, "best" if call.checkpoint is None else call.checkpoint)


def read_class_names(workdir: pathlib.Path) -> list[str]:
    """The class names that a run saved. FileNotFoundError: there are none. ValueError: the file holds no names."""
    file = workdir / _NAMES
    if not file.exists():
        raise FileNotFoundError(f"{does_not_exist(file)}; a run writes it when it starts to train")
    names = read_json(file, what="the class names of a run")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{file}: expected a list of names")
    return names


def check_names(names: list[str], workdir: pathlib.Path) -> None:
    """Warns if a data set numbers its classes in another way than the one that the run was trained on."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        if (saved := read_class_names(workdir)) != names:
            k = next((k for k, pair in enumerate(zip(saved, names, strict=False)) if pair[0] != pair[1]), 0)
            log.warning(
                "the class names differ from %s: class %d was %r, is %r; check that the labels mean the same",
                workdir / _NAMES, k, saved[k] if saved else None, names[k],
            )  # fmt: skip


def names_of(config, workdir: pathlib.Path) -> list[str]:
    """The class names of a run: those that it saved, or `data.class_names` of a config that names others since."""
    names = read_class_names(workdir)
    given, saved = (section.get("data", {}).get("class_names") for section in (config, saved_config(workdir)))
    if given == saved:
        with contextlib.suppress(FileNotFoundError, ValueError):  # the list need not be there any more
            if isinstance(given, str) and given and load_class_names(given) != names:
                log.warning("%s has changed since the training; to use its names, edit %s", given, workdir / _NAMES)
        return names
    if not given:
        return [str(k) for k in range(len(names))]
    return load_class_names(given) if isinstance(given, str) else list(given)


def import_(run, call: Call) -> None:
    """Turns another program's checkpoint into a run that can be evaluated, used or trained further."""
    with clear_errors():
        names = run.class_names()
        report = run.network.import_file(call.source, call.workdir, ema=call.ema)
    save_description(call.workdir, call.config, names)
    log.info("%s\nthe run is in %s", report, call.workdir)


def export(run, call: Call) -> None:
    """Writes a checkpoint under MMAction2's parameter names, as .pth for torch or as .safetensors."""
    variables, step = restored(run, call)
    with clear_errors():
        meta = {"step": step, "CLASSES": names_of(call.config, call.workdir)}
        names = export_checkpoint(variables, run.network.model, call.out, meta=meta)
    log.info("%s: %d tensors of step %d", call.out, len(names), step)


def explain(run, call: Call) -> None:
    """Prints the config, and the costs of a training step on the available or on `--devices` simulated devices.

    Needs no data.
    """
    show_config(call.config)
    explain_step("training step", run.network)


def show_config(config) -> None:
    """Prints the keys and values of a config."""
    for key, value in flatten_dict(plain(config), sep=".").items():
        show(f"{key} = {value!r}")


def explain_step(title: str, network: Network) -> None:
    """Prints the costs of a training step of `network`, and its parameter groups."""
    with clear_errors():
        costs = training.explain(network.task, network.optimizer, network.settings, network.element_spec)
    table = Table(title, "")
    for row in costs.rows():
        table.add_row(*row)
    show(table)
    log.info("parameter groups\n%s", network.groups)
