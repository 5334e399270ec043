"""Which draws a record gets: a function of (seed, epoch, record, stage), whoever asks and however often."""

import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Place(NamedTuple):
    """A record's place in a training run; all its draws follow from it."""

    seed: int
    epoch: int
    record: int


def generator(seed: int, name: str, *place: int) -> np.random.Generator:
    """The generator of the purpose `name` at up to two numbers of `place`."""
    counter = [0, 0, *(0,) * (2 - len(place)), *place]  # the low words count the draws
    return np.random.Generator(np.random.Philox(key=[seed, zlib.crc32(name.encode())], counter=counter))


def stage_rngs(place: Place | None) -> Callable[[str], np.random.Generator | None]:
    """The generator of every stage at `place`; a new stage leaves the draws of the others alone. None: no draws."""
    return lambda stage: None if place is None else generator(place.seed, stage, place.epoch, place.record)
