"""Long videos -> overlapping windows as long as the videos of the training, and their proposals back in one list.

BSN and BMN bring every video to the same number of time steps, so in a video far longer than those of the training an
action is shorter than a step.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from actjax.data.datasets.records import ActivityNetRecord

SLACK = 1.25  # so many times as long as the training's a video may be before it is cut


class Window(NamedTuple):
    """Rows [first, last) of a video's features, as a record of its own; `offset` is its first second."""

    record: ActivityNetRecord
    video: str
    first: int
    last: int
    offset: float


class WindowFeatures:
    """The features of windows, by the names of their records.

    Args:
      features: of whole videos, with `read`.
    """

    def __init__(self, features, windows: Mapping[str, Window]):
        self._windows = windows
        self._whole = functools.lru_cache(maxsize=1)(features.read)  # the windows of a video follow each other

    def read(self, name: str) -> np.ndarray:
        """The features of a window -> float32 [channels, time]."""
        window = self._windows[name]
        return self._whole(window.video)[:, window.first : window.last]


def windows_of(record: ActivityNetRecord, num_rows: int, longest: float) -> list[Window]:
    """The windows of a video, each half over the next; one that is a quarter longer than `longest` seconds or shorter
    is one window, as it is.

    >>> record = ActivityNetRecord("v", "v", 100.0, 1000, 1000, [])
    >>> [(w.first, w.last, w.offset) for w in windows_of(record, 100, 40.0)]
    [(0, 40, 0.0), (20, 60, 20.0), (40, 80, 40.0), (60, 100, 60.0)]
    >>> windows_of(record, 100, 80.0)[0].record == record
    True
    """
    whole = [Window(record, record.video, 0, num_rows, 0.0)]
    if record.duration_second <= SLACK * longest:
        return whole
    rate = record.feature_frame / record.duration_frame * record.duration_second / num_rows  # seconds of a row
    length = max(int(round(longest / rate)), 2)
    if num_rows <= length:
        return whole
    starts = np.unique(np.append(np.arange(0, num_rows - length, -(-length // 2)), num_rows - length))
    frames = record.feature_frame / num_rows * length
    part = record._replace(duration_second=rate * length, duration_frame=frames, feature_frame=frames, annotations=[])
    return [
        Window(part._replace(video=f"{record.video}\0{first}"), record.video, first, first + length, rate * first)
        for first in starts.tolist()  # no file has a zero byte in its name, so none is named like a window
    ]


def joined(windows: Sequence[Window], proposals: Sequence[list[dict]]) -> list[dict]:
    """The proposals of a video's windows, in seconds from its beginning, best first.

    A proposal counts in the window whose middle is nearest to its own, halfway in the earlier, so that none is there
    twice.

    >>> record = ActivityNetRecord("v", "v", 100.0, 1000, 1000, [])
    >>> twice = [[{"segment": [22.0, 30.0], "score": 0.5}], [{"segment": [2.0, 10.0], "score": 0.4}]]
    >>> joined(windows_of(record, 100, 40.0)[:2], twice)
    [{'segment': [22.0, 30.0], 'score': 0.5}]
    """
    middles = np.array([window.offset + window.record.duration_second / 2 for window in windows])
    borders = (middles[1:] + middles[:-1]) / 2 + 1e-6  # rounding moves no proposal across
    found = []
    for k, (window, rows) in enumerate(zip(windows, proposals, strict=True)):
        for row in rows:
            segment = [end + window.offset for end in row["segment"]] if window.offset else row["segment"]
            if np.searchsorted(borders, sum(segment) / 2) == k:
                found.append(row | {"segment": segment})
    return sorted(found, key=lambda row: -row["score"])
