"""Clips all along videos, from a process that can be killed."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from typing import NamedTuple

from actjax.data.loading.processes import Deadline, GuardedProcess, blame, sendable
from actjax.video.errors import VideoError


class Summary(NamedTuple):
    """Videos done now, done before, and not readable."""

    done: int
    before: int
    broken: int


def each_video(records: Iterable, snippets, use: Callable, *, quarantine, timeout: float) -> int:
    """`use(record, parts)` of every record, `parts` what `snippets.read` gives, from a process that can be killed ->
    how many could be read; the others go to the quarantine.

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
      snippets: `Snippets`, or what else has such a `read`.
      timeout: seconds that opening a video, or any chunk of it, may take.
    """

    def __init__(self, snippets, *, timeout: float = 30.0):
        self._snippets, self._timeout, self._process = snippets, timeout, None

    def read(self, record) -> Iterator:
        """As `snippets.read`; a video that hangs or crashes its decoder is a VideoError, too."""
        if self._process is None:
            self._process = GuardedProcess(_serve, self._snippets, self._timeout)
        try:
            self._process.channel.send(record)
            while (answer := self._process.channel.recv()) is not None:
                if isinstance(answer, Exception):
                    raise answer
                yield answer
        except (EOFError, OSError):
            status, self._process = self._process.wait(), None
            raise blame(record.path, status, self._timeout) from None

    def close(self) -> None:
        """Ends the process, whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _serve(channel: Connection, snippets, timeout: float) -> None:
    """The process's side: sends what it reads of every record it gets, then None, or an error."""
    deadline = Deadline(timeout)
    while True:
        record = channel.recv()
        try:
            with deadline:
                for part in snippets.read(record):
                    deadline.pause()  # waiting for who takes it is no decoding
                    channel.send(part)
                    deadline.renew()
            channel.send(None)
        except VideoError as error:
            channel.send(error)
        except (EOFError, ConnectionError):
            raise
        except Exception as error:  # a fault in the code; the caller raises it
            channel.send(sendable(error))
