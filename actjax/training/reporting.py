"""Progress bar, metrics.jsonl and TensorBoard events of a run, written by process 0 only."""

import contextlib
import json
import logging
import math
import pathlib
import time

import jax
import numpy as np
import rich
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from actjax.paths import Spool, naming, rewrite

log = logging.getLogger(__name__)

PATIENCE = 30.0  # seconds without a line that need no explanation


class Report:
    """Writes the metrics of a run to files and to the terminal."""

    def __init__(self, workdir: pathlib.Path, *, first_step: int, steps: int, batch_size: int):
        self._on = jax.process_index() == 0
        self._steps, self._batch_size, self._done = steps, batch_size, first_step
        self._clock, self._first_steps = time.perf_counter(), 0.0
        if not self._on:
            return
        self._spool = Spool(workdir)
        self._path = self._spool.file("metrics.jsonl")
        self._forget_after(first_step)
        self._events = _EventFile(self._spool.path, first_step=first_step + 1)
        console = rich.get_console()  # shared with the log lines that scroll above the bar
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[numbers]}"),
            TextColumn("eta"), TimeRemainingColumn(), console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self._live = console.is_terminal
        self._bar = self._progress.add_task("training", total=steps, completed=first_step, numbers="")
        self._progress.start()

    def advance(self, step: int) -> None:
        """Moves the progress bar."""
        if self._on:
            self._progress.update(self._bar, completed=step)

    def pace(self, step: int, numbers, *, log_every: int) -> None:
        """Says after the second step when the first line comes, if that takes long; waits for the first two steps."""
        jax.block_until_ready(numbers)
        before, self._first_steps = self._first_steps, time.perf_counter() - self._clock
        seconds, due = self._first_steps - before, min(-(-step // log_every) * log_every, self._steps)
        if before and self._on and not self._live and seconds * (due - step) > PATIENCE:
            wait = _clock(seconds * (due - step))
            log.info("a step takes %.1f s; the first line comes at step %d, in %s", seconds, due, wait)

    def train(self, step: int, epoch: float, numbers: dict[str, float], *, waited: float) -> None:
        """Reports the numbers of a training step; `waited`: seconds since the last report spent waiting for data."""
        now = time.perf_counter()
        seconds, steps = now - self._clock, step - self._done
        self._clock, self._done = now, step
        rate = steps * self._batch_size / seconds
        numbers = numbers | {"clips_per_s": rate, "data_wait": min(waited / seconds, 1.0)}
        self._write(step, epoch, "train", numbers)
        if self._on:
            line = f"loss {numbers['loss']:.3f}  {rate:.1f} clips/s  data wait {numbers['data_wait']:.0%}"
            self._progress.update(self._bar, numbers=line)
            if not self._live:
                eta = (self._steps - step) * seconds / steps
                log.info("step %d/%d  epoch %.2f  %s  eta %s", step, self._steps, epoch, line, _clock(eta))

    def evaluation(self, step: int, epoch: float, metrics: dict[str, float]) -> None:
        """Reports the metrics of the validation set and of further evaluators, whose names have a prefix."""
        self._write(step, epoch, "val", metrics)
        for evaluator in dict.fromkeys(name.rpartition("/")[0] for name in metrics) if self._on else ():
            own = {name: value for name, value in metrics.items() if name.rpartition("/")[0] == evaluator}
            words = "  ".join(f"{name.rpartition('/')[2]} {value:.4g}" for name, value in own.items())
            log.info("epoch %.2f  %s  %s", epoch, evaluator or "validation", words)

    @contextlib.contextmanager
    def not_training(self):
        """A context whose time (evaluation, checkpoints) does not count as training."""
        start = time.perf_counter()
        yield
        self._clock += time.perf_counter() - start

    def upload(self) -> None:
        """Copies everything written so far to the object store, if the workdir is there."""
        if self._on:
            self._spool.upload()

    def close(self) -> None:
        if self._on:
            self._progress.stop()
            self._events.close()
            self._spool.upload()

    def _write(self, step: int, epoch: float, split: str, numbers: dict[str, float]) -> None:
        if not self._on:
            return
        row = {"step": step, "epoch": round(epoch, 4), "split": split, **numbers}
        tags = {name if "/" in name else f"{split}/{name}": value for name, value in numbers.items()}
        with naming(self._path):
            with self._path.open("a") as file:
                file.write(json.dumps(row) + "\n")
            self._events.write(step, tags)

    def _forget_after(self, step: int) -> None:
        """Drops rows of steps that a resumed run will repeat."""
        if self._path.exists():
            rows = [line for line in self._path.read_text().splitlines() if _step_of(line) <= step]
            rewrite(self._path, "".join(f"{row}\n" for row in rows))


class _EventFile:
    """A TensorBoard event file, written at once: tensorboardX's own writer waits for ever after its disk was full.

    TensorBoard drops what earlier files say of `first_step` and later steps.
    """

    def __init__(self, folder: pathlib.Path, *, first_step: int):
        from tensorboardX import event_file_writer, proto, summary  # imports torch if it is installed: seconds

        self._event, self._scalar = proto.event_pb2.Event, summary.scalar
        self._file = event_file_writer.EventsWriter(str(folder / "events"))
        start = proto.event_pb2.SessionLog(status=proto.event_pb2.SessionLog.START)
        self._file.write_event(self._event(wall_time=time.time(), step=first_step, session_log=start))

    def write(self, step: int, numbers: dict[str, float]) -> None:
        for tag, value in numbers.items():
            scalar = self._scalar(tag, value)
            self._file.write_event(self._event(wall_time=time.time(), step=step, summary=scalar))
        self._file.flush()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # of the last flush, which `write` has made before
            self._file.close()


def scalars(metrics: dict) -> dict[str, float]:
    """The metrics that are single numbers."""
    return {name: float(value) for name, value in metrics.items() if np.ndim(value) == 0}


def check_finite(step: int, numbers: dict[str, float]) -> None:
    """Raises FloatingPointError if one of the numbers is not finite."""
    for name, value in numbers.items():
        if not math.isfinite(value):
            error = FloatingPointError(f"{name} is {value} at step {step}; a lower optim.lr or clip_norm may help")
            error.clear = True
            raise error


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except json.JSONDecodeError:  # the killed run's last, half-written line
        return math.inf


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
