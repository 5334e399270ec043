"""Rescales features of any length to one length. Shapes: t time steps before, s after, c channels."""

import numpy as np

EDGE = 1e-4  # distance that `pooled` keeps from the first and the last step


def linear(feature: np.ndarray, temporal_scale: int) -> np.ndarray:
    """Linear interpolation at the middle of each of s equal parts, clamped at the ends: [t, c] -> [s, c].

    Later code does the same (torch's `interpolate` with align_corners=False).
    """
    position = (np.arange(temporal_scale) + 0.5) * (len(feature) / temporal_scale) - 0.5
    return _interpolated(feature, position)


def pooled(feature: np.ndarray, temporal_scale: int, *, num_sample_bins: int = 3) -> np.ndarray:
    """The mean of `num_sample_bins` interpolated points from each of s parts: [t, c] -> [s, c].

    The parts lie between the middle of the first step and the middle of the last. Source: `pool_feature` in the tools
    of MMAction2 0.24.1, which made its ActivityNet features.
    """
    part = (len(feature) - 1 - 2 * EDGE) / temporal_scale
    start = EDGE + np.arange(temporal_scale) * part
    position = start[:, None] + np.arange(num_sample_bins) / num_sample_bins * part
    points = _interpolated(feature, position.ravel())
    return points.reshape(temporal_scale, num_sample_bins, -1).mean(1)


def unchanged(feature: np.ndarray, temporal_scale: int) -> np.ndarray:
    """The feature itself. ValueError: its length is not `temporal_scale`."""
    if len(feature) != temporal_scale:
        raise ValueError(f"{len(feature)} time steps; expected {temporal_scale}. Set data.rescale")
    return feature


RESCALINGS = {"linear": linear, "pooled": pooled, "none": unchanged}


def _interpolated(feature: np.ndarray, position: np.ndarray) -> np.ndarray:
    position = np.clip(position, 0, len(feature) - 1)
    before = np.minimum(position.astype(np.int64), max(len(feature) - 2, 0))
    after = np.minimum(before + 1, len(feature) - 1)
    weight = (position - before)[:, None]
    return ((1 - weight) * feature[before] + weight * feature[after]).astype(np.float32)
