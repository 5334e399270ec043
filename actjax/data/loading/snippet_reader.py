"""Clips all along videos, from a process that can be killed."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from actjax.data.loading.pool import Ended, GuardedPool
from actjax.data.loading.processes import blame
from actjax.video.errors import VideoError


class Summary(NamedTuple):
    """Videos done now, done before, and not readable."""

    done: int
    before: int
    broken: int


def each_video(records: Iterable, snippets, use: Callable, *, quarantine, timeout: float) -> int:
    """`use(record, parts)` of every record, `parts` from `SnippetReader.read` -> how many videos could be read; the
    others go to the quarantine.

    Raises:
      RuntimeError: more broken videos than the quarantine allows.
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


class SnippetReader:
    """`snippets.read` in a process of its own, which decodes the next clips while the last ones are used.

    Args:
      snippets: `Snippets`, or another object with such a `read`.
      timeout: seconds that opening a video, or any chunk of it, may take.
    """

    def __init__(self, snippets, *, timeout: float = 30.0):
        self._timeout = timeout
        self._pool = GuardedPool(functools.partial(_parts, snippets=snippets), 1, timeout=timeout)

    def read(self, record) -> Iterator:
        """As `snippets.read`; a video that hangs or crashes its decoder is a VideoError, too."""
        try:
            yield from self._pool.stream(record)
        except Ended as end:
            raise blame(record.path, end.status, self._timeout) from None

    def close(self) -> None:
        """Ends the process, whatever it does."""
        self._pool.close()


def _parts(record, deadline, *, snippets) -> Iterator:
    return snippets.read(record)
