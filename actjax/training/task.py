"""What the training loop knows of a task."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Task(NamedTuple):
    """Four pure functions; the loop, the evaluation and the predictor call nothing else.

    init: key -> variables, a dict with "params" and perhaps other collections such as "batch_stats".
    loss: variables, batch, key -> (losses [b], new other collections, dict of further numbers [b] to report).
    predict: variables, batch -> dict of arrays [b, ...].
    score: predict's rows and the batches' targets as NumPy dicts, padding removed -> dict of floats and, for what is
      no single number, arrays.
    """

    init: Callable[[Any], dict]
    loss: Callable[[dict, dict, Any], tuple[Any, dict, dict]]
    predict: Callable[[dict, dict], dict]
    score: Callable[[dict, dict], dict]
