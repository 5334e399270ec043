"""Ground truth -> training targets of TEM and BMN, on NumPy arrays and under `jax.jit`.

Labels are computed in the segments' precision and returned as float32. Only with float64 segments does an edge on the
grid fall on the same side of a threshold as in MMAction2 0.6.
Shapes: m segments, s time steps, d durations. Time is a fraction of the part of the video that features cover.
"""

import numpy as np

from actjax.segments import namespace, pairs, temporal_iop, temporal_iou


def actionness_labels(segments, *, temporal_scale: int, boundary_ratio: float = 0.1, mask=None):
    """Share of each time step covered by an action, a start and an end -> float32 [..., 3, s] in [0, 1].

    >>> print(actionness_labels(np.array([[0.25, 0.75]]), temporal_scale=4))  # rows: action, start, end
    [[0.  1.  1.  0. ]
     [0.5 0.5 0.  0. ]
     [0.  0.  0.5 0.5]]

    Args:
      segments: [..., m, 2].
      boundary_ratio: width of the start region as a share of the action's length, at least one step, centred on the
        start; the end region likewise.
      mask: bool [..., m], False where a segment is padding; None: no padding.

    Source: TEM.generate_labels of MMAction2; Lin et al. 2018, section 3.3.
    """
    xp = namespace(segments)
    start, end = segments[..., 0], segments[..., 1]
    reach = xp.maximum(1 / temporal_scale, boundary_ratio * (end - start)) / 2
    regions = [segments, _around(xp, start, reach), _around(xp, end, reach)]
    steps = np.arange(temporal_scale) / temporal_scale
    anchors = np.stack([steps, (np.arange(temporal_scale) + 1) / temporal_scale], axis=1)
    return xp.stack([_covered(xp, anchors, region, mask) for region in regions], axis=-2)


def boundary_labels(segments, *, temporal_scale: int, mask=None):
    """Share of each widened time step covered by a start and an end region -> float32 [..., 2, s] in [0, 1].

    Start and end regions are 3 steps wide; a step is widened by half a step on either side. Arguments as in
    `actionness_labels`. Source: BMN.generate_labels of MMAction2.

    >>> print(boundary_labels(np.array([[0.25, 0.75]]), temporal_scale=4).round(2))  # rows: start, end
    [[1.  1.  0.5 0. ]
     [0.  0.5 1.  1. ]]
    """
    xp = namespace(segments)
    steps = np.arange(temporal_scale)
    anchors = np.stack([steps - 0.5, steps + 1.5], axis=1) / temporal_scale
    regions = [_around(xp, segments[..., k], 1.5 / temporal_scale) for k in (0, 1)]
    return xp.stack([_covered(xp, anchors, region, mask) for region in regions], axis=-2)


def iou_map(segments, *, temporal_scale: int, mask=None):
    """Best IoU of each cell of a boundary-matching map with any segment -> float32 [..., d, s], 0 outside the video.

    Cell (i, j) is the segment [j / s, (i + j + 1) / s]. Arguments as in `actionness_labels`. Source:
    BMN.generate_labels of MMAction2; Lin et al. 2019, section 3.3.

    >>> print(iou_map(np.array([[0.0, 0.5]]), temporal_scale=4).round(2))  # rows: durations
    [[0.5  0.5  0.   0.  ]
     [1.   0.33 0.   0.  ]
     [0.67 0.25 0.   0.  ]
     [0.5  0.   0.   0.  ]]
    """
    xp = namespace(segments)
    duration, start = np.indices((temporal_scale, temporal_scale)).reshape(2, -1)
    cells = np.stack([start, start + duration + 1], axis=1) / temporal_scale
    best = _best(xp, temporal_iou(*pairs(xp.asarray(cells, dtype=segments.dtype), segments)), mask)
    inside = inside_video(temporal_scale)
    return xp.where(inside, best.reshape(*best.shape[:-1], *inside.shape), 0)


def inside_video(temporal_scale: int) -> np.ndarray:
    """Cells of a boundary-matching map that end inside the video -> bool [d, s].

    >>> print(inside_video(3))
    [[ True  True  True]
     [ True  True False]
     [ True False False]]
    """
    duration, start = np.indices((temporal_scale, temporal_scale))
    return duration + start < temporal_scale


def _around(xp, moment, reach):
    return xp.stack([moment - reach, moment + reach], axis=-1)


def _covered(xp, anchors, regions, mask):
    """The largest share of each anchor covered by a single region."""
    return _best(xp, temporal_iop(*pairs(xp.asarray(anchors, dtype=regions.dtype), regions)), mask)


def _best(xp, overlaps, mask):
    if mask is not None:
        overlaps = xp.where(mask[..., None, :], overlaps, 0)
    return xp.astype(xp.max(overlaps, axis=-1, initial=0), np.float32)
