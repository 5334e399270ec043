"""Boundary curves -> proposals; network outputs -> results. Shapes: n videos, p and r proposals of a video."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from actjax.localization import bsp_feature, candidate_proposals, proposal_list
from actjax.localization.proposals import matched
from actjax.metrics import evaluate_activitynet
from actjax.tables import read_table
from actjax.video.errors import VideoError
from actjax.video_files import found_file

PGM_HEADER = "tmin,tmax,tmin_score,tmax_score,score,match_iou,match_ioa"


class Nms(NamedTuple):
    """Section `nms`: options of `localization.soft_nms`; `top_k` proposals remain per video."""

    alpha: float
    low_threshold: float
    high_threshold: float
    top_k: int = 100


class Pgm(NamedTuple):
    """Section `pgm`: BSN's proposal generation, between its two networks.

    peak_threshold: see `localization.candidate_proposals`.
    top_k_train, top_k: proposals kept per training video and per validation video.
    bsp_boundary_ratio, num_sample_start, num_sample_end, num_sample_action, num_sample_interp: see
      `localization.bsp_feature`.
    proposals, features: folders with `<video>.csv` and `<video>.npy` from another program, used instead of generating
      them; "" for none.
    """

    peak_threshold: float = 0.5
    top_k_train: int = 500
    top_k: int = 1000
    bsp_boundary_ratio: float = 0.2
    num_sample_start: int = 8
    num_sample_end: int = 8
    num_sample_action: int = 16
    num_sample_interp: int = 3
    proposals: str = ""
    features: str = ""

    @property
    def sampling(self) -> dict:
        """The options of `localization.bsp_feature`."""
        return {name: value for name, value in self._asdict().items() if name.startswith(("bsp_", "num_"))}


def generate(record, curves, pgm, top_k: int, *, num_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The `top_k` best proposals of a video: rows float64 [p, 7] (columns `PGM_HEADER`) and features [p, 32].

    Args:
      curves: the folder with the curves of every video, of `num_steps` time steps.
      pgm: a `Pgm`.

    Raises:
      VideoError: the curves cannot be read, are of another length, or give no proposals.
    """
    try:
        path = found_file(curves, record.video, ".csv")
        table = read_table(path, columns=5)
        if len(table) != num_steps:
            raise ValueError(f"{path}: curves of {len(table)} time steps; tem.model.temporal_scale is {num_steps}")
        return _generate(record, table, pgm, top_k)
    except (OSError, ValueError) as error:
        raise VideoError(record.path, str(error)) from error


def _generate(record, table: np.ndarray, pgm, top_k: int) -> tuple[np.ndarray, np.ndarray]:
    rows = candidate_proposals(table[:, 1], table[:, 2], peak_threshold=pgm.peak_threshold)[:top_k]
    step, end = table[0, 4] - table[0, 3], table[-1, 4]
    # MMAction2 0.6 reads the segments from a file that stores them as float32.
    points = bsp_feature(table[:, 0], rows[:, :2].astype(np.float32), step=step, end=end, **pgm.sampling)
    return matched(rows, record._asdict()), points


def results_of(records: Sequence, top_k: int, proposals, found, which) -> list[dict]:
    """Proposals [n, r, 3], as fractions of the video -> results in seconds in MMAction2's form, one per record.

    Args:
      found: bool [n, r], False for padding.
      which: int [n], the record of each row. Records that do not occur get no proposals.
    """
    lists = {int(k): rows[real] for rows, real, k in zip(proposals, found, which, strict=True)}
    empty = np.zeros((0, 3))
    return [
        {
            "video_name": record.video,
            "proposal_list": in_seconds(lists.get(k, empty), record, top_k),
        }
        for k, record in enumerate(records)
    ]


def in_seconds(rows, record, top_k: int) -> list[dict]:
    """Proposals [r, 3] of a record, as fractions of what its features cover -> entries of a result file, in seconds."""
    return proposal_list(rows, record._asdict(), top_k=top_k, feature_extraction_interval=None)


def recalls(outputs: dict, targets: dict, *, records: Sequence, top_k: int) -> dict[str, float]:
    """`Task.score` for predicted proposals of `records`: see `metrics.evaluate_activitynet`."""
    which = np.asarray(targets["record"])
    results = results_of(records, top_k, outputs["proposals"], outputs["found"], which)
    return evaluate_activitynet(results, {record.video: {"annotations": record.annotations} for record in records})
