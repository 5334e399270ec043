"""Section `evaluators`: evaluations beside the validation, each with its own videos, clips, metrics and interval."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from actjax import training
from actjax.config import Reader, unknown
from actjax.data.clips.spec import ClipSpec
from actjax.data.datasets.recognition import FROM_LISTS
from actjax.tasks.loading import ClipData
from actjax.tasks.recognition.scoring import find_metrics, task_metrics
from actjax.tasks.recognition.task import Test

SPLITS = ("val", "train")
RESERVED = ("train", "val", "num_videos", "confusion_matrix")  # names of other rows, tags and metrics


class EvaluatorConfig(NamedTuple):
    """Section `evaluators.NAME`; its metrics are reported as `NAME/METRIC`, and `run.best` may be one of them.

    Evaluators that see the same clips of the same videos, as the validation may, share a pass whenever they are due at
    the same step. Others start their own reader processes for every pass.

    split: "val" or "train", the videos to evaluate; None: "val", or those of `list`.
    list: annotation files, one or several, of the kind of `data`, read with its `data_prefix` and options.
    transform: "eval" or "test", the config section that describes the clips.
    metrics: one or several names, of `scoring.METRICS` or "package.module:name" of a function (scores [n, k], labels
      int64 [n] or float32 [n, k]) -> a finite number or a dict of them; None: the metrics of the validation. The scores
      are probabilities, float64 [n, k].
    interval: epochs from one evaluation to the next; None: `run.eval_every`.
    """

    split: str | None = None
    list: str | Sequence[str] | None = None
    transform: str = "eval"
    metrics: str | Sequence[str] | None = None
    interval: float | None = None


EVALUATOR = Reader((EvaluatorConfig,))
EVALUATORS = Reader(each=EVALUATOR)


class EvaluatorSpec(NamedTuple):
    """An evaluator as its section describes it.

    source: "val", "train", or the annotation files.
    every: epochs from one evaluation to the next.
    metrics: the names of its numbers, `NAME/METRIC`.
    """

    name: str
    source: str | tuple[str, ...]
    test: Test
    score: Callable
    every: float
    metrics: tuple[str, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """The annotation files; () if it evaluates a split."""
        return self.source if isinstance(self.source, tuple) else ()


def make_evaluators(
    sections: Mapping, tests: Mapping[str, Test], data: Mapping, num_classes: int, settings: training.Settings
) -> tuple[EvaluatorSpec, ...]:
    """The evaluators of a config, with every section checked.

    Args:
      sections: the section `evaluators`; None in place of one removes it.
      tests: the choices of `transform`.
      data: the section `data`.
      settings: with the interval of evaluators that set none, and the metric `best`.

    Raises:
      ValueError: an unknown key, split, transform or metric; an interval that is not positive; a name that is taken; a
        list for a data set that is not read from lists; an empty list; a `best` that neither the validation nor an
        evaluator reports.
    """
    if not isinstance(sections, Mapping):
        raise ValueError(f"evaluators: expected names and sections, got {sections!r}")
    labels = dict(num_classes=num_classes, multi_label=data.get("multi_class", False))
    own = task_metrics(tests["eval"].task, **labels)
    made = []
    for name, section in ((name, section) for name, section in sections.items() if section is not None):
        where = f"evaluators.{name}"
        if name in (taken := (*RESERVED, *own)) or not name or "/" in name:
            raise ValueError(f"{where}: choose another name, without a slash and none of {sorted(taken)}")
        given = EVALUATOR.bind(section, where)()
        if given.transform not in tests:
            raise ValueError(f"{where}.transform={unknown(given.transform, tests)}")
        test = tests[given.transform]
        score, metrics = test.task.score, own
        if given.metrics is not None:
            chosen = _several(given.metrics, f"{where}.metrics")
            averaged = dict(average_clips=test.clips.average_clips)
            score, metrics = find_metrics(chosen, f"{where}.metrics", **labels, **averaged)
        names = tuple(f"{name}/{metric}" for metric in metrics)
        every = _every(given, where, settings.eval_every)
        made.append(EvaluatorSpec(name, _source(given, where, data), test, score, every, names))
    best_of = [*own, *(metric for evaluator in made for metric in evaluator.metrics)]
    if settings.best not in best_of:
        default = settings.best == training.Settings._field_defaults["best"]
        raise ValueError(
            f"run.best={unknown(settings.best, best_of)}" + "; this is the default, so set run.best" * default
        )
    return tuple(made)


def _source(given: EvaluatorConfig, where: str, data: Mapping) -> str | tuple[str, ...]:
    if given.list is None:
        split = "val" if given.split is None else given.split
        if split not in SPLITS:
            raise ValueError(f"{where}.split={unknown(split, SPLITS)}")
        return split
    if given.split is not None:
        raise ValueError(f"{where}: set split or list, not both")
    if data["name"] not in FROM_LISTS:
        raise ValueError(
            f"{where}.list: data.name={data['name']!r} is not read from annotation files, only {FROM_LISTS} are; "
            "set split instead"
        )
    return _several(given.list, f"{where}.list")


def _every(given: EvaluatorConfig, where: str, default: float) -> float:
    every = default if given.interval is None else given.interval
    if isinstance(every, bool) or not isinstance(every, (int, float)) or not 0 < every < float("inf"):
        raise ValueError(f"{where}.interval={every!r}; must be a positive number of epochs")
    return every


def _several(names: str | Sequence[str], where: str) -> tuple[str, ...]:
    """One name or several -> a tuple of names."""
    names = (names,) if isinstance(names, str) else names
    if not isinstance(names, (tuple, list)) or not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"{where}={names!r}; expected one name or several")
    return tuple(names)


def of_the_loop(
    evaluators: Iterable[EvaluatorSpec], data: ClipData, clips: ClipSpec, validation: Callable
) -> list[training.Evaluator]:
    """The evaluators as the training loop calls them. Those that see the same clips of the same videos share a pass.

    Args:
      clips, validation: the clip spec and the `passes` of the validation, which are shared, too.
      checked: (score, its records) -> the score to use.
    """
    passes = {("val", id(clips)): validation}
    made = []
    for evaluator in evaluators:
        task, own_clips = evaluator.test
        seen = evaluator.source, id(own_clips)
        if seen not in passes:
            records = (
                data.dataset.lists[evaluator.files] if evaluator.files else getattr(data.dataset, evaluator.source)
            )
            passes[seen] = data.one_pass(records, own_clips)
        made.append(training.Evaluator(evaluator.name, evaluator.every, task.predict, evaluator.score, passes[seen]))
    return made
