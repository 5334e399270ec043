"""Passes over sets of records -> metrics. Every record counts once, on any number of devices and hosts."""

import contextlib
import functools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from actjax.training import devices
from actjax.training.preemption import compiling

log = logging.getLogger(__name__)

INPUTS = ("video", "feature")  # not gathered with the targets, because they are large
VALIDATION = ""  # the name of the evaluator whose metrics have no prefix


class Evaluator(NamedTuple):
    """An evaluation that a run repeats.

    Evaluators that are due at the same step and have the same `predict` and `passes` share a pass.

    name: prefix of its metrics, which are reported as `name/metric`; "" for the validation: no prefix.
    every: epochs from one evaluation to the next. The last step of a run evaluates in any case.
    predict: (variables, batch) -> dict of arrays [b, ...], jittable.
    score: (outputs of `predict`, targets), dicts of NumPy arrays without padding -> dict of floats and arrays.
    passes: () -> an iterator of passes, each an iterator over this host's batches; it has `close()`.
    """

    name: str
    every: float
    predict: Callable[[dict, dict], dict]
    score: Callable[[dict, dict], dict]
    passes: Callable[[], Iterator]

    def names(self, metrics: dict) -> dict:
        """The metrics under the names that a run reports."""
        return {f"{self.name}/{name}": value for name, value in metrics.items()} if self.name else metrics


class Evaluations:
    """The evaluators of a run, the validation first, with what they keep from one evaluation to the next.

    The compiled functions are kept, and the open passes of the validation: its reader processes are warm. All other
    passes are closed once they were used, with their processes and memory.

    Args:
      compile: makes the compiled form of a `predict`.
      put: as in `stream`.
      best: a metric that its evaluator has to report; None: no check.
    """

    def __init__(
        self,
        evaluators: Sequence[Evaluator],
        *,
        compile: Callable = jax.jit,
        put: Callable | None = None,
        best: str | None = None,
    ):
        self.all, self._put, self._best = tuple(evaluators), put, best
        self._compiled = functools.cache(functools.partial(_announced, compile))
        self._kept = evaluators[0].passes, evaluators[0].passes()

    def run(self, due: Sequence[Evaluator], variables) -> dict:
        """The metrics of all evaluators in `due`, each pass made once.

        Raises:
          RuntimeError: no record of a pass could be read.
          FloatingPointError: the network's scores are not finite.
          ValueError: the evaluator of the metric `best` does not report it.
        """
        passes: dict[tuple, list[Evaluator]] = {}
        for evaluator in due:
            passes.setdefault((evaluator.predict, evaluator.passes), []).append(evaluator)
        metrics = {}
        for (predict, source), sharing in passes.items():
            with self._open(source) as batches:
                of = "the validation set" if source == self._kept[0] else f"evaluator {sharing[0].name!r}"
                outputs, targets = collect(self._compiled(predict), variables, batches, put=self._put, of=of)
            _check_finite(outputs, of)
            with jax.transfer_guard("allow"):  # a metric may use JAX
                for evaluator in sharing:
                    metrics |= self._checked(evaluator, _scored(evaluator.score, outputs, targets))
        return metrics

    def close(self) -> None:
        """Closes the passes of the validation."""
        self._kept[1].close()

    @contextlib.contextmanager
    def _open(self, source: Callable[[], Iterator]) -> Iterator[Iterable[dict]]:
        """The batches of the next pass."""
        if source == self._kept[0]:
            yield next(self._kept[1])
            return
        with contextlib.closing(source()) as passes:
            yield next(passes)

    def _checked(self, evaluator: Evaluator, metrics: dict) -> dict:
        named = evaluator.names(metrics)
        if self._best and self._best.rpartition("/")[0] == evaluator.name and self._best not in named:
            found = sorted(name for name, value in named.items() if np.ndim(value) == 0)
            raise ValueError(f"run.best={self._best!r} was not reported; choose from {found}")
        return named


def _announced(compile: Callable, predict: Callable) -> Callable:
    """The compiled form of a `predict`, which compiles when it is first called."""
    log.info("compiling the evaluation ...")
    return compile(predict)


def _check_finite(outputs: dict[str, np.ndarray], of: str) -> None:
    """Raises FloatingPointError if the network's scores of a video are not finite."""
    scores = outputs.get("scores")
    if scores is None or np.isfinite(scores).all():
        return
    bad = ~np.isfinite(scores.reshape(len(scores), -1)).all(1)
    error = FloatingPointError(
        f"the scores of {bad.sum()} of {len(bad)} videos of {of} are not finite, so the network has diverged; a lower "
        "optim.lr or clip_norm may help in training"
    )
    error.clear = True
    raise error


def evaluate(predict: Callable, score: Callable, variables, batches: Iterable[dict], *, put: Callable | None = None):
    """Applies `score` to the output of `collect` -> its dict, plus `num_videos`. Arrays become nested lists.

    >>> batches = [{"x": np.array([1.0, 2.0]), "label": np.array([1, 0]), "mask": np.array([True, False])}]
    >>> predict = lambda variables, batch: {"scores": variables * batch["x"]}
    >>> evaluate(predict, lambda outputs, targets: {"sum": outputs["scores"].sum().item()}, 3.0, batches, put=dict)
    {'sum': 3.0, 'num_videos': 1}

    Args:
      score: (outputs, targets) -> dict; both are dicts of NumPy arrays without padding.
    """
    return _scored(score, *collect(predict, variables, batches, put=put))


def _scored(score: Callable, outputs: dict, targets: dict) -> dict:
    """The numbers of `score` as Python's own, arrays as nested lists, so that `json.dumps` takes them."""
    plain = {name: np.asarray(value).tolist() for name, value in score(outputs, targets).items()}
    return plain | {"num_videos": len(next(iter(targets.values())))}


def collect(
    predict: Callable,
    variables,
    batches: Iterable[dict],
    *,
    put: Callable | None = None,
    of: str = "the validation set",
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Predictions and targets of all rows whose `mask` is True, on every host. Arguments as in `stream`.

    Args:
      of: what is evaluated, for errors.

    Raises:
      RuntimeError: no row could be read.
    """
    outputs, targets = zip(*stream(predict, variables, batches, put=put), strict=True)
    outputs, targets = _join(outputs), _join(targets)
    if not len(next(iter(targets.values()))):
        raise RuntimeError(f"evaluation: no video of {of} could be read")
    return outputs, targets


def stream(
    predict: Callable, variables, batches: Iterable[dict], *, put: Callable | None = None
) -> Iterator[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
    """Yields predictions and targets of the rows whose `mask` is True, batch by batch, on every host.

    Args:
      predict: jitted, (variables, device batch) -> dict of arrays [b, ...].
      batches: host batches; all keys except `INPUTS` and `mask` are targets.
      put: host batch -> device batch; None: split over all devices.
    """
    put = put or functools.partial(devices.put, sharding=devices.split(devices.make_mesh()))
    for k, batch in enumerate(batches):
        on_device = put(batch)
        with contextlib.nullcontext() if k else compiling("the evaluation was interrupted"):
            predicted = predict(variables, on_device)
        given = {name: values for name, values in on_device.items() if name not in INPUTS}
        predicted, given = devices.gather((predicted, given))  # the rows of all hosts, on every host
        mask = given.pop("mask")
        yield tuple({name: values[mask] for name, values in part.items()} for part in (predicted, given))


def _join(batches: list[dict]) -> dict:
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
