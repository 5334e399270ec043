"""Decodes clips that cover whole videos, in a process that can be killed."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from actjax.data.loading.endings import Ended, blame
from actjax.data.loading.pool import GuardedPool
from actjax.video.errors import VideoError


class Summary(NamedTuple):
    """Numbers of videos done now, done before, and unreadable."""

    done: int
    before: int
    broken: int


def each_video(records: Iterable, snippets, use: Callable, *, quarantine, timeout: float) -> int:
    """Calls `use(record, parts)` for every record, `parts` from `SnippetReader.read` -> number of readable videos.

    Unreadable videos go to the quarantine. Raises RuntimeError if there are more than the quarantine allows.
    """
    done = 0
    with contextlib.closing(SnippetReader(snippets, timeout=timeout)) as reader:
        for record in records:
            try:
                use(record, reader.read(record))
            except VideoError as error:
                quarantine.add(error)
                continue
            done += 1
    return done


def counted(records: Sequence, progress: Callable, what: str) -> tuple[Iterable, Callable | None]:
    """The records, with a progress bar that counts them; of a single one the clips are counted instead.

    Args:
      progress: (items, total, what) -> the same items, such as `workdir.progress`.

    Returns:
      The records for `each_video`, and `watch` for `clips.snippets.embedded`; None: clips are not counted.
    """
    return (records, progress) if len(records) == 1 else (progress(records, len(records), what), None)


class SnippetReader:
    """Runs `snippets.read` in its own process, which decodes the next clips while the caller uses the last ones.

    Args:
      snippets: `Snippets`, or another object with the same `read`.
      timeout: seconds that opening a video, or decoding a chunk of it, may take.
    """

    def __init__(self, snippets, *, timeout: float = 30.0):
        self._timeout = timeout
        self._pool = GuardedPool(functools.partial(_parts, snippets=snippets), 1, timeout=timeout)

    def read(self, record) -> Iterator:
        """Like `snippets.read`; also raises VideoError if a video hangs or crashes its decoder."""
        try:
            yield from self._pool.stream(record)
        except Ended as end:
            raise blame(record.path, end.status, self._timeout) from None

    def close(self) -> None:
        """Kills the process, whatever it is doing."""
        self._pool.close()


def _parts(record, deadline, *, snippets) -> Iterator:
    return snippets.read(record)
