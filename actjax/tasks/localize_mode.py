"""`--mode=localize`: what a task finds in new videos -> tables, subtitles, pictures, and videos with labels."""

import logging
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax

from actjax.errors import clear_errors, shown
from actjax.literal import literal
from actjax.metrics.ground_truth import annotations_of
from actjax.paths import does_not_exist, local, to_path
from actjax.showing import Table, show
from actjax.tasks.localizing import Located
from actjax.tasks.running import Call
from actjax.text_files import read_json
from actjax.timelines import Timeline, save_picture, write_csv, write_labelled, write_results, write_srt
from actjax.video_files import file_stems
from actjax.workdir import progress

log = logging.getLogger("actjax")

FOLDER = "localized"  # in the workdir, unless --out names another


class Files(NamedTuple):
    """Where the results of a video go."""

    subtitles: pathlib.Path
    picture: pathlib.Path
    labelled: pathlib.Path


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
            truth = _truth(call.truth) if call.truth else None
            out.mkdir(parents=True, exist_ok=True)
            found = locate(run, call._replace(out=str(out)))
            if jax.process_index() == 0:
                _write(found, out, truth, call, shown_share)
        return found

    return localize


def _write(found: Sequence[Located], out: pathlib.Path, truth: dict | None, call: Call, shown_share: float) -> None:
    """Writes the files of all videos and prints what was found."""
    if not found:
        raise ValueError(f"none of the videos could be read; {out} has the list, quarantine.jsonl")
    timelines = [Timeline(each.name, each.seconds, each.segments, _truth_of(each, truth)) for each in found]
    if truth is not None and not any(each.truth for each in timelines):
        raise ValueError(f"--truth={call.truth}: has none of the videos, such as {shown(found[0].name)}")
    write_results(out / "segments.json", timelines)
    write_csv(out / "segments.csv", timelines)
    stems = file_stems(each.name for each in found)
    table = Table("video", "seconds", "class", "score")
    for each, timeline in zip(found, timelines, strict=True):
        least = _least(each, call.min_score, shown_share)
        write_srt(out / f"{stems[each.name]}.srt", timeline, min_score=least)
        _picture(out / f"{stems[each.name]}.png", timeline, each, least)
        if call.render and each.path:
            write_labelled(each.path, out / f"{stems[each.name]}.mp4", timeline, min_score=least, progress=progress)
        for row in [row for row in each.segments if row["score"] >= least][:5] or each.segments[:1]:
            span = f"{row['segment'][0]:.1f} - {row['segment'][1]:.1f}"
            table.add_row(literal(each.name, lines=False), span, row.get("class", ""), f"{row['score']:.4f}")
    show(table)
    show(f"segments     {out / 'segments.csv'}, {out / 'segments.json'}")
    show(f"per video    {out}/VIDEO.srt, VIDEO.png{', VIDEO.mp4' if call.render else ''}")


def _least(each: Located, given: float | None, shown_share: float) -> float:
    """The score from which on segments are shown."""
    if given is not None:
        return given
    return shown_share * max((row["score"] for row in each.segments), default=0.0)


def _picture(path: pathlib.Path, timeline: Timeline, each: Located, least: float) -> None:
    """Draws the timeline; says once what is missing to draw it."""
    kept = timeline._replace(segments=[row for row in timeline.segments if row["score"] >= least])
    try:
        save_picture(path, kept, curves=each.curves)
    except ImportError as error:
        log.info("no pictures: %s", error)


def _truth(file: str) -> dict[str, list[dict]]:
    """The annotations of an ActivityNet file, of any form that training reads, by video."""
    path = to_path(file)
    if not path.is_file():
        raise FileNotFoundError(f"--truth={does_not_exist(path)}")
    content = read_json(path, what="an annotation file")
    entries = content.get("database", content) if isinstance(content, dict) else None
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise ValueError(f'{path}: expected {{"NAME": {{"annotations": [{{"segment", "label"}}, ...]}}, ...}}')
    return {name: annotations_of(path, name, entry) for name, entry in entries.items()}


def _truth_of(each: Located, truth: dict | None) -> list[dict] | None:
    """The annotations of a video, under its name with or without "v_"; None: not known."""
    names = (each.name, f"v_{each.name}", each.name.removeprefix("v_"))
    return next((truth[name] for name in names if name in truth), None) if truth is not None else None
