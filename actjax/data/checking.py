"""A fast look at every record of a list: what is missing or broken is found before a run, not in it."""

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from actjax.data.reader import Readers
from actjax.data.stages import Protocol
from actjax.video import views
from actjax.video.decoding import VideoError


def scan(
    records: Sequence, *, backend: str = "decord", modality: str = "RGB", num_workers: int = 2, timeout: float = 30.0
) -> Iterator[str | None]:
    """Decodes the first, the middle and the last frame of every record -> in their order, None or what is wrong."""
    protocol = Protocol(_three_frames, _small, backend=backend, modality=modality)
    num_workers = max(num_workers, 1)

    def look(record) -> str | None:
        try:
            readers.read(record)
        except VideoError as error:
            return error.reason

    with (
        contextlib.closing(Readers(protocol, num_workers, timeout=timeout)) as readers,
        ThreadPoolExecutor(num_workers) as threads,
    ):
        yield from threads.map(look, records)


def _three_frames(num_frames: int, *, rng: np.random.Generator | None) -> np.ndarray:
    return np.array([[0, num_frames // 2, num_frames - 1]])


def _small(height: int, width: int, *, rng: np.random.Generator | None) -> list[views.View]:
    return [views.resize(height, width, scale=(8, 8), keep_ratio=False)]
