"""The list of files that a run could not decode, shared by all its processes."""

import contextlib
import fcntl
import json
import logging
import os
import pathlib
from collections.abc import Iterable

from actjax.data.loading.endings import MachineError
from actjax.errors import warn_once
from actjax.literal import literal
from actjax.paths import append, does_not_exist, is_url, to_path
from actjax.text_files import read_text
from actjax.video.errors import VideoError, VideoTimeout

log = logging.getLogger(__name__)


class TooManyBroken(RuntimeError):
    """More files are broken than `loader.max_broken` allows."""

    clear = True


class Quarantine:
    """Writes each file that cannot be decoded to `quarantine.jsonl` once, and limits their number.

    Skips files listed in `skip` and files that timed out. Other broken files are retried, so a batch depends on
    (seed, step) only: a file may be broken in part. One that an earlier run listed counts once it fails again.

    Several processes may share a local file: each locks it and reads the others' entries before adding its own.

    Args:
      path: the file; entries of an earlier run are read, and lines that a killed run left unfinished are not.
      num_records: size of the data set; at most a share of `max_share` may be broken.
      skip: the quarantine file of another run; its files are skipped but not counted. "": none.
    """

    def __init__(self, path: str | os.PathLike, *, num_records: int, max_share: float = 0.05, skip: str = ""):
        self.path, self._allowed = to_path(path), max_share * num_records
        self._num_records, self._max_share = num_records, max_share
        self.files: set[str] = set()
        self._left_out = {row["path"] for row in _rows(_given(skip), skip, strict=True)} if skip else set()
        self._learn()
        self._earlier = self.files - self._left_out

    def skips(self, path: str) -> bool:
        """Whether to skip a file. Files that this run listed for any reason but a timeout are tried again."""
        return path in self._left_out

    def add(self, error: VideoError) -> None:
        """Adds a file.

        Raises:
          TooManyBroken: more than `max_share` of the records are broken. MachineError: the list cannot be written.
        """
        self._earlier.discard(error.path)
        row = {"path": error.path, "reason": error.reason, "timeout": isinstance(error, VideoTimeout)}
        if row["timeout"]:
            self._left_out.add(error.path)
        if error.path not in self.files and self._append(row):
            log.warning("cannot decode %s: %s", literal(error.path, lines=False), error.reason)
        number = len(self.files - self._earlier)
        if number > self._allowed:
            raise TooManyBroken(
                f"{number} of {self._num_records} videos cannot be decoded, more than "
                f"loader.max_broken={self._max_share:g} allows, the last one {error}. {self.path} lists them: repair "
                "them or raise loader.max_broken, then repeat the command, which resumes where it stopped"
            )

    def count(self, records: Iterable) -> int:
        """How many of the records any process has listed here."""
        self._learn()
        return len(self.files & {record.path for record in records})

    def _append(self, row: dict) -> bool:
        """Adds a row to the file. False: another process has done so."""
        try:
            with _locked(self.path):
                text = self._learn()
                if row["path"] in self.files:
                    return False
                torn = "\n" if text and not text.endswith("\n") else ""  # a line that a killed process left
                append(self.path, f"{torn}{json.dumps(row)}\n")
        except OSError as error:
            raise MachineError(
                f"{self.path} cannot be written ({error.strerror or error}), to list {row['path']}: {row['reason']}. "
                "Make room, or the folder writable, then repeat the command, which resumes where it stopped"
            ) from error
        self.files.add(row["path"])
        return True

    def _learn(self) -> str:
        """Reads the entries of the file, if it exists -> its text."""
        text = _text(self.path) if self.path.exists() else ""
        rows = _rows(text, self.path)
        self.files |= {row["path"] for row in rows}
        self._left_out |= {row["path"] for row in rows if row["timeout"]}
        return text


def entries(path: pathlib.Path) -> list[dict]:
    """The entries of a quarantine file: `path`, `reason` and `timeout` of each file, in the order of their finding."""
    return _rows(_text(path), path)


def forget(path: pathlib.Path, which: str) -> int:
    """Removes entries from a quarantine file -> their number; the next run tries these files again.

    Args:
      which: "all", "timeouts", or the path of one file as it is listed.
    """
    with _locked(path):
        rows = entries(path)
        kept = [
            row
            for row in rows
            if which != "all" and not (row["timeout"] if which == "timeouts" else row["path"] == which)
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in kept))
    return len(rows) - len(kept)


@contextlib.contextmanager
def _locked(path: pathlib.Path):
    """Locks a local file; a file in an object store has a single writer anyway."""
    if is_url(path):
        yield
        return
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed
        yield


def _given(skip: str) -> str:
    """The text of a file that another run, or the user, wrote."""
    _exists(to_path(skip))
    return read_text(skip, what="a quarantine file")


def _exists(file: pathlib.Path) -> None:
    if not file.is_file():
        raise FileNotFoundError(f"quarantine file {does_not_exist(file)}")


def _text(file: pathlib.Path) -> str:
    """The text of this run's file, which may end in the middle of a line."""
    _exists(file)
    return file.read_bytes().decode(errors="replace")


def _rows(text: str, name, *, strict: bool = False) -> list[dict]:
    """The entries of a quarantine file, without lines that hold none. `strict`: ValueError, except for a torn end."""
    rows, lines = [], [line for line in text.split("\n") if line]
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            rows.append(
                {"path": row["path"] + "", "reason": row.get("reason", ""), "timeout": row.get("timeout", False)}
            )
        except (ValueError, KeyError, TypeError) as error:
            problem = f'{name}: {line[:80]!r}; expected lines {{"path": ..., "reason": ...}}'
            if strict and (number < len(lines) or text.endswith("\n")):
                raise ValueError(problem) from error
            warn_once(f"{problem}; left out")
    return rows
