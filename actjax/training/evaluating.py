"""One pass over a validation set -> metrics. Every record counts once, on any number of devices and hosts."""

import functools
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from actjax.training import devices

INPUTS = ("video", "feature")  # not gathered with the targets, because they are large


def evaluate(predict: Callable, score: Callable, variables, batches: Iterable[dict], *, put: Callable | None = None):
    """Applies `score` to the output of `collect` -> its dict, plus `num_videos`.

    Args:
      score: (outputs, targets) -> dict; both are dicts of NumPy arrays without padding.
    """
    outputs, targets = collect(predict, variables, batches, put=put)
    return score(outputs, targets) | {"num_videos": len(next(iter(targets.values())))}


def collect(
    predict: Callable, variables, batches: Iterable[dict], *, put: Callable | None = None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Predictions and targets of all rows whose `mask` is True, on every host. Arguments as in `stream`.

    Raises:
      RuntimeError: no row could be read.
    """
    outputs, targets = zip(*stream(predict, variables, batches, put=put), strict=True)
    outputs, targets = _join(outputs), _join(targets)
    if not len(next(iter(targets.values()))):
        raise RuntimeError("evaluation: no video of the validation set could be read")
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
    for batch in batches:
        on_device = put(batch)
        predicted = predict(variables, on_device)
        given = {name: values for name, values in on_device.items() if name not in INPUTS}
        predicted, given = devices.gather((predicted, given))  # the rows of all hosts, on every host
        mask = given.pop("mask")
        yield tuple({name: values[mask] for name, values in part.items()} for part in (predicted, given))


def _join(batches: list[dict]) -> dict:
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
