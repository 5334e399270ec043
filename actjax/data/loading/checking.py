"""Checks every record of a list, to find missing and broken files before a run."""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from actjax.data.loading.pool import GuardedPool
from actjax.video.errors import VideoError


class Finding(NamedTuple):
    """The fault of a record that cannot be read, or a remark on one that can; None: nothing to report."""

    fault: str | None = None
    remark: str | None = None


def scan(
    records: Sequence, *, backend: str | Sequence[str] = "pyav", num_workers: int = 2, timeout: float = 30.0
) -> Iterator[Finding]:
    """Decodes every frame of every record in processes that can be killed -> findings, in the order of the records."""
    num_workers = max(num_workers, 1)
    pool = GuardedPool(functools.partial(_look, backend=backend), num_workers, timeout=timeout)

    def finding(record) -> Finding:
        try:
            return Finding(remark=pool.submit(record, path=record.path).result())
        except VideoError as error:
            return Finding(fault=error.reason)

    with contextlib.closing(pool), ThreadPoolExecutor(2 * num_workers) as threads:  # one is read, one waits
        yield from threads.map(finding, records)


def _look(record, deadline, *, backend: str | Sequence[str]) -> str | None:
    return record.open(backend=backend).check()
