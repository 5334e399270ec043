"""A process that trains, its readers, and their memory, seen from outside: through /proc, which only Linux has."""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

PAGE = os.sysconf("SC_PAGE_SIZE") / 2**20  # MB


class Life:
    """One start of a run, in a session of its own, until it ends.

    Attributes:
      pid: of the trainer. log: what it printed. did: how often each thing was done to it. full: its disk was, at some
        time. first, last: steps that it reported.
      memory: RSS of the trainer in MB, once a second from its second evaluation on. readers: of each reader, the
        highest.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: pathlib.Path):
        self.log, self.did = log, Counter()
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                command, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )
        self.pid, self.first, self.last, self.told = self._process.pid, None, 0, 0
        self.full = False
        self.memory: list[float] = []
        self.readers: dict[int, float] = {}

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def status(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.poll()

    def look(self) -> bool:
        """Notes memory and steps -> whether it moved on."""
        text = self.output
        for pid in readers(self.pid):
            self.readers[pid] = max(self.readers.get(pid, 0.0), rss(pid))
        if text.count("  validation  ") > 1 and (size := rss(self.pid)):
            self.memory.append(size)
        before, self.told = self.told, len(text)
        if steps := [int(step) for step in re.findall(r"step (\d+)/", text)]:
            self.first, self.last = steps[0], steps[-1]
        return self.told > before

    def send(self, number: signal.Signals, *, group: bool = False) -> None:
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.pid, number)

    def end(self) -> None:
        """Kills it, and its readers, unless it has ended."""
        if self.status() is None:
            self.send(signal.SIGKILL, group=True)
            self._process.wait(30)


def send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _stats() -> Iterator[tuple[int, list[str]]]:
    """Process ID, and the fields of /proc/PID/stat behind the name: state, parent, group, session, ..."""
    for folder in pathlib.Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                yield int(folder.name), (folder / "stat").read_text().rpartition(")")[2].split()


def readers(trainer: int) -> list[int]:
    """The reader processes of a trainer."""
    found = []
    for pid, stat in _stats():
        if stat[1] == str(trainer) and stat[0] != "Z":
            with contextlib.suppress(OSError):
                if b"loading.serving" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
    return sorted(found)


def in_session(leader: int) -> list[int]:
    return [pid for pid, stat in _stats() if stat[3] == str(leader) and stat[0] != "Z"]


def rss(pid: int) -> float:
    """Memory of a process in MB; 0: it has ended."""
    try:
        return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0.0


def rows(workdir: pathlib.Path) -> list[dict]:
    """What a run reported, without the numbers that measure time."""
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    timed = ("clips_per_s", "data_wait")
    return [{name: x for name, x in json.loads(line).items() if name not in timed} for line in lines]
