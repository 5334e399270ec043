"""A pass over a validation set -> metrics. Every record counts once, on any number of devices and hosts."""

import functools
from collections.abc import Callable, Iterable

import numpy as np

from actjax.training import devices


def evaluate(
    predict: Callable, score: Callable, variables, batches: Iterable[dict], *, put: Callable | None = None
) -> dict:
    """`score` of the predictions for all rows whose `mask` is True -> its floats and arrays, and `num_videos`.

    Args:
      predict: jitted, (variables, device batch) -> dict of arrays [b, ...].
      score: (outputs, targets), both NumPy dicts without padding -> dict.
      batches: host batches; all keys but `video` and `mask` are targets.
      put: host batch -> device batch; default: split over all devices.

    Raises:
      RuntimeError: not one row could be read.
    """
    put = put or functools.partial(devices.put, sharding=devices.split(devices.make_mesh()))
    outputs, targets = [], []
    for batch in batches:
        on_device = put(batch)
        rows, batch = devices.gather(
            (predict(variables, on_device), {k: v for k, v in on_device.items() if k != "video"})
        )
        mask = batch.pop("mask")
        outputs.append({name: values[mask] for name, values in rows.items()})
        targets.append({name: values[mask] for name, values in batch.items()})
    joined = [
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} for parts in (outputs, targets)
    ]
    num_videos = len(next(iter(joined[1].values())))
    if not num_videos:
        raise RuntimeError("evaluation: not one video of the validation set could be read")
    return score(*joined) | {"num_videos": num_videos}
