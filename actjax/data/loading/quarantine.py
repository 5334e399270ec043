"""The files of a run that could not be decoded: a list that all its processes share."""

import contextlib
import fcntl
import json
import logging
import os
import pathlib

from actjax.paths import append, is_url, to_path
from actjax.video.errors import VideoError, VideoTimeout

log = logging.getLogger(__name__)


class Quarantine:
    """Files that could not be decoded: written to `quarantine.jsonl` once each, counted and bounded.

    Skips files listed in `skip` and files that timed out. Other broken files are retried, so a batch depends on
    (seed, step) only: a file may be broken in part.

    Several processes may share a local file: each adds to it under a lock, after reading what the others have added.

    Args:
      path: the file; what an earlier run wrote there is read.
      num_records: of the data set; at most `max_share` of them may be broken.
      skip: the quarantine of another run, whose files are left out as if they were broken, but not counted; "": none.
    """

    def __init__(self, path: str | os.PathLike, *, num_records: int, max_share: float = 0.05, skip: str = ""):
        self.path, self._allowed = to_path(path), max_share * num_records
        self._num_records, self._max_share = num_records, max_share
        self.files: set[str] = set()
        self._left_out = {row["path"] for row in _rows(to_path(skip))} if skip else set()
        self._learn()

    def skips(self, path: str) -> bool:
        """Whether a file is left out. One that is listed for another reason than time is tried again."""
        return path in self._left_out

    def add(self, error: VideoError) -> None:
        """Raises RuntimeError once more than `max_share` of the records are broken."""
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

    def _learn(self) -> None:
        """Takes over what stands in the file, if there is one."""
        rows = _rows(self.path) if self.path.exists() else []
        self.files |= {row["path"] for row in rows}
        self._left_out |= {row["path"] for row in rows if row["timeout"]}


@contextlib.contextmanager
def _locked(path: pathlib.Path):
    """A local file is nobody else's meanwhile; one in an object store has a single writer anyway."""
    if is_url(path):
        yield
        return
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed
        yield


def _rows(file: pathlib.Path) -> list[dict]:
    """What a quarantine says, a row for each file."""
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
