"""A sampler and a crop."""

import numpy as np

from actjax.video import views
from motion.grid import corner_of


def evenly(count, *, rng=None, num: int):
    """Frame indices [1, num], at a common random offset."""
    step = count / num
    start = 0.5 if rng is None else rng.random()
    return ((np.arange(num) + start) * step).astype(int)[None]


def corner(height, width, *, rng=None, side: int):
    """One square at a random corner."""
    top, left = (False, False) if rng is None else rng.random(2) < 0.5
    return [corner_of(views.resize(height, width, scale=(-1, side)), side, top=top, left=left)]
