"""Untrimmed videos -> scores of their proposals. Every clip goes through the network once.

Shapes: n ticks (evenly spaced clips of a video), v crops, t frames, h w pixels, c channels, d features, p proposals,
k classes.
"""

import functools
import hashlib
import logging
import pathlib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from actjax.data.clips.snippets import embedded, filled
from actjax.data.clips.ssn_clips import Ticks
from actjax.data.datasets.ssn_lists import SSNRecord
from actjax.data.loading.order import Shard
from actjax.data.loading.quarantine import Quarantine
from actjax.data.loading.snippet_reader import Summary, counted, each_video
from actjax.localization.ssn import RESULT_KEYS
from actjax.models import proposal_scores, tick_features, tick_scores
from actjax.paths import replace
from actjax.training.devices import Chunks
from actjax.video_files import file_stems, found_file
from actjax.workdir import progress

log = logging.getLogger("actjax")


def score_videos(
    records: Sequence[SSNRecord],
    folder: pathlib.Path,
    scorer: "Scorer",
    *,
    quarantine: Quarantine,
    timeout: float = 30.0,
    shard: Shard = Shard(),
    made_by: str = "",
) -> Summary:
    """Writes the proposal scores of every video to `FOLDER/<video>.npz`, resuming where a killed run stopped.

    A file holds `RESULT_KEYS` and `fps`, the frame rate, or 0 for a folder of pictures; `video_files` says how it is
    called. An unreadable video goes to the quarantine and gets no file. A file that is damaged, or was made by another
    network or for another video, is made again.

    Args:
      records: the videos of the folder, those of all hosts.
      scorer: computes the scores of a video.
      timeout: seconds that decoding a chunk of a video may take.
      shard: this host's shard; it takes every count-th video.
      made_by: digest of what the scores depend on, which is kept in the files; "": files are not compared.

    Raises:
      RuntimeError: more broken videos than the quarantine allows.
    """
    mine = records[shard.index :: shard.count]
    todo = [record for record in mine if _result(folder, record.video, made_by) is None]
    readable = [record for record in todo if not quarantine.skips(record.path)]

    stems = file_stems(record.video for record in records)
    folder.mkdir(parents=True, exist_ok=True)

    def save(record, parts) -> None:
        result = scorer(record, parts, watch=inside) | ({"made_by": _seal(made_by, record.video)} if made_by else {})
        replace(folder / f"{stems[record.video]}.npz", functools.partial(_save, result=result))

    shown, inside = counted(readable, progress, "scores")
    done = each_video(shown, scorer.ticks, save, quarantine=quarantine, timeout=timeout)
    return Summary(done, len(mine) - len(todo), len(todo) - done)


def load_results(
    records: Sequence[SSNRecord], folder: pathlib.Path, num_classes: int, *, made_by: str = ""
) -> list[dict]:
    """The output of `score_videos`, as input of `localization.ssn_detections`. A video without a file gets no rows."""
    k = num_classes
    nothing = dict(zip(RESULT_KEYS, (np.zeros((0, *shape)) for shape in ((2,), (k + 1,), (k,), (k, 2))), strict=True))
    results = []
    for record in records:
        results.append(_result(folder, record.video, made_by) or nothing | {"fps": 0.0})
    return results


def _result(folder: pathlib.Path, video: str, made_by: str) -> dict[str, np.ndarray] | None:
    """The scores of a video; None if there are none, or the file is damaged or not of this network and video."""
    path = found_file(folder, video, ".npz")
    try:
        with np.load(path) as file:
            scores = {name: file[name] for name in file.files}
        if missing := {*RESULT_KEYS[:3], "fps"} - scores.keys():
            raise ValueError(f"it lacks {sorted(missing)}")
        if str(scores.pop("made_by", "")) != _seal(made_by, video) and made_by:
            log.warning("%s was made by another network or for another video; it is made again", path)
            return None
        return scores
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        log.warning("%s is damaged (%s); it is made again", path, error)
        return None


def _seal(made_by: str, video: str) -> str:
    return hashlib.sha256(f"{made_by}\n{video}".encode("utf-8", "surrogatepass")).hexdigest()[:16]


class Scoring(NamedTuple):
    """Section `test`, without its key `view`.

    chunk: clips of a video that are decoded and go through the network at a time.
    divide_parts: see `models.tick_scores`.
    """

    chunk: int = 16
    divide_parts: bool = True


class Scorer:
    """Scores the proposals of a video from its clips, on this host's devices.

    Args:
      reg_norm_consts: normalisation constants of the regression in training.
      divide_parts: see `models.tick_scores`.
    """

    def __init__(self, model, variables: dict, ticks: Ticks, reg_norm_consts, *, divide_parts: bool = True):
        self.ticks = ticks
        self._chunks = Chunks(variables, ticks.chunk)
        self._features = jax.jit(functools.partial(tick_features, model))
        options = dict(reg_norm_consts=reg_norm_consts, divide_parts=divide_parts)
        self._pool = jax.jit(functools.partial(pooled, model, **options))

    def __call__(self, record: SSNRecord, parts: Iterator, *, watch: Callable | None = None) -> dict[str, np.ndarray]:
        """Returns `RESULT_KEYS` and `fps`; `parts` is the output of `Ticks.read`, `watch` as in `embedded`.

        Raises:
          VideoError: raised by `parts`.
        """
        length, features = embedded(parts, self._embed, self._chunks.size, watch=watch)
        item = self.ticks.item(record)
        found = self._pool(
            self._chunks.variables,
            _rounded(features),
            _rounded(item.proposal_tick_list),
            _rounded(item.scale_factor_list),
            num_ticks=length.num_snippets,
        )
        rows = [None if x is None else np.asarray(x)[: len(item.proposal_tick_list)] for x in found]
        values = zip(RESULT_KEYS, (item.relative_proposal_list, *rows), strict=True)
        return {name: value for name, value in values if value is not None} | {"fps": np.float64(length.fps)}

    def _embed(self, clips: np.ndarray):
        return self._features(self._chunks.variables, self._chunks.put(clips))


def pooled(model, variables, features, ticks, factors, *, num_ticks, reg_norm_consts, divide_parts: bool):
    """Tick features -> proposal scores; see `tick_scores` and `proposal_scores` for the arguments."""
    scores = tick_scores(model, variables, features, divide_parts=divide_parts)
    return proposal_scores(model, scores, ticks, factors, reg_norm_consts, num_ticks)


def _rounded(rows: np.ndarray) -> np.ndarray:
    """Zero-pads the rows to a power of two, at least 64, so that few shapes are compiled."""
    return filled(rows, max(64, 1 << (len(rows) - 1).bit_length()))


def _save(file, *, result: dict[str, np.ndarray]) -> None:
    np.savez(file, **result)
