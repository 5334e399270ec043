"""BSN's files under their names in the API reference: tables in, arrays of `actjax.localization.proposals` out."""

import pathlib

import numpy as np

from actjax.errors import ShapeError
from actjax.localization.proposals import bsp_feature, candidate_proposals, match
from actjax.paths import to_path


def generate_candidate_proposals(
    video_list,
    video_infos,
    tem_results_dir,
    temporal_scale: int,
    peak_threshold: float,
    tem_results_ext: str = ".csv",
    result_dict: dict | None = None,
) -> dict[str, np.ndarray]:
    """Candidate proposals of each video -> {video_name: float64 [k, 7]}, the highest score first.

    Args:
      video_list: positions in `video_infos`.
      video_infos: `video_name`, `duration_frame`, `duration_second`, `feature_frame` and `annotations`, of which
        `segment` is read, in seconds.
      tem_results_dir: folder of `<video_name>.csv`: a header, then action, start, end, tmin, tmax for each time step.
      temporal_scale, peak_threshold: as in `candidate_proposals`.
      result_dict: takes the results too.

    Columns: those of `candidate_proposals`, then best IoU and best IoP with the ground truth (`match`; zeros without
    annotations, where the reference fails).

    Raises:
      FileNotFoundError, ShapeError, ValueError: naming the file. NotImplementedError: another extension than .csv.

    Source: the API entry generate_candidate_proposals.
    """
    _check_extensions(tem_results_ext)
    results = {}
    for info in _chosen(video_list, video_infos):
        name = info["video_name"]
        path = to_path(tem_results_dir, name + tem_results_ext)
        curves = read_table(path, columns=3)
        if temporal_scale > len(curves):
            raise ShapeError(f"{path}: {len(curves)} rows; temporal_scale={temporal_scale} needs as many")
        proposals = candidate_proposals(
            curves[:, 1], curves[:, 2], peak_threshold=peak_threshold, temporal_scale=temporal_scale
        )
        results[name] = matched(proposals, info)
    if result_dict is not None:
        result_dict.update(results)
    return results


def matched(proposals: np.ndarray, info: dict) -> np.ndarray:
    """Proposals [k, c] of a video with two more columns: best IoU and IoP with its annotations; `info` as above."""
    covered = float(info["feature_frame"]) / info["duration_frame"] * info["duration_second"]
    segments = np.array([a["segment"] for a in info["annotations"]], np.float64).reshape(-1, 2) / covered
    return np.concatenate([proposals, match(proposals, segments)], axis=1)


def generate_bsp_feature(
    video_list,
    video_infos,
    tem_results_dir,
    pgm_proposals_dir,
    top_k: int = 1000,
    bsp_boundary_ratio: float = 0.2,
    num_sample_start: int = 8,
    num_sample_end: int = 8,
    num_sample_action: int = 16,
    num_sample_interp: int = 3,
    tem_results_ext: str = ".csv",
    pgm_proposal_ext: str = ".csv",
    result_dict: dict | None = None,
) -> dict[str, np.ndarray]:
    """Boundary-sensitive features of each video's proposals -> {video_name: float64 [k, 32]}.

    Args:
      video_list, video_infos, tem_results_dir, result_dict: as in `generate_candidate_proposals`; only `video_name`.
      pgm_proposals_dir: folder of `<video_name>.csv`: a header, then rows tmin, tmax, ..., best first.
      top_k: how many rows of the file are used.
      bsp_boundary_ratio, num_sample_start, num_sample_end, num_sample_action, num_sample_interp: as in `bsp_feature`.

    Raises:
      ValueError: also for a file that `top_k` would cut although its scores (column 5) are out of order.
      Others as in `generate_candidate_proposals`.

    Source: the API entry generate_bsp_feature. Fixed: a file with one proposal; `top_k=0` gives [0, 32].
    """
    _check_extensions(tem_results_ext, pgm_proposal_ext)
    results = {}
    for info in _chosen(video_list, video_infos):
        name = info["video_name"]
        curves = read_table(to_path(tem_results_dir, name + tem_results_ext), columns=5)
        results[name] = bsp_feature(
            curves[:, 0],
            _best_rows(to_path(pgm_proposals_dir, name + pgm_proposal_ext), top_k),
            step=curves[0, 4] - curves[0, 3],
            end=curves[-1, 4],
            bsp_boundary_ratio=bsp_boundary_ratio,
            num_sample_start=num_sample_start,
            num_sample_end=num_sample_end,
            num_sample_action=num_sample_action,
            num_sample_interp=num_sample_interp,
        )
    if result_dict is not None:
        result_dict.update(results)
    return results


def read_table(path, *, columns: int) -> np.ndarray:
    """A CSV file with one header line -> float32 [rows, columns or more].

    Raises:
      FileNotFoundError. ValueError: a value that is no number, or NaN. ShapeError: no row, too few columns, a row of
        another length. All name the file.
    """
    header, _, body = to_path(path).read_text().partition("\n")
    lines = body.split()  # numbers hold no blanks
    width = lines[0].count(",") + 1 if lines else 0
    if width < columns:
        raise ShapeError(f"{path}: {len(lines)} rows of {width} columns; expected 1 or more rows of {columns} or more")
    try:
        table = np.array(",".join(lines).split(","), np.float32)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; expected numbers below the header {header!r}") from None
    if table.size != len(lines) * width:
        raise ShapeError(f"{path}: rows differ in length; the first has {width} columns")
    if np.isnan(table).any():
        raise ValueError(f"{path}: row {int(np.argmax(np.isnan(table))) // width} holds NaN")
    return table.reshape(-1, width)


def write_table(path, header: str, rows) -> None:
    """A CSV file that `read_table` reads back bit for bit in float32; there as a whole or not at all."""
    path = pathlib.Path(path)
    lines = [header, *(",".join([f"{x:.9g}" for x in row]) for row in np.asarray(rows).tolist())]
    building = path.with_name(f".{path.name}")
    building.write_text("\n".join(lines) + "\n")
    building.replace(path)


def _best_rows(path: pathlib.Path, top_k: int) -> np.ndarray:
    rows = read_table(path, columns=2)
    if top_k < len(rows) and rows.shape[1] > 4 and (np.diff(rows[:, 4]) > 0).any():
        row = int(np.argmax(np.diff(rows[:, 4]) > 0)) + 1
        raise ValueError(f"{path}: scores are out of order at row {row}; sort them, or the best {top_k} are others")
    return rows[:top_k]


def _chosen(video_list, video_infos) -> list[dict]:
    wrong = [i for i in video_list if not -len(video_infos) <= i < len(video_infos)]
    if wrong:
        raise ShapeError(f"video_list names video {wrong[0]}; video_infos has {len(video_infos)}")
    return [video_infos[i] for i in video_list]


def _check_extensions(*extensions: str) -> None:
    if set(extensions) != {".csv"}:
        raise NotImplementedError(f"extensions {extensions}; only '.csv' can be read")
