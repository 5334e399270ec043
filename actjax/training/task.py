"""The interface between a task and the training loop."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Task(NamedTuple):
    """Four pure functions; training, evaluation and prediction call nothing else.

    init: key -> variables, a dict with "params" and optionally other collections such as "batch_stats".
    loss: variables, batch, key -> (losses [b], updated other collections, dict of further numbers [b] to report).
    predict: variables, batch -> dict of arrays [b, ...].
    score: outputs of `predict` and targets, as dicts of NumPy arrays without padding -> dict of floats and arrays.
    """

    init: Callable[[Any], dict]
    loss: Callable[[dict, dict, Any], tuple[Any, dict, dict]]
    predict: Callable[[dict, dict], dict]
    score: Callable[[dict, dict], dict]
