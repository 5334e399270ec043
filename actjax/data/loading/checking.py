"""A look at every record of a list: what is missing or broken is found before a run, not in it."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from actjax.data.clips.spec import Clip
from actjax.data.loading.pool import Readers
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

    def look(record) -> Finding:
        try:
            return Finding(remark=readers.read(record).label)
        except VideoError as error:
            return Finding(fault=error.reason)

    with (
        contextlib.closing(Readers(_Look(backend), num_workers, timeout=timeout)) as readers,
        ThreadPoolExecutor(num_workers) as threads,
    ):
        yield from threads.map(look, records)


class _Look(NamedTuple):
    """What stands in for a protocol: no clip, and the remark as the label."""

    backend: str | Sequence[str]
    clip_shape: tuple[int, ...] = (1, 1, 1, 1, 1)

    def read(self, record, *, rngs: Callable, out: np.ndarray) -> Clip:
        return Clip(out, record.open(backend=self.backend).check(), np.zeros(0, int), [])
