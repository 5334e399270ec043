"""Videos of any form -> their top classes, scores or features, by a trained recogniser.

A video is a path or URL of a file, the bytes of a file, or its frames, uint8 [t, h, w, c].
"""

import contextlib
import functools
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import numpy as np

from actjax.data.clips.spec import ClipSpec
from actjax.data.datasets.records import FramesRecord
from actjax.data.loading.readers import Readers
from actjax.tasks.recognition.outputs import check_finite, probabilities
from actjax.tasks.videos import is_several, records_of
from actjax.training.preemption import compiling
from actjax.video.errors import VideoError


class Predictor:
    """Makes clips of videos in a process that can be killed, and takes them through the network one video at a time.

    Args:
      clips: the clip spec of the test.
      logits: (variables, clips uint8 [v, t, h, w, c]) -> [v, k], of every crop.
      embed: the same -> [d], the mean over the crops.
      multi_label: the classes do not exclude each other: sigmoid in place of softmax.
      class_names: k names.
      timeout: seconds that decoding one video may take.
    """

    def __init__(
        self,
        variables: dict,
        *,
        clips: ClipSpec,
        logits: Callable,
        embed: Callable,
        multi_label: bool,
        class_names: Sequence[str],
        timeout: float = 30.0,
    ):
        self._variables, self._clips, self._names = variables, clips, list(class_names)
        self._timeout, self._readers = timeout, None
        self._compiled = set()  # functions and shapes of clips
        self._embed = jax.jit(embed)
        averaged, activation = clips.average_clips == "prob", jax.nn.sigmoid if multi_label else jax.nn.softmax
        options = dict(average_clips=clips.average_clips, multi_label=multi_label)
        self._probabilities = functools.partial(probabilities, **options)

        def scores(variables, video):
            each = logits(variables, video)
            return (activation(each) if averaged else each).mean(0)

        self._scores = jax.jit(scores)

    def predict(self, video, *, topk: int = 5) -> list[dict] | list:
        """The `topk` likeliest classes of a video, best first: [{"class", "label", "score"}].

        For a list of videos or a folder: a row for each, {"video", "predictions"}. A video that cannot be read gives a
        row {"video", "error"}, also if it is alone.

        Raises:
          ValueError: `topk` is not a whole number above 0; scores that are not finite. Others as `records_of`.
        """
        if not isinstance(topk, int | np.integer) or topk < 1:
            raise ValueError(f"topk={topk!r}; must be a whole number, 1 or more")
        rows = list(self.rows(records_of(video), topk=topk))
        return rows if is_several(video) or "error" in rows[0] else rows[0]["predictions"]

    def rows(self, records: Iterable, *, topk: int = 5) -> Iterator[dict]:
        """Yields {"video", "predictions"} or {"video", "error"} for every video."""
        for record in records:
            try:
                scores = self._scores_of(record)
            except VideoError as error:
                yield {"video": record.path, "error": error.reason}
                continue
            best = np.argsort(-scores, kind="stable")[:topk]
            found = [{"class": self._names[k], "label": int(k), "score": float(scores[k])} for k in best]
            yield {"video": record.path, "predictions": found}

    def scores(self, video) -> np.ndarray:
        """Probabilities, float32 [k]; [n, k] for a list of n videos or a folder.

        Clips that are ready for the network, uint8 [b, t, h, w, c] or [b, v, t, h, w, c] with v crops, give [b, k].

        Raises:
          VideoError: a video cannot be read. ValueError: clips of another shape; scores that are not finite.
        """
        if isinstance(video, np.ndarray | jax.Array) and np.ndim(video) in (5, 6):
            each = [self._run(self._scores, clips, f"clip {k}") for k, clips in enumerate(self._crops(video))]
            scores = self._probabilities(each) if each else self._nothing(self._scores)
        else:
            scores = self._each(self._scores_of, video, self._scores)
        return scores.astype(np.float32)

    def embed(self, video) -> np.ndarray:
        """The features before the classifier, float32 [d] or [n, d]; arguments and errors as `scores`."""
        return self._each(lambda record: self._run(self._embed, self._read(record), record.path), video, self._embed)

    def close(self) -> None:
        """Ends the reader process; the next call starts another one."""
        if self._readers is not None:
            self._end()
            self._readers = None

    def _each(self, function: Callable, video, network: Callable) -> np.ndarray:
        """`function` of the video's record, or of each record of several videos; `network` makes the last step."""
        results = [function(record) for record in records_of(video)]
        if not results:
            return self._nothing(network)
        return np.stack(results) if is_several(video) else results[0]

    def _nothing(self, network: Callable) -> np.ndarray:
        """The result for an empty list of videos: float32 [0, k] or [0, d]."""
        clips = jax.ShapeDtypeStruct(self._clips.clip_shape, np.uint8)
        return np.zeros((0, *jax.eval_shape(network, self._variables, clips).shape), np.float32)

    def _scores_of(self, record) -> np.ndarray:
        """Probabilities, float64 [k]."""
        return self._probabilities(self._run(self._scores, self._read(record), record.path))

    def _run(self, network: Callable, clips, name: str) -> np.ndarray:
        """The output of a jitted function for the clips of the video `name`, [v, t, h, w, c]."""
        known = (network, clips.shape) in self._compiled
        with contextlib.nullcontext() if known else compiling("interrupted while compiling", what="the network"):
            output = np.asarray(network(self._variables, clips))
        self._compiled.add((network, clips.shape))
        check_finite(output, name)
        return output

    def _read(self, record) -> np.ndarray:
        """The clips of a video, uint8 [v, t, h, w, c]."""
        if isinstance(record, FramesRecord):  # nothing to decode
            pixels, c = record.pixels, self._clips.clip_shape[-1]
            if pixels.shape[-1] * self._clips.stack != c:
                raise ValueError(f"frames have {pixels.shape[-1]} channels; the clips of the network have {c}")
            return self._clips.read(record, rngs=lambda name: None).video
        if self._readers is None:
            self._readers = Readers(self._clips, 1, timeout=self._timeout)
            self._end = weakref.finalize(self, self._readers.close)
        return self._readers.read(record).video

    def _crops(self, clips) -> np.ndarray:
        """Checks clips -> uint8 [b, v, t, h, w, c]."""
        clips = np.asarray(clips)
        shape = self._clips.clip_shape[1:]
        if clips.dtype != np.uint8 or clips.shape[-4:] != shape or (clips.ndim == 6 and not clips.shape[1]):
            raise ValueError(f"clips are {clips.dtype} {clips.shape}; the network takes uint8 [b, t, h, w, c], {shape}")
        return clips if clips.ndim == 6 else clips[:, None]
