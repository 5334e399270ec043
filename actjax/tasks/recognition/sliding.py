"""The probabilities of a recogniser's classes in a window that slides along videos."""

import functools
import pathlib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import jax
import numpy as np

from actjax.config.changes import digest_of_config
from actjax.data.clips.sliding import SlidingWindow
from actjax.data.clips.snippets import embedded
from actjax.data.loading.order import Shard
from actjax.data.loading.snippet_reader import counted, each_video
from actjax.paths import replace
from actjax.tasks.loading import digest_of_arrays
from actjax.tasks.recognition.extracting import source_of, stamp_of
from actjax.tasks.recognition.extractor import network_sections
from actjax.tasks.recognition.outputs import check_finite
from actjax.tasks.recognition.run import Localization
from actjax.training.devices import Chunks
from actjax.video.clock import Clock
from actjax.video_files import file_stems, found_file


class Scored(NamedTuple):
    """A video's clock, the frames at which the steps of the window begin and the last ends [n + 1], and probabilities
    of the classes at each step, float32 [n, k]."""

    clock: Clock
    places: np.ndarray
    scores: np.ndarray

    @property
    def edges(self) -> np.ndarray:
        """Seconds at which the steps begin, and the last ends [n + 1]."""
        return self.clock.seconds(self.places)


class Scorer:
    """Scores the clips of a sliding window, on this host's devices.

    Args:
      run: a `RecognitionRun`. config: its config. variables: of its network, on this host.
      options: with window and stride.
    """

    def __init__(self, run, config, variables: dict, options: Localization):
        model, clips = run.network.model, run.test.clips
        self._chunks = Chunks(variables, options.chunk)
        self.window = SlidingWindow(clips, options.window, options.stride, clips.clip_shape[1], self._chunks.size)
        activation = jax.nn.sigmoid if run.multi_label else jax.nn.softmax

        def probabilities(variables, video):
            n, v = video.shape[:2]
            logits = model.apply(variables, video.reshape(n * v, *video.shape[2:]), train=False).reshape(n, v, -1)
            return activation(logits).mean(1) if clips.average_clips == "prob" else activation(logits.mean(1))

        self._probabilities = jax.jit(probabilities)
        sections = network_sections(config, "test", localize={"window": options.window, "stride": options.stride})
        self.made_by = digest_of_config({"network": digest_of_arrays(variables), **sections})

    def __call__(self, record, parts: Iterator, *, watch: Callable | None = None) -> Scored:
        """The scores of a video; `parts` is the output of `window.read` for the record, `watch` as in `embedded`.

        Raises:
          VideoError: raised by `parts`. ValueError: scores that are not finite.
        """
        score = lambda clips: self._probabilities(self._chunks.variables, self._chunks.put(clips))
        (clock, places), scores = embedded(parts, score, self._chunks.size, watch=watch)
        check_finite(scores, record.path)
        return Scored(clock, places, scores.astype(np.float32))


def score_videos(
    videos: Mapping[str, object],
    folder: pathlib.Path,
    scorer: Scorer,
    *,
    quarantine,
    timeout: float,
    shard: Shard = Shard(),
    progress: Callable = lambda items, total, what: items,
) -> None:
    """Writes the scores of every video to `FOLDER/<name>.npz`, resuming where a killed run stopped.

    Args:
      videos: name -> record.
      shard: this host's shard; it takes every count-th video.
    """
    stems, mine = file_stems(videos), [*videos.items()][shard.index :: shard.count]
    names = {record.path: name for name, record in mine}
    todo = [record for name, record in mine if read_scores(folder, name, scorer, record) is None]

    def save(record, parts) -> None:
        scored, name = scorer(record, parts, watch=inside), names[record.path]
        replace(folder / f"{stems[name]}.npz", functools.partial(_save, scored=scored, seal=_seal(scorer, record)))

    shown, inside = counted(todo, progress, "videos")
    each_video(shown, scorer.window, save, quarantine=quarantine, timeout=timeout)


def read_scores(folder: pathlib.Path, name: str, scorer: Scorer, record) -> Scored | None:
    """The scores of a video; None: there are none, they are damaged, or not of this network and video."""
    try:
        with found_file(folder, name, ".npz").open("rb") as content, np.load(content) as file:
            if str(file["made_by"]) != _seal(scorer, record):
                return None
            times = file["times"] if len(file["times"]) else None
            clock = Clock(int(file["num_frames"]), float(file["fps"]), times)
            return Scored(clock, file["places"], file["scores"])
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None


def _seal(scorer: Scorer, record) -> str:
    return digest_of_config({"scorer": scorer.made_by, "video": source_of(record), "stamp": stamp_of(record)})


def _save(file, *, scored: Scored, seal: str) -> None:
    clock = scored.clock
    times = np.zeros(0) if clock.times is None else clock.times
    about = dict(num_frames=clock.num_frames, fps=clock.fps, times=times, made_by=seal)
    np.savez(file, places=scored.places, scores=scored.scores, **about)
