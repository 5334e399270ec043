"""A record -> one example for each network. Shapes: s time steps, c channels, p proposals, d durations.

A video that cannot be read raises VideoError; the loader then skips it.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from actjax.data.datasets.features import load_proposals, localization_labels
from actjax.data.datasets.records import ActivityNetRecord
from actjax.data.datasets.untrimmed import Rescaled
from actjax.data.loading.feature_batches import eval_items, train_items
from actjax.data.loading.quarantine import Quarantine
from actjax.localization import actionness_labels, boundary_labels, iou_map
from actjax.tasks.loading import digest_of, this_shard
from actjax.training import Settings
from actjax.video.errors import VideoError


class FeatureItems(NamedTuple):
    """`items(record)`: `feature` [s, c], for inference."""

    features: Rescaled

    def __call__(self, record: ActivityNetRecord) -> dict:
        return {"feature": self.features(record)}


class TemItems(NamedTuple):
    """`items(record)`: `feature` [s, c], `label` [3, s]."""

    features: Rescaled
    temporal_scale: int
    boundary_ratio: float

    def __call__(self, record: ActivityNetRecord) -> dict:
        options = dict(temporal_scale=self.temporal_scale, boundary_ratio=self.boundary_ratio)
        return {"feature": self.features(record), "label": actionness_labels(localization_labels(record), **options)}


class BmnItems(NamedTuple):
    """`items(record)`: `feature` [s, c], `label` [2, s], `ious` [d, s]."""

    features: Rescaled
    temporal_scale: int

    def __call__(self, record: ActivityNetRecord) -> dict:
        segments, scale = localization_labels(record), self.temporal_scale
        label, ious = boundary_labels(segments, temporal_scale=scale), iou_map(segments, temporal_scale=scale)
        return {"feature": self.features(record), "label": label, "ious": ious}


class PemItems(NamedTuple):
    """`items(record)`: `feature` [p, c], `iou` [p], `given` bool [p], `proposal` [p, 4], zero-padded to p = top_k.

    proposals, features: folders with the files of PGM.
    """

    proposals: str
    features: str
    top_k: int
    feat_dim: int

    def __call__(self, record: ActivityNetRecord) -> dict:
        folders = dict(pgm_proposals_dir=self.proposals, pgm_features_dir=self.features)
        try:
            found = load_proposals(record.video, top_k=self.top_k, **folders)
        except (OSError, ValueError) as error:
            raise VideoError(record.path, str(error)) from error
        number, channels = len(found.tmin), found.bsp_feature.shape[1]
        if channels != self.feat_dim:
            raise VideoError(
                record.path, f"proposal features have {channels} numbers; pem.model.feat_dim is {self.feat_dim}"
            )
        boundaries = np.stack([found.tmin, found.tmax, found.tmin_score, found.tmax_score], axis=1)
        return {
            "feature": self._full(found.bsp_feature[:number]),
            "iou": self._full(found.reference_temporal_iou),
            "given": np.arange(self.top_k) < number,
            "proposal": self._full(boundaries),
        }

    def _full(self, rows: np.ndarray) -> np.ndarray:
        return np.pad(rows, ((0, self.top_k - len(rows)), *((0, 0),) * (rows.ndim - 1)))


class Split:
    """The records of a split; `split(k)` is the example of record k, cached in memory if `kept`."""

    def __init__(self, records: Sequence[ActivityNetRecord], items: Callable, *, kept: bool = False):
        self.records, self._items, self._kept = records, items, {} if kept else None

    def __len__(self) -> int:
        return len(self.records)

    def __call__(self, k: int) -> dict:
        """Raises VideoError if the record cannot be read."""
        if self._kept is None:
            return self._items(self.records[k])
        if k not in self._kept:
            self._kept[k] = self._items(self.records[k])
        return self._kept[k]

    def batches(self, batch_size: int, quarantine: Quarantine) -> Iterator:
        """This host's batches of one pass over the split; see `eval_items`."""
        return eval_items(self, len(self), batch_size=batch_size, quarantine=quarantine, shard=this_shard())


class ItemData:
    """The `training.Data` of a feature data set."""

    def __init__(self, train: Split, val: Split, settings: Settings, quarantine: Quarantine):
        self._train, self._val, self._settings, self._quarantine = train, val, settings, quarantine
        self.num_records, self.digest = len(train), digest_of(train.records)
        self.val_digest = digest_of(val.records, ordered=False)

    def train(self, position: int, num_batches: int) -> Iterator:
        """This host's batches; the first one begins at `position`, see `training.Data`."""
        return train_items(
            self._train,
            len(self._train),
            position=position,
            num_batches=num_batches,
            seed=self._settings.seed,
            batch_size=self._settings.batch_size,
            quarantine=self._quarantine,
            shard=this_shard(),
        )

    def evaluate(self) -> Iterator:
        """Endless passes over the validation split; each is an iterator over this host's batches."""
        return (self._val.batches(self._settings.eval_size, self._quarantine) for _ in itertools.count())
