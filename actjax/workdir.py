"""A run's log and its output files other than metrics and checkpoints. Only process 0 writes."""

import contextlib
import csv
import importlib.metadata
import io
import json
import logging
import pathlib
import platform
import subprocess
import sys
import time
from collections.abc import Iterator

import jax
import numpy as np
import rich
from rich.logging import RichHandler
from rich.markup import escape

from actjax.config.changes import differences, told
from actjax.literal import literal
from actjax.paths import Spool, is_url, replace, rewrite, unused
from actjax.showing import Table, show

log = logging.getLogger("actjax")

_PACKAGES = "actjax jax jaxlib flax optax orbax-checkpoint grain numpy av decord decord2 opencv-python-headless"


@contextlib.contextmanager
def logging_to(file: pathlib.Path | None) -> Iterator[None]:
    """A context that sends the package's log to the terminal, or the notebook, and to `file`.

    Inside another such context only the file is added. An object store has the whole file at the end.
    """
    handlers = [] if any(isinstance(handler, _SHOWN) for handler in log.handlers) else [_shown()]
    if file is not None and jax.process_index() == 0:
        file.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(_LogFile(Spool(file.parent), file.name))
    for handler in handlers:
        time_of_rich = isinstance(handler, RichHandler)
        handler.setFormatter(_Literal("%(message)s" if time_of_rich else "%(asctime)s %(message)s", "%H:%M:%S"))
        log.addHandler(handler)
    level, propagate = log.level, log.propagate
    log.setLevel(logging.INFO if jax.process_index() == 0 else logging.WARNING)
    log.propagate = False
    try:
        yield
    finally:
        log.level, log.propagate = level, propagate
        for handler in handlers:
            log.removeHandler(handler)
            if isinstance(handler, _LogFile):
                handler.upload()  # `logging.shutdown` is too late: no connection can be made
                handler.close()


class _Literal(logging.Formatter):
    """What names hold that a terminal would obey is shown, and not sent to it."""

    def format(self, record: logging.LogRecord) -> str:
        return literal(super().format(record))


class _Terminal(logging.StreamHandler):
    """Writes to standard output, whatever that is at the time: notebooks replace it."""

    def __init__(self):
        super().__init__(sys.stdout)

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stdout
        super().emit(record)


_SHOWN = (_Terminal, RichHandler)


def _shown() -> logging.Handler:
    live = rich.get_console().is_terminal
    return RichHandler(show_path=False, show_level=False, log_time_format="%X") if live else _Terminal()


class _LogFile(logging.FileHandler):
    """A log file; in an object store it is uploaded once a minute and by `upload`. A full disk costs it lines."""

    failed = False

    def __init__(self, spool: Spool, name: str):
        super().__init__(spool.file(name), encoding="utf-8", errors="backslashreplace")
        self._spool, self._uploaded = spool, time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        if time.monotonic() - self._uploaded > 60:
            self.upload()

    def upload(self) -> None:
        self._spool.upload()
        self._uploaded = time.monotonic()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - its name in logging
        """Says once, on the terminal alone, that the file cannot be written."""
        if not self.failed:
            self.failed = True
            print(f"{self.baseFilename} cannot be written: {sys.exception()}", file=sys.stderr, flush=True)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


def progress(items, total: int, what: str):
    """Iterates over `items`, with a progress bar on a terminal."""
    from rich.progress import track

    console = rich.get_console()
    return track(
        items,
        total=total,
        description=escape(literal(what, lines=False)),
        console=console,
        disable=not console.is_terminal,
    )


def save_description(workdir: pathlib.Path, config, class_names: list[str], *, decoder: str | None = None) -> None:
    """Writes config.json, environment.json and class_names.json; warns if a resumed run has a different config.

    To be called once the run is known to work, that is, after its checkpoint is restored.

    decoder: name and version of the video library; None: no videos are read.
    """
    if jax.process_index():
        return
    workdir.mkdir(parents=True, exist_ok=True)
    path, names = workdir / "config.json", workdir / "class_names.json"
    text = config.to_json_best_effort(indent=2)
    if changes := changed(workdir, config):
        old = unused(workdir / "config.json.old")
        old.write_bytes(path.read_bytes())
        log.warning("the config of this workdir has changed: %s; the old one is in %s", told(changes), old)
    if names.exists() and names.read_text() != json.dumps(class_names):
        old = unused(workdir / "class_names.json.old")
        old.write_bytes(names.read_bytes())
        log.warning("the class names of this workdir have changed; the old ones are in %s", old)
    environment = {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version for name in _PACKAGES.split() if (version := _version(name))},
        "decoder": decoder,
        "devices": [device.device_kind for device in jax.devices()],
        "processes": jax.process_count(),
        "commit": _commit(),
    }
    rewrite(path, text)
    rewrite(workdir / "environment.json", json.dumps(environment, indent=2))
    rewrite(names, json.dumps(class_names))


