"""The window, stride and threshold of `--mode=localize`, where the config leaves them to the validation videos."""

import json
import logging

import jax
import numpy as np

from actjax.config.changes import digest_of_config
from actjax.data.clips.transforms import dense_sample_frames
from actjax.data.loading.quarantine import Quarantine
from actjax.data.loading.snippet_reader import each_video
from actjax.paths import rewrite
from actjax.tasks.loading import digest_of_arrays
from actjax.tasks.localizing import read_clocks
from actjax.tasks.recognition.extractor import network_sections
from actjax.tasks.recognition.run import Localization
from actjax.tasks.recognition.sliding import Scorer
from actjax.tasks.running import Call
from actjax.text_files import read_json
from actjax.workdir import progress

log = logging.getLogger("actjax")

MOST = 200  # validation videos that are looked at, evenly spaced in their list
DENSE = 64  # frames of a dense clip, see `video.sampling.dense_sample_frames`
KEPT = 0.95  # share of the windows of right classes that a threshold keeps, where there is no background
_FILE = "localize.json"  # in the workdir: what was chosen
_CHOSEN = ("window", "stride", "threshold")


def filled(run, call: Call, variables: dict, action: np.ndarray) -> Localization:
    """Section `localize`, with what it leaves open chosen on the run's validation videos and kept in the workdir.

    The window is as long as a clip of the network, see `clip_seconds`, the stride a quarter of it. The threshold is
    chosen by `threshold_of` from windows along the validation videos.

    Args:
      variables: of the run's network, on this host. action: bool [k], which classes are actions.

    Raises:
      ValueError: the validation videos tell nothing. Whatever `run.open_dataset` raises.
    """
    options = run.localization
    if options.window is not None:
        options = options._replace(stride=options.stride or options.window / 4)
        if options.threshold is not None:
            return options
    file = call.workdir / _FILE
    sections = network_sections(call.config, "test", localize=options._asdict(), action={"classes": action.tolist()})
    chosen_by = digest_of_config({"network": digest_of_arrays(variables), **sections})
    known = read_json(file, what="what localize chose") if file.exists() else {}
    if isinstance(known, dict) and known.get("chosen_by") == chosen_by:
        return options._replace(**{name: known[name] for name in _CHOSEN})
    options = _chosen(run, call, variables, options, action)
    if jax.process_index() == 0:
        chosen = {name: getattr(options, name) for name in _CHOSEN}
        rewrite(file, json.dumps(chosen | {"chosen_by": chosen_by}, indent=1))
    chosen = [f"{name}={getattr(options, name):.4g}" for name in _CHOSEN if getattr(run.localization, name) is None]
    log.info("chosen on the validation videos: %s; section localize of the config sets them", ", ".join(chosen))
    return options


def _chosen(run, call: Call, variables: dict, options: Localization, action: np.ndarray) -> Localization:
    try:
        records = run.open_dataset().val
    except (FileNotFoundError, ValueError) as error:
        raise ValueError(
            f"the validation videos, which tell window and threshold, cannot be opened: {error}; or set "
            "--config.localize.window=SECONDS --config.localize.threshold=P"
        ) from error
    records = some_of(records)
    if options.window is None:
        if (window := clip_seconds(run, records)) is None:
            raise ValueError("no validation video tells its length in seconds; set --config.localize.window=SECONDS")
        options = options._replace(window=window, stride=options.stride or window / 4)
    if options.threshold is None:
        options = options._replace(threshold=_threshold(run, call, variables, options, action, records))
    return options


def some_of(records) -> list:
    """At most `MOST` of the records, evenly spaced."""
    return [records[k] for k in np.unique(np.linspace(0, len(records) - 1, MOST).astype(int))]


def clip_seconds(run, records) -> float | None:
    """The seconds that a clip of a network spans: those of the median video, or of `sample_range` frames of it if clips
    are dense; None: no video tells."""
    clocks = [*read_clocks(records, timeout=run.loader.timeout).values()]
    if not clocks:
        return None
    most = getattr(run.test.clips.sample, "keywords", {}).get("sample_range", DENSE) if _is_dense(run) else np.inf
    return float(np.median([min(clock.duration, most / clock.fps) for clock in clocks]))


def _is_dense(run) -> bool:
    """Whether the frames of a clip come from one window of the video."""
    return getattr(run.test.clips.sample, "func", None) is dense_sample_frames


def _threshold(run, call: Call, variables: dict, options: Localization, action: np.ndarray, records) -> float:
    """Scores windows along videos with labels -> `threshold_of` them."""
    scorer, there, nothing = Scorer(run, call.config, variables, options), [], []

    def use(record, parts) -> None:
        scores, label = scorer(record, parts).scores, np.asarray(record.label)
        classes = np.flatnonzero(label) if label.ndim else [int(label)]
        actions = [k for k in classes if action[k]]
        if not actions:
            nothing.extend(scores[:, action].max(axis=1))
        for k in actions:
            right = scores[:, k] >= scores.max(axis=1) if not run.multi_label else scores[:, k] >= 0.5
            there.extend(scores[right, k])

    shown = progress(records, len(records), "validation videos")
    unread = Quarantine(call.workdir / "quarantine.jsonl", num_records=len(records), max_share=1.0)
    each_video(shown, scorer.window, use, quarantine=unread, timeout=run.loader.timeout)
    if not there:
        raise ValueError(
            "no window of the validation videos is classified right, so they tell no threshold; train longer, or set "
            "--config.localize.threshold=P"
        )
    return threshold_of(np.array(there), np.array(nothing))


def threshold_of(there, nothing) -> float:
    """The probability from which on a class is taken to be there.

    Without background, the one that 95 % of the probabilities of right classes reach; with it, the one that parts both
    best: the share of right windows that reach it, less the share of background windows that do, is largest.

    >>> round(threshold_of(np.linspace(0, 1, 101), []), 6), threshold_of([0.9, 0.8, 0.7, 0.2], [0.3, 0.6])
    (0.05, 0.7)

    Args:
      there: probabilities of the right class, of windows that are classified right. nothing: the highest probability of
        an action in windows of background.
    """
    if not len(nothing):
        return float(np.quantile(there, 1 - KEPT))
    edges = np.unique(there)
    kept = 1 - np.searchsorted(np.sort(there), edges) / len(there)
    wrong = 1 - np.searchsorted(np.sort(nothing), edges) / len(nothing)
    return float(edges[np.argmax(kept - wrong)])
