"""Reads features of untrimmed videos and proposals made from them, in the file formats of MMAction2 0.6."""

import os
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from actjax.array_files import read_array
from actjax.data.prepared.reading import PreparedFeature, load_prepared_features, splits
from actjax.paths import to_path
from actjax.tables import read_table
from actjax.text_files import suffix_of
from actjax.video_files import file_stem, found_file


class Proposals(NamedTuple):
    """The best proposals of one video; times are fractions of its length, float32 [p]; `bsp_feature` is [top_k, d]."""

    bsp_feature: np.ndarray
    tmin: np.ndarray
    tmax: np.ndarray
    tmin_score: np.ndarray
    tmax_score: np.ndarray
    reference_temporal_iou: np.ndarray


def load_feature(path: str | os.PathLike) -> np.ndarray:
    """A feature file -> float32 [channels, time]. CSV: a header, then a row per time step; NPY: [time, channels].

    Raises:
      FileNotFoundError: no such file. ValueError: another suffix, not a table, values that are no finite float32.

    Source: the API entry LoadLocalizationFeature. Fixed: files with one row. New: NPY.
    """
    path = to_path(path)
    if (suffix := suffix_of(path)) not in (".csv", ".npy"):
        raise ValueError(f"{path}: features are .csv or .npy files")
    table = read_table(path, columns=1) if suffix == ".csv" else _rows(path)
    return np.ascontiguousarray(table.T)


def save_feature(file, feature: np.ndarray, *, fmt: str = "%.7g") -> None:
    """Writes features [time, channels] as CSV for `load_feature`, to a path or a binary file object."""
    header = ",".join(f"f{k}" for k in range(feature.shape[1]))
    np.savetxt(file, feature, fmt=fmt, delimiter=",", header=header, comments="")


class FeatureFiles(NamedTuple):
    """The feature files of a folder."""

    folder: str

    def among(self, videos: Iterable[str]) -> set[str]:
        """Those of the videos that have features."""
        files = to_path(self.folder).iterdir()
        there = {file.stem for file in files if file.suffix in (".csv", ".npy")}
        return {video for video in videos if not there.isdisjoint((video, file_stem(video, apart=True)))}

    def read(self, video: str) -> np.ndarray:
        """The features of a video -> float32 [channels, time]; errors: `load_feature`.

        They are in VIDEO.csv or VIDEO.npy; `video_files` says how the file of a name is called that cannot be a file's.
        """
        return load_feature(found_file(self.folder, video, ".csv", ".npy"))


class PreparedFeatures(NamedTuple):
    """The features of a prepared set, by the names of the files that they were made from, without suffix."""

    folder: str
    records: dict[str, PreparedFeature]

    def among(self, videos: Iterable[str]) -> set[str]:
        """Those of the videos that have features."""
        return {video for video in videos if self._found(video)}

    def read(self, video: str) -> np.ndarray:
        """The features of a video -> float32 [channels, time]. FileNotFoundError: the set has none."""
        if (record := self._found(video)) is None:
            raise FileNotFoundError(f"{self.folder} holds no features of {video!r}")
        return record.read()

    def _found(self, video: str) -> PreparedFeature | None:
        return self.records.get(video) or self.records.get(file_stem(video, apart=True))


def open_features(folder: str | os.PathLike, *, split: str = "features") -> FeatureFiles | PreparedFeatures:
    """The features in a folder of files, or of a prepared set; `read(video)` gives the features of a video."""
    if split in splits(folder):
        return PreparedFeatures(str(folder), {record.name: record for record in load_prepared_features(folder, split)})
    return FeatureFiles(str(folder))


def load_proposals(
    video_name: str,
    *,
    top_k: int,
    pgm_proposals_dir: str | os.PathLike,
    pgm_features_dir: str | os.PathLike,
    proposal_ext: str = ".csv",
    feature_ext: str = ".npy",
) -> Proposals:
    """The first `top_k` proposals of a video and their features.

    Args:
      video_name: the name of its files in both folders, without the suffix; see `video_files` for names that cannot be
        those of files.
      top_k: maximum number of rows to use from each file.
      pgm_proposals_dir: tables tmin, tmax, tmin_score, tmax_score, score, match_iou, ..., the best proposal first.
      pgm_features_dir: arrays [proposals, d]. Kept from MMAction2: surplus rows are not dropped.

    Raises:
      FileNotFoundError: no such file. ValueError: top_k below 1; another suffix; not a table; values that are NaN or
        not numbers; fewer features than proposals.

    Source: the API entry LoadProposals. Fixed: files with one row.
    """
    if top_k < 1:
        raise ValueError(f"load_proposals: top_k={top_k}; must be at least 1")
    if (proposal_ext, feature_ext) != (".csv", ".npy"):
        raise ValueError(f"load_proposals: {proposal_ext!r}, {feature_ext!r}; only '.csv' and '.npy' are supported")
    table = read_table(found_file(pgm_proposals_dir, video_name, proposal_ext), columns=6)[:top_k]
    path = found_file(pgm_features_dir, video_name, feature_ext)
    features = _rows(path)[:top_k]
    if len(features) < len(table):
        raise ValueError(f"{path}: {len(features)} rows for {len(table)} proposals; make both from the same run")
    return Proposals(features, *table[:, :4].T, table[:, 5])


def localization_labels(record) -> np.ndarray:
    """Segments of an `ActivityNetRecord` as fractions of the duration its features cover, in [0, 1] -> float64 [n, 2].

    Raises:
      ValueError: a length that is not positive.

    Source: the API entry GenerateLocalizationLabels. Like it, keeps segments that end before they start. Without
    annotations the result is [0, 2]; MMAction2's is [0].
    """
    lengths = record.duration_frame, record.duration_second, record.feature_frame
    if not min(lengths) > 0:
        raise ValueError(
            f"{record.path}: duration_frame, duration_second, feature_frame are {lengths}; all must be > 0"
        )
    covered = record.feature_frame / record.duration_frame * record.duration_second
    segments = np.array([row["segment"] for row in record.annotations], np.float64).reshape(-1, 2)
    return np.clip(segments / covered, 0, 1)


def _rows(path: os.PathLike) -> np.ndarray:
    """An NPY file -> float32 [rows, columns]."""
    rows = read_array(path, what="an array of features in a .npy file")
    if rows.ndim != 2 or not rows.size:
        raise ValueError(f"{path}: shape {rows.shape}; expected [rows, columns], at least one of each")
    if rows.dtype.kind not in "fiu":
        raise ValueError(f"{path}: {rows.dtype} values, which are not numbers; expected floats")
    with np.errstate(over="ignore"):
        rows = rows.astype(np.float32)
    if not np.isfinite(rows).all():
        row = int(np.argmin(np.isfinite(rows).all(1)))
        raise ValueError(f"{path}: row {row} has a value that is NaN, infinite, or beyond float32")
    return rows
