"""Which segments are shown at each moment."""

import bisect
from collections.abc import Sequence
from typing import NamedTuple

from actjax.errors import check_number


class Moment(NamedTuple):
    """A stretch of time [start, end) in which the same segments are shown: their indices, the best first."""

    start: float
    end: float
    shown: tuple[int, ...]


def moments(segments: Sequence[dict], *, min_score: float = 0.0, lines: int = 2) -> list[Moment]:
    """The stretches of time in which anything is shown, in order and apart from each other -> list of `Moment`.

    A segment lasts over [start, end). At each moment the `lines` best of those with `score >= min_score` are shown; of
    equal scores the earlier in the list. A stretch ends where what is shown changes.

    >>> rows = [{"segment": [0, 9], "score": 0.5}, {"segment": [3, 5], "score": 0.9}]
    >>> [tuple(moment) for moment in moments(rows, lines=1)]
    [(0, 3, (0,)), (3, 5, (1,)), (5, 9, (0,))]

    Raises:
      ValueError: `lines` is not 1 to 20, `min_score` no number.
    """
    check_number("lines", lines, "[1, 20]", whole=True)
    check_number("min_score", min_score, "(-inf, inf)")
    changes: dict[float, tuple[list, list]] = {}  # time -> what begins, what ends
    for k, row in enumerate(segments):
        (start, end), score = row["segment"], row["score"]
        if score >= min_score and start < end:
            changes.setdefault(start, ([], []))[0].append((-score, k))
            changes.setdefault(end, ([], []))[1].append((-score, k))
    found: list[Moment] = []
    active: list[tuple[float, int]] = []
    last = None
    for time in sorted(changes):
        if shown := tuple(k for _, k in active[:lines]):
            if found and found[-1].end == last and found[-1].shown == shown:
                found[-1] = found[-1]._replace(end=time)
            else:
                found.append(Moment(last, time, shown))
        begins, ends = changes[time]
        for entry in ends:
            del active[bisect.bisect_left(active, entry)]
        for entry in begins:
            bisect.insort(active, entry)
        last = time
    return found
