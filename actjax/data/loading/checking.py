"""A look at every record of a list: what is missing or broken is found before a run, not in it."""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from actjax.data.loading.pool import GuardedPool
from actjax.video.errors import VideoError


class Finding(NamedTuple):
    """What is wrong with a record, or what there is to say of one that is read all the same; None: nothing."""

    fault: str | None = None
    remark: str | None = None


def scan(
    records: Sequence, *, backend: str | Sequence[str] = "pyav", num_workers: int = 2, timeout: float = 30.0
) -> Iterator[Finding]:
    """Decodes every frame of every record, in processes that can be killed -> findings, in their order."""
    num_workers = max(num_workers, 1)
    pool = GuardedPool(functools.partial(_look, backend=backend), num_workers, timeout=timeout)

    def finding(record) -> Finding:
        try:
            return Finding(remark=pool.submit(record, path=record.path).result())
        except VideoError as error:
            return Finding(fault=error.reason)

    with contextlib.closing(pool), ThreadPoolExecutor(2 * num_workers) as threads:  # one waits, one is read
        yield from threads.map(finding, records)


def _look(record, deadline, *, backend: str | Sequence[str]) -> str | None:
    return record.open(backend=backend).check()
