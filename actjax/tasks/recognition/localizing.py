"""A recogniser along new videos: the probabilities of its classes in a sliding window, grouped into segments."""

import pathlib
from collections.abc import Sequence

import numpy as np

from actjax import training
from actjax.data.loading.quarantine import Quarantine
from actjax.errors import shown
from actjax.localization import actionness_grouping, grouped_runs
from actjax.tasks.loading import this_shard
from actjax.tasks.localizing import Located, files_of, refuse
from actjax.tasks.recognition.calibrating import filled
from actjax.tasks.recognition.run import Localization
from actjax.tasks.recognition.sliding import Scored, Scorer, read_scores, score_videos
from actjax.tasks.running import Call, names_of, restored
from actjax.tasks.videos import distinct_names
from actjax.timelines import Curves
from actjax.workdir import progress

BACKGROUND = "background"  # a class of this name is no action


def locate(run, call: Call) -> list[Located]:
    """The segments of every class along new videos, best first.

    Raises:
      ValueError: as `calibrating.filled`; a name in `localize.background` is no class. FileNotFoundError: no video.
    """
    refuse(call, "a run of TSN or TSM takes videos alone, --video=FILE", "features", "network", "proposals")
    names, located = names_of(call.config, call.workdir), []
    found, action, options = _scored(run, call)
    for name, path, scored in found:
        rows = segments_of(scored, names, action, options, multi_label=run.multi_label)
        middles = (scored.edges[1:] + scored.edges[:-1]) / 2
        kept = Curves(middles, scored.scores[:, action], [names[k] for k in np.flatnonzero(action)])
        located.append(Located(name, path, scored.clock.duration, rows, kept))
    return located


def propose(run, call: Call) -> dict[str, list[dict]]:
    """Proposals of new videos from the probability of an action, grouped by TAG -> {path: rows as in `Located`}."""
    found, action, _ = _scored(run, call)
    proposals = {}
    for _, path, scored in found:
        there = scored.scores[:, action]
        curve = there.max(axis=1) if action.all() or run.multi_label else there.sum(axis=1)
        rows = actionness_grouping(np.clip(curve, 0, 1))
        ends = scored.edges[rows[:, :2].astype(int)]
        proposals[path] = [{"segment": s, "score": x} for s, x in zip(ends.tolist(), rows[:, 2].tolist(), strict=True)]
    return proposals


def segments_of(
    scored: Scored, names: Sequence[str], action: np.ndarray, options: Localization, *, multi_label: bool
) -> list[dict]:
    """The segments of a video in which a class is there, {"segment", "score", "class"}, best first.

    Where classes exclude each other, only the likeliest is there.

    Args:
      names: of the k classes. action: bool [k], whether a class is an action.
      options: with a threshold.
    """
    edges, rows, scores = scored.edges, [], scored.scores
    likeliest = scores.argmax(axis=1)
    shortest = options.min_seconds
    if shortest is None:
        shortest = min(options.window, scored.clock.duration) / 2
    for k in np.flatnonzero(action):
        there = scores[:, k] if multi_label else np.where(likeliest == k, scores[:, k], 0.0)
        least = max(options.threshold, 1e-9)  # what is not the likeliest is never there
        for first, last, _ in grouped_runs(there, threshold=least, tolerance=options.tolerance).astype(int):
            start, end = edges[first], edges[last]
            if end - start >= shortest - 1e-9:
                mean = float(scores[first:last, k].mean())
                rows.append({"segment": [float(start), float(end)], "score": mean, "class": names[k]})
    return sorted(rows, key=lambda row: (-row["score"], row["segment"]))


def _actions(names: Sequence[str], options: Localization) -> np.ndarray:
    """Which classes are actions, bool [k]. ValueError: a name in `localize.background` is no class."""
    if wrong := [name for name in options.background if name not in names]:
        raise ValueError(f"localize.background: {shown(wrong[0])} is no class; the classes are {shown(list(names))}")
    action = np.array([name not in options.background and name.lower() != BACKGROUND for name in names])
    if not action.any():
        raise ValueError("localize.background: no class is left that is an action")
    return action


def _scored(run, call: Call) -> tuple[list[tuple[str, str, Scored]], np.ndarray, Localization]:
    """Scores the call's videos -> (name, path, scores) of those that can be read; which classes are actions, bool [k];
    and the options, filled in.

    Hosts share the videos; scores are kept in `OUT/scores`, so a call that was killed goes on where it stopped.
    """
    records, folder = files_of(call), pathlib.Path(call.out) / "scores"
    variables = training.local(restored(run, call)[0])
    action = _actions(names_of(call.config, call.workdir), run.localization)
    options = filled(run, call, variables, action)
    scorer = Scorer(run, call.config, variables, options)
    videos = dict(zip(distinct_names([record.path for record in records]), records, strict=True))
    folder.mkdir(parents=True, exist_ok=True)
    unread = Quarantine(folder.parent / "quarantine.jsonl", num_records=len(records), max_share=1.0)
    shared = dict(quarantine=unread, timeout=run.loader.timeout, shard=this_shard(), progress=progress)
    score_videos(videos, folder, scorer, **shared)
    training.wait_for_all("the scores")
    found = [(name, record.path, read_scores(folder, name, scorer, record)) for name, record in videos.items()]
    return [each for each in found if each[2] is not None], action, options
