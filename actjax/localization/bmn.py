"""BMN's maps -> proposals. `actjax.localization.batched` has the jittable version."""

import numpy as np

from actjax.errors import ShapeError
from actjax.localization.labels import inside_video
from actjax.localization.proposals import is_candidate


def boundary_matching_proposals(start, end, regression, classification, *, peak_threshold: float = 0.5) -> np.ndarray:
    """Pairs every candidate start with every later candidate end -> float64 [k, 7], by duration, then by start.

    >>> start, end, ones = np.array([0.9, 0.1, 0.1]), np.array([0.1, 0.1, 0.8]), np.ones((3, 3))
    >>> boundary_matching_proposals(start, end, 0.5 * ones, ones)[-1].round(2).tolist()
    [0.0, 0.67, 0.9, 0.8, 1.0, 0.5, 0.36]

    Args:
      start, end: [s], probability that an action starts, or ends, at each step.
      regression, classification: [d, s]; cell (i, j) scores the segment [j / s, (i + j + 1) / s].
      peak_threshold: as in `candidate_proposals`.

    Columns: start, end, the four scores, their product. Kept from MMAction2 0.6: step i is at time i / s, so no
    proposal ends at 1.

    Raises:
      ShapeError: arrays of the wrong shape.

    Source: MMAction2's BMN.forward_test; Lin et al. 2019, section 3.4.
    """
    curves, maps = np.stack([start, end]), np.stack([regression, classification])
    scale = curves.shape[-1]
    if curves.ndim != 2 or maps.shape != (2, scale, scale):
        raise ShapeError(f"boundary_matching_proposals: curves {curves.shape}, maps {maps.shape}; expected [s], [s, s]")
    starts, ends = is_candidate(curves, peak_threshold)
    duration, first = np.nonzero(inside_video(scale)[1:])
    last = duration + first + 1
    chosen = starts[first] & ends[last]
    duration, first, last = duration[chosen], first[chosen], last[chosen]
    scores = [curves[0, first], curves[1, last], maps[1, duration, first], maps[0, duration, first]]
    return np.stack([first / scale, last / scale, *scores, np.prod(scores, axis=0)], axis=1).astype(np.float64)
