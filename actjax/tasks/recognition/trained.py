"""A trained recogniser, for use from Python."""

import logging
import pathlib
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from actjax import training
from actjax.data.loading.snippet_reader import Summary
from actjax.interop import import_checkpoint
from actjax.models import embedding
from actjax.tasks.localizing import check_origin
from actjax.tasks.recognition.extractor import make_extractor
from actjax.tasks.recognition.localizing import propose
from actjax.tasks.recognition.predicting import Predictor
from actjax.tasks.recognition.run import RecognitionRun
from actjax.tasks.running import fitting
from actjax.tasks.trained import Trained
from actjax.workdir import progress

log = logging.getLogger("actjax")


def make_predictor(
    run: RecognitionRun, variables: dict, class_names: list[str], *, protocol: str = "test"
) -> Predictor:
    """The predictor of a run's network with these variables.

    Args:
      protocol: the config section that describes the clips, "test" or "eval".

    Raises:
      ValueError: the number of names differs from the network's number of classes.
    """
    model, (_, clips) = run.network.model, run.tested(protocol)
    if len(class_names) != model.num_classes:
        raise ValueError(
            f"{len(class_names)} class names for a network with {model.num_classes} classes; correct class_names.json "
            "in the workdir, or set data.class_names"
        )
    return Predictor(
        variables,
        clips=clips,
        logits=lambda variables, video: model.apply(variables, video, train=False),
        embed=lambda variables, video: embedding(model, variables, video[None], what="embedding")[0],
        multi_label=run.multi_label,
        class_names=class_names,
        timeout=run.loader.timeout,
    )


class TrainedRecogniser(Trained):
    """A trained run of recognition: classes, scores and features of videos.

    A video is a path or URL, the bytes of a file, or its frames, uint8 [t, h, w, c]. A list of videos and a folder give
    a result for each of them. Decoding runs in a process that a broken file may crash; `close` ends it.

    Attributes, besides those of every trained run:
      step: the step of the checkpoint.
    """

    def __init__(self, opened, workdir: pathlib.Path | None, *, checkpoint=None):
        super().__init__(opened, workdir, checkpoint=checkpoint)
        run = opened.run
        if workdir is None:
            imported = import_checkpoint(checkpoint, run.network.model)
            log.info("%s", imported.report)
            variables, self.step = jax.device_put(imported.variables), 0
        else:
            with fitting(opened.config, workdir):
                variables, self.step = run.network.restore(workdir, "best" if checkpoint is None else checkpoint)
            variables = training.local(variables)
        self._variables = variables
        self._predictor = make_predictor(run, variables, self.class_names)

    def _names_of_config(self) -> list[str]:
        return self._opened.run.class_names()

    def predict(self, video, *, topk: int = 5) -> list[dict]:
        """The likeliest classes, as `--mode=predict` writes them.

        Args:
          topk: how many.

        Returns:
          For one video [{"class", "label", "score"}], best first. For a list or a folder a row for each video,
          {"video", "predictions"}, or {"video", "error"} if it cannot be read. For one video that cannot be read the
          list of its row, [{"video", "error"}].

        Raises:
          FileNotFoundError: no such file, or a folder without videos. TypeError, ValueError: not a video, or no `topk`.
          ValueError: scores that are not finite, with the weights that are to blame.
        """
        with self._opened.turn():
            return self._predictor.predict(video, topk=topk)

    def scores(self, video) -> np.ndarray:
        """Probabilities of the classes, float32 [k]; [n, k] for a list of n >= 0 videos or a folder.

        Clips that are ready for the network, uint8 [b, t, h, w, c] or [b, v, t, h, w, c] with v crops, give [b, k].

        Raises:
          VideoError: a video cannot be read. Others as `predict`.
        """
        with self._opened.turn():
            return self._predictor.scores(video)

    def embed(self, video) -> np.ndarray:
        """The features before the classifier, float32 [d]; [n, d] for a list of n videos or a folder.

        Raises:
          ValueError: the network does not store such features, see `actjax.models.outside`. Others as `scores`.
        """
        with self._opened.turn():
            return self._predictor.embed(video)

    def propose(self, videos: list[str], *, out: pathlib.Path | None = None) -> dict[str, list[dict]]:
        """Proposals by TAG, from the probability of an action along videos; see `Trained.propose`."""
        with self._call(video=videos, out=out) as call:
            return propose(self._opened.run, call)

    def extract(self, videos: Sequence, folder: pathlib.Path, *, like: Mapping | None = None) -> Summary:
        """Writes the features of videos to `folder`.

        Args:
          videos: records.
          like: a note in `extraction.json`: features as those that it describes; None: as section `extract` says.

        Raises:
          ValueError: this network or its config is not that of the note. Others as `Extractor.extract`.
        """
        with self._opened.turn():
            options = dict(workdir=self.workdir, step=self.step, class_names=self.class_names)
            if like:
                options["protocol"] = like["source"]["protocol"]
            extractor = make_extractor(self.run, self.config, self._variables, **options)
            check_origin(extractor.origin, like, f"features by {self.workdir}")
            extractor = extractor._replace(suffix=(like or {}).get("suffix", extractor.suffix))
            return extractor.extract(videos, folder, progress=progress)

    def close(self) -> None:
        """Ends the process that decodes; the next video starts another one."""
        self._predictor.close()
