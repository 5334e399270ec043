"""Does to a training run what machines and users do: signals, at random times, and a disk that fills."""

import contextlib
import os
import pathlib
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping

from lives import Life, in_session, readers, send

HANG = 180.0  # seconds without a step, an end or a disturbance, after which a run counts as hung
ENDS = {"SIGTERM": signal.SIGTERM, "Ctrl-C": signal.SIGINT, "SIGKILL": signal.SIGKILL}
PATIENCE = 2  # disturbances of readers per `AHEAD` steps: a reader that fails a third time at one video ends the run
AHEAD = 10  # steps after which every video that was being read has been used
_CAUSES = {75: {"SIGTERM", "Ctrl-C"}, -15: {"SIGTERM"}, 130: {"Ctrl-C"}, -9: {"SIGKILL"}, 1: {"disk full"}}


class Broken(Exception):
    """A promise was broken."""


class Disturber:
    """Starts a run until it is complete, and disturbs it meanwhile.

    Args:
      start: (number of the start) -> a new `Life`.
      weights: how often each of the actions is chosen: "reader killed", "reader stopped", "suspended", "disk filled",
        the keys of `ENDS`, and those of `more`.
      pause: mean seconds between two actions.
      timeout: `loader.timeout` of the run. disk: that holds the workdir; None: it is not filled.
      more: further actions; each returns the function that undoes it, or None if there was nothing to do.
    """

    def __init__(
        self,
        start: Callable[[int], Life],
        weights: Mapping[str, int],
        *,
        seed: str,
        pause: float,
        timeout: float,
        disk: pathlib.Path | None = None,
        more: Mapping[str, Callable[[random.Random], Callable | None]] = {},  # noqa: B006
    ):
        self._start, self._pause, self._timeout, self._disk = start, pause, timeout, disk
        self._weights = {name: n for name, n in weights.items() if disk or name != "disk filled"}
        self._random, self._more = random.Random(seed), more
        self._undo: list[tuple[float, Callable]] = []
        self._still = 0.0  # until when a process is stopped
        self._recent: list[int] = []  # the steps at which readers were disturbed
        self._life: Life | None = None
        self.lives: list[Life] = []
        self.lost = 0  # most steps done again after an end

    @property
    def did(self) -> Counter:
        """How often each thing was done."""
        return sum((life.did for life in self.lives), Counter())

    def until_complete(self, *, calm_from: float, limit: float) -> None:
        """Starts the run again and again; from the time `calm_from` on it is left alone.

        Raises:
          Broken: it ends as it must not, hangs, leaves processes behind, or is not complete at the time `limit`.
        """
        try:
            while not self.lives or self.lives[-1].status() != 0:
                if time.monotonic() > limit:
                    raise Broken(f"not complete after {len(self.lives)} starts")
                self._live(calm_from)
        finally:
            self._undone(all=True)
            if self._life:
                self._life.end()

    def _live(self, calm_from: float) -> None:
        before = max((life.last for life in self.lives), default=0)
        self._life = life = self._start(len(self.lives))
        self.lives.append(life)
        self._recent = []
        life.full = self._is_full()
        acts = time.monotonic() + self._random.expovariate(1 / self._pause)
        looks = moved = time.monotonic()
        while (status := life.status()) is None:
            now = time.monotonic()
            if now >= acts and now < calm_from:
                acts = now + self._random.expovariate(1 / self._pause)
                self._act()
            self._undone()
            if now >= looks:
                looks = now + 1.0
                moved = now if life.look() else moved
            if now - max(moved, self._still) > HANG:
                life.send(signal.SIGABRT)  # its stacks are printed: PYTHONFAULTHANDLER
                time.sleep(5)
                raise Broken(f"start {len(self.lives)} hung for {HANG:g} s: {life.log}")
            time.sleep(0.05)
        life.look()
        self._check(status, before)
        self._life = None

    def _act(self) -> None:
        """Does one thing, chosen at random."""
        life, draw = self._life, self._random
        (name,) = draw.choices([*self._weights], [*self._weights.values()])
        if name in ENDS:
            life.send(ENDS[name])
        elif name == "disk filled":
            if self._is_full():
                return
            self._fill()
            life.full = True
        elif name in self._more:
            if (undo := self._more[name](draw)) is None:
                return
            self._later(draw.uniform(1, 15), undo)
        elif not self._disturb_readers(name):
            return
        life.did[name] += 1

    def _disturb_readers(self, name: str) -> bool:
        life, draw = self._life, self._random
        life.look()
        self._recent = [step for step in self._recent if life.last - step < AHEAD]
        found = readers(life.pid)
        if len(self._recent) >= PATIENCE or not found:
            return False
        self._recent.append(life.last)
        pid = draw.choice(found)
        if name == "reader killed":
            send(pid, signal.SIGKILL)
        elif name == "reader stopped":
            send(pid, signal.SIGSTOP)
            self._stopped(self._timeout + draw.uniform(0.5, 10), lambda: send(pid, signal.SIGCONT))
        else:
            life.send(signal.SIGSTOP, group=True)
            self._stopped(draw.uniform(0.2, 4) * self._timeout, lambda: life.send(signal.SIGCONT, group=True))
        return True

    def _fill(self) -> None:
        """Leaves no room, or too little for a checkpoint."""
        file, left = self._disk / "filler", self._random.choice([0, 0, 50_000, 300_000])
        free = shutil.disk_usage(self._disk).free
        with contextlib.suppress(OSError), file.open("wb") as out:
            os.posix_fallocate(out.fileno(), 0, max(free - left, 1))
        self._later(self._random.uniform(1, 15), lambda: file.unlink(missing_ok=True))

    def _is_full(self) -> bool:
        return self._disk is not None and (self._disk / "filler").exists()

    def _later(self, seconds: float, undo: Callable) -> None:
        self._undo.append((time.monotonic() + seconds, undo))

    def _stopped(self, seconds: float, undo: Callable) -> None:
        self._still = max(self._still, time.monotonic() + seconds)
        self._later(seconds, undo)

    def _undone(self, *, all: bool = False) -> None:
        """Undoes what is due."""
        now = time.monotonic()
        due = [pair for pair in self._undo if all or pair[0] <= now]
        self._undo = [pair for pair in self._undo if pair not in due]
        for _, undo in due:
            undo()

    def _check(self, status: int, before: int) -> None:
        """Raises Broken if the last life ended as it must not."""
        life, output = self._life, self._life.output
        told = f"start {len(self.lives)}, after {dict(life.did)}: status {status}, {life.log}"
        errors = [line for line in output.splitlines() if line.startswith("error: ")]
        if "Traceback" in output or "Fatal" in output or len(errors) > 1:
            raise Broken(f"more than a line: {told}")
        causes = {*life.did, *(["disk full"] if life.full else [])}
        if status and not _CAUSES.get(status, set()) & causes:
            raise Broken(f"ended without a cause: {told}")
        if status == 1 and not (errors and "No space left" in errors[0]):
            raise Broken(f"an error of another kind: {told}")
        if life.first is not None:
            self.lost = max(self.lost, before + 1 - life.first)
        self._left_behind(told)

    def _left_behind(self, told: str) -> None:
        """Raises Broken if processes of the run outlive it, and their suspension, by 60 s."""
        end = time.monotonic() + 60
        while left := in_session(self._life.pid):
            self._undone()
            if time.monotonic() > end:
                for pid in left:
                    send(pid, signal.SIGKILL)
                raise Broken(f"readers were left behind: {told}")
            time.sleep(0.1)
