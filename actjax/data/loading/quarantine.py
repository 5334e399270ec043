"""The list of files that a run could not decode, shared by all its processes."""

import contextlib
import fcntl
import json
import logging
import os
import pathlib
from collections.abc import Iterable

from actjax.paths import append, is_url, to_path
from actjax.video.errors import VideoError, VideoTimeout

log = logging.getLogger(__name__)


class Quarantine:
    """Writes each file that cannot be decoded to `quarantine.jsonl` once, and limits their number.

    Skips files listed in `skip` and files that timed out. Other broken files are retried, so a batch depends on
    (seed, step) only: a file may be broken in part.

    Several processes may share a local file: each locks it and reads the others' entries before adding its own.

    Args:
      path: the file; entries of an earlier run are read.
      num_records: size of the data set; at most a share of `max_share` may be broken.
      skip: the quarantine file of another run; its files are skipped but not counted. "": none.
    """

    def __init__(self, path: str | os.PathLike, *, num_records: int, max_share: float = 0.05, skip: str = ""):
        self.path, self._allowed = to_path(path), max_share * num_records
        self._num_records, self._max_share = num_records, max_share
        self.files: set[str] = set()
        self._left_out = {row["path"] for row in _rows(to_path(skip))} if skip else set()
        self._learn()

    def skips(self, path: str) -> bool:
        """Whether to skip a file. Files that this run listed for any reason but a timeout are tried again."""
        return path in self._left_out

    def add(self, error: VideoError) -> None:
        """Adds a file. Raises RuntimeError once more than `max_share` of the records are broken."""
        row = {"path": error.path, "reason": error.reason, "timeout": isinstance(error, VideoTimeout)}
        if row["timeout"]:
            self._left_out.add(error.path)
        if error.path in self.files:
            return
        with _locked(self.path):
            self._learn()
            if error.path in self.files:
                return
            append(self.path, json.dumps(row) + "\n")
        self.files.add(error.path)
        log.warning("cannot decode %s: %s", error.path, error.reason)
        if len(self.files) > self._allowed:
            raise RuntimeError(
                f"{len(self.files)} of {self._num_records} videos cannot be decoded, more than "
                f"loader.max_broken={self._max_share:g} allows; see {self.path}"
            )

    def count(self, records: Iterable) -> int:
        """How many of the records any process has listed here."""
        self._learn()
        return len(self.files & {record.path for record in records})

    def _learn(self) -> None:
        """Reads the entries of the file, if it exists."""
        rows = _rows(self.path) if self.path.exists() else []
        self.files |= {row["path"] for row in rows}
        self._left_out |= {row["path"] for row in rows if row["timeout"]}


@contextlib.contextmanager
def _locked(path: pathlib.Path):
    """Locks a local file; a file in an object store has a single writer anyway."""
    if is_url(path):
        yield
        return
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed
        yield


def _rows(file: pathlib.Path) -> list[dict]:
    """The entries of a quarantine file."""
    if not file.is_file():
        raise FileNotFoundError(f"quarantine file {file} does not exist")
    rows = []
    for line in file.read_text().splitlines():
        try:
            rows.append({"timeout": False} | json.loads(line))
            rows[-1]["path"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f'{file}: {line!r}; expected lines {{"path": ..., "reason": ...}}') from error
    return rows
