"""`--mode=localize`: what a task finds in new videos -> tables, subtitles, pictures, and videos with labels."""

import logging
import pathlib
from collections.abc import Callable, Sequence

import jax
import numpy as np

from actjax import training
from actjax.errors import clear_errors, shown, warn_once
from actjax.localization import grouped_nms
from actjax.metrics.ground_truth import annotations_of, read_entries
from actjax.paths import does_not_exist, local, to_path
from actjax.showing import Table, show
from actjax.tasks.localizing import Located, files_of
from actjax.tasks.running import Call
from actjax.tasks.trained import broken_of
from actjax.tasks.videos import distinct_names
from actjax.timelines import Timeline, save_picture, write_csv, write_labelled, write_results, write_srt
from actjax.video_files import file_stems
from actjax.workdir import progress

log = logging.getLogger("actjax")

FOLDER = "localized"  # in the workdir, unless --out names another
OVERLAP = 0.5  # tIoU above which of two segments only the better one is shown
_STRANGE = "--truth={}: has none of the videos, such as {}"
ROWS, MOST = 5, 20  # segments of a video, and videos, that the terminal shows


def mode(locate: Callable, *, shown_share: float) -> Callable:
    """The mode `localize` of a task.

    Args:
      locate: (run, call) -> list of `Located`.
      shown_share: subtitles, pictures and videos show segments whose score is at least this share of the best one of
        their video, unless `--min_score` says which.
    """

    def localize(run, call: Call) -> list[Located]:
        """Finds actions in `--video`, or in `--features`, and writes what was found to `--out` -> one item a video."""
        out = local(call.out or call.workdir / FOLDER, "--out")
        with clear_errors(RuntimeError):
            if call.video:
                call = call._replace(video=[video.path for video in files_of(call)])
            truth = _truth(call) if call.truth else None
            if out.exists() and not out.is_dir():
                raise ValueError(f"--out={out} is a file; localize writes a folder")
            out.mkdir(parents=True, exist_ok=True)
            if jax.process_index() == 0:  # of an earlier call; each video is tried again
                for file in (out / "quarantine.jsonl", out / "features" / "quarantine.jsonl"):
                    file.unlink(missing_ok=True)
            training.wait_for_all("the folder of results")
            found = locate(run, call._replace(out=str(out)))
            if jax.process_index() == 0:
                _write(found, out, truth, call, shown_share)
        return found

    return localize


def _write(found: Sequence[Located], out: pathlib.Path, truth: dict | None, call: Call, shown_share: float) -> None:
    """Writes the files of all videos and prints what was found."""
    if not found:
        broken = broken_of(out)
        first = f"; the first: {broken[0]['video']}: {broken[0]['error']}" if broken else ""
        raise ValueError(f"none of the videos could be read{first}")
    timelines = [Timeline(each.name, each.seconds, each.segments, _truth_of(each.name, truth)) for each in found]
    if call.truth and all(each.truth is None for each in timelines):
        raise ValueError(_STRANGE.format(call.truth, shown(found[0].name)))
    write_results(out / "segments.json", timelines)
    write_csv(out / "segments.csv", timelines)
    stems = file_stems(each.name for each in found)
    table = Table("video", "seconds", "class", "score")
    for each, timeline in zip(found, timelines, strict=True):
        timeline = timeline._replace(segments=shown_segments(each.segments, call.min_score, shown_share))
        write_srt(out / f"{stems[each.name]}.srt", timeline)
        drawn = _picture(out / f"{stems[each.name]}.png", timeline, each.curves)
        if call.render and each.path:
            write_labelled(each.path, out / f"{stems[each.name]}.mp4", timeline, progress=progress)
        for row in timeline.segments[:ROWS]:
            span = f"{row['segment'][0]:.1f} - {row['segment'][1]:.1f}"
            table.add_row(each.name, span, row.get("class", ""), f"{row['score']:.4f}")
    if len(found) <= MOST:
        show(table)
    else:
        log.info("%d videos; the tables have their segments", len(found))
    show(f"segments     {out / 'segments.csv'}, {out / 'segments.json'}")
    show(f"per video    {out}/VIDEO.srt{', VIDEO.png' if drawn else ''}{', VIDEO.mp4' if call.render else ''}")


def shown_segments(rows: Sequence[dict], least: float | None, share: float) -> list[dict]:
    """The segments that people look at, best first: those that score enough and overlap no better one by over half.

    >>> scores = {(0, 10): 0.9, (1, 10): 0.8, (20, 30): 0.5, (40, 50): 0.4}
    >>> rows = [{"segment": segment, "score": score} for segment, score in scores.items()]
    >>> [row["segment"] for row in shown_segments(rows, None, 0.5)]
    [(0, 10), (20, 30)]

    Args:
      rows: best first. least: the lowest score; None: `share` of the best one.
    """
    if not rows:
        return []
    least = share * rows[0]["score"] if least is None else least
    kept = [row for row in rows if row["score"] >= least]
    table = np.array([[*row["segment"], row["score"], k] for k, row in enumerate(kept)]).reshape(-1, 4)
    apart = grouped_nms(table[:, :2], table[:, 2], np.zeros(len(table), np.int64), OVERLAP)
    return [kept[k] for k in sorted(apart.tolist())]


def _picture(path: pathlib.Path, timeline: Timeline, curves) -> bool:
    """Draws the timeline -> whether it could; says once what is missing."""
    try:
        save_picture(path, timeline, curves=curves)
    except ImportError as error:
        warn_once(f"no pictures of timelines: {error}")
        return False
    return True


def _truth(call: Call) -> dict[str, list[dict]]:
    """The annotations of `--truth`, by video. ValueError: it does not parse, or has none of the videos of the call."""
    path = to_path(call.truth)
    if not path.is_file():
        raise FileNotFoundError(f"--truth={does_not_exist(path)}")
    truth = {name: annotations_of(path, name, entry) for name, entry in read_entries(path).items()}
    videos = distinct_names(call.video) if call.video else []  # of features the names are found out later
    if videos and all(_truth_of(video, truth) is None for video in videos):
        raise ValueError(_STRANGE.format(path, shown(videos[0])))
    return truth


def _truth_of(video: str, truth: dict | None) -> list[dict] | None:
    """The annotations of a video, under its name with or without "v_"; None: not known."""
    names = (video, f"v_{video}", video.removeprefix("v_"))
    return next((truth[name] for name in names if name in truth), None) if truth is not None else None