def changed(workdir: pathlib.Path, config) -> list[tuple[str, object, object]]:
    """The differences between the config that a run saved and `config`; [] if it saved none."""
    try:
        known = json.loads((workdir / "config.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return []
    return list(differences(known, json.loads(config.to_json_best_effort())))


def _commit() -> str | None:
    """The commit of this code; None outside of a repository, or without git."""
    here = pathlib.Path(__file__).parent
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=here, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


def _version(package: str) -> str | None:
    """The installed version, or None if the package is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def save_scores(path: pathlib.Path, names: list[str], scores: np.ndarray, labels: np.ndarray) -> None:
    """Writes the scores of every video, [n, k] or [n, v, k], for `python -m actjax.metrics accuracy`."""
    if jax.process_index() == 0:
        content = io.BytesIO()
        np.savez_compressed(content, name=np.array(names), scores=scores, label=labels)
        if is_url(path):
            path.write_bytes(content.getbuffer())
        else:
            replace(path, lambda file: file.write(content.getbuffer()))


def save_results(workdir: pathlib.Path, name: str, metrics: dict, class_names: list[str]) -> None:
    """Writes numbers to NAME.json and each class-by-class matrix to its own CSV file; prints the numbers.

    A matrix `hard/confusion_matrix` is written to hard_confusion_matrix.csv, for the name results_eval to
    hard_confusion_matrix_eval.csv. Metrics under the key `best` are printed in a column of their own.
    """
    if jax.process_index():
        return
    matrices = {key: value for key, value in metrics.items() if np.ndim(value) == 2}
    numbers = {key: value for key, value in metrics.items() if key not in matrices}
    ending = name.removeprefix("results")
    for key, matrix in matrices.items():
        lines = [
            ["real \\ predicted", *class_names],
            *([row, *cells] for row, cells in zip(class_names, matrix, strict=True)),
        ]
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(lines)
        whole = text.getvalue().encode(errors="backslashreplace").decode()  # names of folders may be no text
        rewrite(workdir / f"{key.replace('/', '_')}{ending}.csv", whole)
    rewrite(workdir / f"{name}.json", json.dumps(numbers, indent=2, default=float))
    show_results(workdir, name, numbers)


def saved_results(workdir: pathlib.Path, name: str) -> dict | None:
    """What `save_results` wrote, matrices included; None if it did not, or if the file is damaged."""
    with contextlib.suppress(OSError, ValueError, TypeError, IndexError):
        return _read_results(workdir, name)
    return None


def _read_results(workdir: pathlib.Path, name: str) -> dict | None:
    numbers = json.loads((workdir / f"{name}.json").read_bytes())
    if not isinstance(numbers, dict):
        return None
    ending = f"confusion_matrix{name.removeprefix('results')}.csv"
    for path in sorted(workdir.glob(f"*{ending}")):
        with path.open(newline="", encoding="utf-8") as file:  # names may hold line ends
            rows = list(csv.reader(file))[1:]
        evaluator = path.name.removesuffix(ending).removesuffix("_")
        key = f"{evaluator}/confusion_matrix" if evaluator else "confusion_matrix"
        numbers[key] = [[int(cell) for cell in row[1:]] for row in rows]
    return numbers


def show_results(workdir: pathlib.Path, name: str, numbers: dict) -> None:
    """Prints results, and where their files are."""
    if jax.process_index():
        return
    value = lambda x: f"{x:.4f}" if isinstance(x, float) else str(x)
    best = numbers.get("best")
    shown = {key: x for key, x in numbers.items() if key not in ("step", "best") or best is None}
    columns = ("value",) if best is None else (f"last, step {numbers['step']}", f"best, step {best['step']}")
    table = Table("metric", *columns, title=name)
    for key, x in shown.items():
        table.add_row(key, value(x), *([] if best is None else [value(best[key]) if key in best else ""]))
    show(table)
    if best is not None:
        show(
            f"--mode=eval and --mode=predict take the best checkpoint, step {best['step']}; "
            f"--checkpoint=latest takes step {numbers['step']}"
            if best["step"] != numbers["step"]
            else f"the best checkpoint, which --mode=eval and --mode=predict take, is the last one, step {best['step']}"
        )
    for what, file in ((name, f"{name}.json"), ("checkpoints", "checkpoints"), ("log", "train.log")):
        show(f"{what:12} {workdir / file}")
