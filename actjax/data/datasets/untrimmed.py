"""Untrimmed videos for localization: annotations and features.

Features are read in every epoch but small, so they are kept in memory: 160 kB per video of 400 x 100 float32, 2.3 GB
for all of ActivityNet. Shapes: t time steps of a feature file, s of the network, c channels.
"""

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from actjax.config import pick, unknown
from actjax.data.datasets.annotations import load_annotations
from actjax.data.datasets.checking import warn_of_both
from actjax.data.datasets.features import FeatureFiles, PreparedFeatures, open_features
from actjax.data.datasets.records import ActivityNetRecord
from actjax.data.datasets.rescaling import RESCALINGS
from actjax.data.samples.sequences import make_sequences
from actjax.paths import local, to_path
from actjax.text_files import read_json
from actjax.video.errors import VideoError


class Untrimmed(NamedTuple):
    """Records of both splits, and their features.

    rescale: (feature [t, c], s) -> [s, c].
    class_scores: file of video-level class scores, or "".
    left_out: videos in the annotation files that have no features.
    """

    train: Sequence[ActivityNetRecord]
    val: Sequence[ActivityNetRecord]
    features: FeatureFiles | PreparedFeatures
    rescale: Callable
    class_scores: str
    left_out: tuple[str, ...] = ()


def activitynet(
    *,
    features: str,
    train: str,
    val: str,
    video_info: str = "",
    subsets: tuple[str, str] = ("training", "validation"),
    rescale: str = "linear",
    class_scores: str = "",
    max_missing: float = 0.05,
) -> Untrimmed:
    """ActivityNet, or your own videos in its formats.

    Args:
      features: folder of `<video>.csv` or `<video>.npy`, or the output of `--mode=prepare --features`.
      train, val: annotation files of the two splits. If they are the same file, its field `subset`, or that of
        `video_info`, tells the splits apart.
      video_info: table of videos, see `load_annotations`; "" for none.
      subsets: the subset of each split, for a file of both.
      rescale: how to bring features to the network's length, a name of `RESCALINGS`.
      class_scores: JSON {"class": names, "results": {video id: scores}}, or a run's `scores.npz` (beside its
        `class_names.json`), to turn proposals into detections; "": proposals only.
      max_missing: share of the videos that may lack features; they are left out.

    Raises:
      FileNotFoundError, ValueError: a bad file or field (named), or too many videos without features.
    """
    if rescale not in RESCALINGS:
        raise ValueError(f"data.rescale={unknown(rescale, RESCALINGS)}")
    if class_scores and not local(class_scores, "data.class_scores").is_file():
        raise FileNotFoundError(f"data.class_scores={class_scores} does not exist")
    folder = to_path(features)
    if not folder.is_dir():
        raise FileNotFoundError(f"data.features={features} is not a folder")
    source = open_features(folder)
    splits, left_out = [], []
    told_apart = video_info or (_is_same(train, val) and _has_subsets(train))
    for path, subset in zip((train, val), subsets, strict=True):
        options = dict(subset=subset, video_info=video_info or None) if told_apart else {}
        records = load_annotations("activitynet", path, data_prefix=str(folder), **options)
        there = source.among(record.video for record in records)
        splits.append([record for record in records if record.video in there])
        left_out += [record.video for record in records if record.video not in there]
    total = len(left_out) + sum(map(len, splits))
    if len(left_out) > max_missing * total or not all(splits):
        raise ValueError(
            f"data.features={features}: no features of {len(left_out)} of {total} videos, {left_out[0]!r} the first; "
            f"data.max_missing={max_missing:g} allows fewer"
        )
    warn_of_both(f"data.train={train}, data.val={val}", *([r.video for r in split] for split in splits))
    return Untrimmed(*splits, source, RESCALINGS[rescale], class_scores, tuple(left_out))


def _is_same(one: str, other: str) -> bool:
    with contextlib.suppress(OSError):
        return one == other or os.path.samefile(one, other)
    return False


def _has_subsets(path: str) -> bool:
    content = read_json(path, what="an annotation file")
    entries = content.get("database", content) if isinstance(content, dict) else {}
    return isinstance(entries, dict) and any(isinstance(e, dict) and "subset" in e for e in entries.values())


def sequences(
    *, folder: str = "", num_train: int = 1200, num_val: int = 200, seed: int = 0, rescale: str = "linear"
) -> Untrimmed:
    """The sample set, which `make_sequences` writes to `folder` ("": the cache) on first use."""
    root = make_sequences(folder or None, num_train=num_train, num_val=num_val, seed=seed)
    files = {split: str(root / f"anet_anno_{split}.json") for split in ("train", "val")}
    return activitynet(
        features=str(root / "features"), **files, rescale=rescale, class_scores=str(root / "class_scores.json")
    )


UNTRIMMED = {"activitynet": activitynet, "sequences": sequences}


def build_untrimmed(config) -> Untrimmed:
    """`{"name": "activitynet", "features": ..., ...}` -> the data set. ValueError: an unknown name or key."""
    return pick(UNTRIMMED, config, "data")()


class Rescaled:
    """The features of videos, rescaled to float32 [s, c] and cached.

    Args:
      shape: (s, c).
    """

    def __init__(self, dataset: Untrimmed, shape: tuple[int, int]):
        self._dataset, self._shape, self._kept = dataset, tuple(shape), {}

    def __call__(self, record: ActivityNetRecord) -> np.ndarray:
        """Raises VideoError: the features cannot be read or have another number of channels."""
        if (feature := self._kept.get(record.video)) is None:
            try:
                feature = self._dataset.rescale(self._dataset.features.read(record.video).T, self._shape[0])
            except (OSError, ValueError) as error:
                raise VideoError(record.path, str(error)) from error
            if feature.shape != self._shape:
                raise VideoError(
                    record.path, f"features of {feature.shape[1]} channels; model.feat_dim is {self._shape[1]}"
                )
            self._kept[record.video] = np.ascontiguousarray(feature, np.float32)
        return self._kept[record.video]
