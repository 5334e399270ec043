"""One video of a data set -> what each network reads of it. Shapes: s time steps, c channels, p proposals, d durations.

What cannot be read raises VideoError, by which the loader leaves the video out.
"""

from collections.abc import Callable, Sequence

import numpy as np

from actjax.data.datasets.features import load_proposals, localization_labels
from actjax.data.datasets.untrimmed import Rescaled
from actjax.localization import actionness_labels, boundary_labels, iou_map
from actjax.video.errors import VideoError


def feature_item(records: Sequence, features: Rescaled) -> Callable:
    """k -> `feature` [s, c]: all that inference asks for."""
    return lambda k: {"feature": features(records[k])}


def tem_item(records: Sequence, features: Rescaled, *, temporal_scale: int, boundary_ratio: float) -> Callable:
    """k -> `feature` [s, c], `label` [3, s]."""

    def item(k: int) -> dict:
        segments = localization_labels(records[k])
        label = actionness_labels(segments, temporal_scale=temporal_scale, boundary_ratio=boundary_ratio)
        return {"feature": features(records[k]), "label": label}

    return _kept(item)


def bmn_item(records: Sequence, features: Rescaled, *, temporal_scale: int) -> Callable:
    """k -> `feature` [s, c], `label` [2, s], `ious` [d, s]."""

    def item(k: int) -> dict:
        segments = localization_labels(records[k])
        label = boundary_labels(segments, temporal_scale=temporal_scale)
        return {
            "feature": features(records[k]),
            "label": label,
            "ious": iou_map(segments, temporal_scale=temporal_scale),
        }

    return item


def pem_item(records: Sequence, *, proposals: str, features: str, top_k: int, feat_dim: int) -> Callable:
    """k -> `feature` [p, c], `iou` [p], `given` bool [p], `proposal` [p, 4], p = top_k, filled up with zeros.

    Args:
      proposals, features: folders of the files, which are read once.
    """

    def item(k: int) -> dict:
        record = records[k]
        folders = dict(pgm_proposals_dir=proposals, pgm_features_dir=features)
        try:
            found = load_proposals(record.video, top_k=top_k, **folders)
        except (OSError, ValueError) as error:
            raise VideoError(record.path, str(error)) from error
        number = len(found.tmin)
        if found.bsp_feature.shape[1] != feat_dim:
            channels = found.bsp_feature.shape[1]
            raise VideoError(record.path, f"proposal features of {channels} numbers; pem.model.feat_dim is {feat_dim}")
        boundaries = np.stack([found.tmin, found.tmax, found.tmin_score, found.tmax_score], axis=1)
        full = lambda rows: np.pad(rows, ((0, top_k - number), *((0, 0),) * (rows.ndim - 1)))
        return {
            "feature": full(found.bsp_feature[:number]),
            "iou": full(found.reference_temporal_iou),
            "given": np.arange(top_k) < number,
            "proposal": full(boundaries),
        }

    return _kept(item)


def _kept(item: Callable) -> Callable:
    """`item`, which is asked once for every k."""
    items: dict[int, dict] = {}

    def kept(k: int) -> dict:
        if k not in items:
            items[k] = item(k)
        return items[k]

    return kept
