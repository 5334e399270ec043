"""The command line as a value, and the modes shared by all tasks with a single network."""

import contextlib
import logging
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from flax.traverse_util import flatten_dict

from actjax import training
from actjax.config import plain
from actjax.config.changes import told
from actjax.config.files import saved_config
from actjax.data.datasets.class_names import load_class_names
from actjax.data.loading.quarantine import entries
from actjax.errors import clear_errors
from actjax.interop import export_checkpoint
from actjax.paths import absolute, does_not_exist
from actjax.showing import Table, show
from actjax.tasks.building import Network
from actjax.tasks.videos import is_several
from actjax.text_files import read_json
from actjax.workdir import changed, logging_to, save_description, saved_results, show_results
from actjax.writable import check_writable

log = logging.getLogger("actjax")


class Trained:
    """A trained run. As a context manager it ends its processes: `with actjax.load("runs/mine") as trained:`.

    Attributes:
      config: the config of the run.
      class_names: the names of the classes; empty for tasks without classes.
      workdir: folder of the run; None if it was loaded from a checkpoint of another program.
    """

    def __init__(self, opened, workdir: pathlib.Path | None, *, checkpoint: str | int | None = None):
        self.config, self.workdir = opened.config, absolute(workdir) if workdir else None
        self._opened, self._checkpoint = opened, checkpoint
        self.class_names = names_of(opened.config, workdir) if workdir else self._names_of_config()

    @property
    def run(self):
        """The run that the config describes."""
        return self._opened.run

    def __repr__(self) -> str:
        step = f", step {self.step}" if hasattr(self, "step") else ""
        return f"<{type(self).__name__} {self.config.task}: {self.workdir}{step}, {len(self.class_names)} classes>"

    def __getattr__(self, name: str):
        if name in ("predict", "scores", "embed"):
            raise AttributeError(
                f"runs of the task {self.config.task!r} have no {name}; their results are in the workdir"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def close(self) -> None:
        """Ends the processes of this object, if it has any."""

    def _names_of_config(self) -> list[str]:
        raise ValueError(
            f"task {self.config.task}: a checkpoint of another program cannot be loaded alone; import it with "
            "--mode=import, then load the run"
        )

    def evaluate(self, *, protocol: str = "test") -> dict:
        """`--mode=eval`: scores the validation split and writes the same files -> metrics.

        Args:
          protocol: the config section that describes the clips, "test" or "eval".
        """
        if self.workdir is None:
            raise ValueError("evaluate() needs a workdir: import the checkpoint with --mode=import, then load the run")
        call = Call("eval", self.config, self.workdir, time.perf_counter(), protocol=protocol)
        call = call._replace(checkpoint=None if self._checkpoint is None else str(self._checkpoint))
        if not self.workdir.is_dir():
            raise FileNotFoundError(f"the run {does_not_exist(self.workdir)}; load it again from where it is")
        check_writable(self.workdir, "eval")
        with self._opened.turn(), logging_to(self.workdir / "train.log"):
            return self._opened.task.modes["eval"](self._opened.run, call)

    def propose(self, videos: list[str], *, out: pathlib.Path | None = None) -> dict[str, list[dict]]:
        """Class-agnostic segments of videos, {path: [{"segment": [start, end] in seconds, "score"}]}, for SSN.

        Args:
          out: a folder where features or scores stay, so that a killed call goes on; None: they do not.
        """
        with self._call(video=videos, out=out) as call:
            found = self._opened.task.locate(self._opened.run, call)
        return {each.path: _once(each.segments) for each in found}

    def localize(self, video=None, *, features=None, network=None, proposals=None) -> list[dict]:
        """Where actions are in a video, as `--mode=localize` finds them.

        Args:
          video: a path; or a list, a folder or a pattern of paths. None with `features`.
          features: BSN, BMN: a feature file, or a folder of them, in place of videos.
          network: BSN, BMN: the run that makes the features, if it is not where it was.
          proposals: SSN: a run of BSN, BMN, TSN or TSM, or a result file.

        Returns:
          [{"segment": (start, end) in seconds, "score", and where classes are known "class"}], best first. For several
          videos a row for each, {"video", "segments"}, or {"video", "error"} if it cannot be read; for one video that
          cannot be read the list of its row.

        Raises:
          FileNotFoundError, ValueError: as the mode.
        """
        if self.workdir is None:
            raise ValueError("localize() needs a workdir: import the checkpoint with --mode=import, then load the run")
        with self._call(video=video, features=features, network=network, proposals=proposals) as call:
            found = self._opened.task.locate(self._opened.run, call)
            broken = broken_of(pathlib.Path(call.out))
        rows = [{"video": each.path or each.name, "segments": _pairs(each.segments)} for each in found]
        several = is_several(features if video is None else video)
        return rows + broken if several or len(rows) != 1 else rows[0]["segments"]

    @contextlib.contextmanager
    def _call(self, *, out: pathlib.Path | None = None, **given) -> Iterator["Call"]:
        """A call of localize, whose files are gone at the end unless they go to `out`."""
        given |= dict(checkpoint=None if self._checkpoint is None else str(self._checkpoint), load=self._opened.other)
        with tempfile.TemporaryDirectory(prefix="actjax-") as passing, self._opened.turn(), logging_to(None):
            call = Call("localize", self.config, self.workdir, time.perf_counter(), out=str(out or passing), **given)
            yield call


def broken_of(folder: pathlib.Path) -> list[dict]:
    """The videos that the quarantines of a folder list, each once: [{"video", "error"}]."""
    rows = [row for file in sorted(folder.rglob("quarantine*.jsonl")) for row in entries(file)]
    return [{"video": path, "error": reason} for path, reason in {row["path"]: row["reason"] for row in rows}.items()]


def _once(rows: list[dict]) -> list[dict]:
    """Rows, best first, without classes: each segment with its best score."""
    best = {tuple(row["segment"]): row["score"] for row in reversed(rows)}
    return [{"segment": list(segment), "score": score} for segment, score in reversed(best.items())]


def _pairs(rows: list[dict]) -> list[dict]:
    return [row | {"segment": tuple(row["segment"])} for row in rows]


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
