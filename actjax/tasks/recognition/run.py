"""A recogniser that can be trained, evaluated and used."""

import contextlib
import logging
import pathlib
from collections.abc import Callable
from typing import NamedTuple

from actjax import training
from actjax.config import unknown
from actjax.data.clips.spec import ClipSpec
from actjax.data.datasets.folders import Split
from actjax.data.datasets.mirrored import mirroring_warning
from actjax.data.datasets.recognition import Dataset, build_dataset, check_files, load_list, load_names
from actjax.data.prepared import writing
from actjax.data.prepared.reading import video_name
from actjax.errors import check_number, named
from actjax.tasks.building import Network
from actjax.tasks.loading import ClipData, LoaderConfig, open_quarantine
from actjax.tasks.recognition.evaluators import EvaluatorSpec, of_the_loop
from actjax.tasks.recognition.outputs import probabilities
from actjax.tasks.recognition.task import Test
from actjax.workdir import save_scores

log = logging.getLogger("actjax")

# Arguments of `writing.prepare` that do not come from the section `prepare`.
PREPARE_GIVEN = ("records", "folder", "split", "class_names", "progress", "modality", "backend", "processes", "timeout")
PREPARE_GIVEN += ("open_video",)


class Extraction(NamedTuple):
    """Section `extract`: the features [n, d] that `--mode=extract` computes of a video.

    interval: frames from one feature to the next.
    window: frames that each feature's clip spans; None: as many as `interval`. A network that was trained on clips
      spread over whole videos wants windows as long as these videos.
    num_frames: frames of each feature's clip, spread over the window; None: 1 for TSN, as many as in the test for TSM.
    what: "scores": logits, as in ActivityNet's published features. "embedding": the input of the classifier.
    chunk: clips that are decoded and go through the network at a time.
    suffix: ".csv" or ".npy".
    """

    interval: int = 16
    num_frames: int | None = None
    what: str = "scores"
    chunk: int = 16
    suffix: str = ".csv"
    window: int | None = None

    def check(self) -> "Extraction":
        """Returns itself. Raises ValueError for a value out of range or an unknown name."""
        with named("extract"):
            for name in ("interval", "chunk", "num_frames", "window"):
                if getattr(self, name) is not None:
                    check_number(name, getattr(self, name), "[1, inf)", whole=True)
        if self.what not in EMBEDDINGS:
            raise ValueError(f"extract.what={unknown(self.what, EMBEDDINGS)}")
        if self.suffix not in (".csv", ".npy"):
            raise ValueError(f"extract.suffix={self.suffix!r}; choose from .csv, .npy")
        return self


class Localization(NamedTuple):
    """Section `localize`: how a recogniser finds segments in untrimmed videos.

    window: seconds of a clip; None: the median length of the validation videos.
    stride: seconds from one clip to the next; None: a quarter of the window.
    threshold: probability from which on a class is there; None: chosen on the validation videos, see `calibrating`.
    tolerance: share of a segment in which its class is there, see `localization.grouped_runs`.
    min_seconds: shorter segments are dropped; None: half a window, or half the video if that is shorter.
    background: names of classes that stand for no action, besides "background".
    chunk: clips that are decoded and go through the network at a time.
    """

    window: float | None = None
    stride: float | None = None
    threshold: float | None = None
    tolerance: float = 0.8
    min_seconds: float | None = None
    background: tuple[str, ...] = ()
    chunk: int = 16

    def check(self) -> "Localization":
        """Returns itself. Raises ValueError for a value out of range."""
        with named("localize"):
            for name in ("window", "stride"):
                if getattr(self, name) is not None:
                    check_number(name, getattr(self, name), "(0, inf)")
            if self.threshold is not None:
                check_number("threshold", self.threshold, "[0, 1]")
            check_number("tolerance", self.tolerance, "(0, 1]")
            if self.min_seconds is not None:
                check_number("min_seconds", self.min_seconds, "[0, inf)")
            check_number("chunk", self.chunk, "[1, inf)", whole=True)
        return self


EMBEDDINGS = ("scores", "embedding")
PROTOCOLS = ("test", "eval")


