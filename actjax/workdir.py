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

from actjax.paths import Spool
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
        if not isinstance(handler, RichHandler):
            handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
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
    """A log file; in an object store it is uploaded once a minute and by `upload`."""

    def __init__(self, spool: Spool, name: str):
        super().__init__(spool.file(name))
        self._spool, self._uploaded = spool, time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        if time.monotonic() - self._uploaded > 60:
            self.upload()

    def upload(self) -> None:
        self._spool.upload()
        self._uploaded = time.monotonic()


def progress(items, total: int, what: str):
    """Iterates over `items`, with a progress bar on a terminal."""
    from rich.progress import track

    console = rich.get_console()
    return track(items, total=total, description=what, console=console, disable=not console.is_terminal)


def save_description(workdir: pathlib.Path, config, class_names: list[str], *, decoder: str | None = None) -> None:
    """Writes config.json, environment.json and class_names.json; warns if a resumed run has a different config.

    decoder: name and version of the video library; None: no videos are read.
    """
    if jax.process_index():
        return
    path = workdir / "config.json"
    text = config.to_json_best_effort(indent=2)
    if path.exists() and json.loads(path.read_text()) != json.loads(text):
        path.with_name("config.json.old").write_text(path.read_text())
        log.warning("this run resumes with a different config; the old config is in %s.old", path)
    path.write_text(text)
    here = pathlib.Path(__file__).parent
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=here)
    environment = {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version for name in _PACKAGES.split() if (version := _version(name))},
        "decoder": decoder,
        "devices": [device.device_kind for device in jax.devices()],
        "processes": jax.process_count(),
        "commit": commit.stdout.strip() or None,
    }
    (workdir / "environment.json").write_text(json.dumps(environment, indent=2))
    (workdir / "class_names.json").write_text(json.dumps(class_names))


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
        path.write_bytes(content.getbuffer())


def save_results(workdir: pathlib.Path, name: str, metrics: dict, class_names: list[str]) -> None:
    """Writes numbers to NAME.json and each class-by-class matrix to its own CSV file; prints the numbers.

    A matrix `hard/confusion_matrix` is written to hard_confusion_matrix.csv.
    """
    if jax.process_index():
        return
    matrices = {key: value for key, value in metrics.items() if np.ndim(value) == 2}
    numbers = {key: value for key, value in metrics.items() if key not in matrices}
    (workdir / f"{name}.json").write_text(json.dumps(numbers, indent=2, default=float))
    for key, matrix in matrices.items():
        lines = [
            ["real \\ predicted", *class_names],
            *([row, *cells] for row, cells in zip(class_names, matrix, strict=True)),
        ]
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(lines)
        (workdir / f"{key.replace('/', '_')}.csv").write_text(text.getvalue())
    table = Table("metric", "value", title=name)
    for key, value in numbers.items():
        table.add_row(key, f"{value:.4f}" if isinstance(value, float) else str(value))
    show(table)
    for what, file in ((name, f"{name}.json"), ("checkpoints", "checkpoints"), ("log", "train.log")):
        show(f"{what:12} {workdir / file}")
