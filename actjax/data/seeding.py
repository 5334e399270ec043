"""Random draws as a pure function of (seed, epoch, record, transform)."""

import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Place(NamedTuple):
    """A record's place in a training run, which determines all its draws."""

    seed: int
    epoch: int
    record: int


def generator(seed: int, name: str, *place: int) -> np.random.Generator:
    """The generator for purpose `name` at `place`, up to two numbers."""
    counter = [0, 0, *(0,) * (2 - len(place)), *place]  # the two low words count the draws
    return np.random.Generator(np.random.Philox(key=[seed, zlib.crc32(name.encode())], counter=counter))


def transform_rngs(place: Place | None) -> Callable[[str], np.random.Generator | None]:
    """Transform name -> its own generator at `place`, so new transforms leave other draws unchanged. None: no draws."""
    return lambda stage: None if place is None else generator(place.seed, stage, place.epoch, place.record)