class RecognitionRun(NamedTuple):
    """A recogniser, its clips and its data, as its config describes them.

    train_clips, eval_clips: clip specs of training, and of the validation during training.
    test: task and clip spec of test and prediction; those of the validation if the config has no section `test`.
    data: section `data`.
    multi_label: whether a video may have several classes.
    augment: augments training clips on the device; None: no augmentation.
    prepare_options: options of `data.prepared.writing.prepare`.
    localization: section `localize`, how segments are found in untrimmed videos.
    evaluators: evaluations besides the validation.
    judged_by: digest of the config sections that determine the metrics of the validation.
    split: of a folder of classes that was opened to settle the config, and that no workdir keeps yet.
    """

    network: Network
    data: dict
    multi_label: bool
    loader: LoaderConfig
    train_clips: ClipSpec
    eval_clips: ClipSpec
    test: Test
    augment: Callable | None
    prepare_options: dict
    extraction: Extraction
    localization: Localization
    evaluators: tuple[EvaluatorSpec, ...] = ()
    judged_by: str = ""
    split: Split | None = None

    def open_dataset(self) -> Dataset:
        """Records of both splits, and of the lists of evaluators. Generates a sample set on first use."""
        dataset = self._with_lists(build_dataset(self.data, num_classes=self.network.model.num_classes))
        check_files(self.data, dataset, max_broken=self.loader.max_broken, skip=self.loader.skip)
        return dataset

    def _with_lists(self, dataset: Dataset) -> Dataset:
        """The data set with the lists of all evaluators, which are read unless it has them."""
        missing = {evaluator.files for evaluator in self.evaluators if evaluator.files} - dataset.lists.keys()
        load = lambda files: load_list(self.data, files, num_classes=self.network.model.num_classes)
        return dataset._replace(lists={**dataset.lists, **{files: load(files) for files in sorted(missing)}})

    def class_names(self) -> list[str]:
        """The class names, without loading the records."""
        return load_names(self.data, num_classes=self.network.model.num_classes)

    def loop_data(self, dataset: Dataset, workdir: pathlib.Path) -> ClipData:
        """The data of the training loop."""
        return ClipData(
            dataset,
            open_quarantine(workdir, dataset, self.loader, further=dataset.lists.values()),
            loader=self.loader,
            settings=self.network.settings,
            train=self.train_clips,
            eval=self.eval_clips,
            further=dataset.lists.values(),
            judged_by=self.judged_by,
        )

    def train(
        self,
        workdir: pathlib.Path,
        *,
        data: ClipData | None = None,
        initial: Callable[[], dict] | None = None,
        describe: Callable[[], None] = lambda: None,
        standing: training.Standing | None = None,
    ) -> dict:
        """Trains in `workdir`, resuming where a killed run stopped -> the final metrics, see `training.train`.

        Args:
          data: the result of `loop_data`; None: the data set is opened here.
          initial: returns the initial variables; None: those of `load_from`, if the config has it.
          describe, standing: see `training.train`.
        """
        initial = initial or self.network.initial(workdir)
        data = data or self.loop_data(self.open_dataset(), workdir)
        evaluators = of_the_loop(self.evaluators, data, self.eval_clips, data.evaluate)
        names = data.dataset.class_names
        if warning := mirroring_warning(names, self.train_clips.view, self.train_clips.flip_labels):
            log.warning("%s", warning)
        log.info("parameter groups\n%s", self.network.groups)
        options = dict(initial=initial, evaluators=evaluators, describe=describe, standing=standing)
        metrics = self.network.train(data, workdir, **options)
        return metrics | data.num_broken(num_read=metrics["num_videos"])

    def evaluate(
        self, workdir: pathlib.Path, variables: dict, *, dataset: Dataset | None = None, protocol: str = "test"
    ) -> dict:
        """Scores the validation split and writes the probabilities of every video to `scores.npz` -> metrics.

        The metrics of all evaluators are among them, whatever their interval.

        Args:
          protocol: "test" or "eval", the config section that defines the clips of the validation.

        Raises:
          ValueError: the scores of a video are not finite; an unknown protocol.
        """
        dataset = self._with_lists(dataset) if dataset else self.open_dataset()
        task, clips = self.tested(protocol)
        data = self.loop_data(dataset, workdir)
        passes = data.one_pass(dataset.val, clips)

        def score(outputs, targets):
            names = [video_name(dataset.val[k]) for k in targets["record"]]
            options = dict(average_clips=clips.average_clips, multi_label=self.multi_label)
            save_scores(workdir / "scores.npz", names, probabilities(outputs["scores"], **options), targets["label"])
            return task.score(outputs, targets)

        validation = training.Evaluator(training.VALIDATION, 1.0, task.predict, score, passes)
        evaluators = [validation, *of_the_loop(self.evaluators, data, clips, passes)]
        with contextlib.closing(training.Evaluations(evaluators)) as evaluations:
            return {"protocol": protocol, **evaluations.run(evaluations.all, variables)}

    def tested(self, protocol: str) -> Test:
        """Task and clip spec of the section `protocol`, "test" or "eval". ValueError: another name."""
        if protocol not in PROTOCOLS:
            raise ValueError(f"protocol={unknown(protocol, PROTOCOLS)}")
        return self.test if protocol == "test" else Test(self.network.task, self.eval_clips)

    def prepare(
        self, records, folder: str, *, split: str, class_names: list[str], progress: Callable
    ) -> writing.Summary:
        """Writes a split of a prepared set, with the options of the sections `eval`, `loader` and `prepare`."""
        return writing.prepare(
            records,
            folder,
            split=split,
            class_names=class_names,
            modality=self.eval_clips.modality,
            backend=self.eval_clips.backend,
            processes=self.loader.num_workers,
            timeout=self.loader.timeout,
            progress=progress,
            **self.prepare_options,
        )
