"""Long videos in windows: what they cover, whose a proposal is, and that short videos stay whole."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actjax.data.datasets.records import ActivityNetRecord
from actjax.tasks.bsn.windows import SLACK, WindowFeatures, joined, windows_of


def record(seconds: float, rows: int, *, interval: int = 4, rest: int = 0) -> ActivityNetRecord:
    """A video with a row for every `interval` frames, and so many frames after the last."""
    return ActivityNetRecord("/videos/v", "v", seconds, rows * interval + rest, rows * interval, [])


def simulated(window, truths) -> list[dict]:
    """What a perfect network finds in a window: the segments that lie in it, in its own seconds."""
    end = window.offset + window.record.duration_second
    return [
        {"segment": [start - window.offset, stop - window.offset], "score": 1 - k / 100}
        for k, (start, stop) in enumerate(truths)
        if window.offset - 1e-9 <= start and stop <= end + 1e-9
    ]


CASES = st.tuples(st.floats(1, 5000), st.integers(1, 300), st.floats(0.5, 600), st.integers(0, 3))


@given(CASES)
def test_windows_cover_every_row_and_are_no_longer_than_the_training(case):
    seconds, rows, longest, rest = case
    given_record = record(seconds, rows, rest=rest)
    windows = windows_of(given_record, rows, longest)
    assert {row for window in windows for row in range(window.first, window.last)} == set(range(rows))
    if seconds <= SLACK * longest:
        assert windows == [(given_record, "v", 0, rows, 0.0)]
    if len(windows) == 1:
        return
    step = (given_record.feature_frame / given_record.duration_frame) * seconds / rows
    assert len({window.last - window.first for window in windows}) == 1
    assert len({window.record.video for window in windows}) == len(windows)
    for window in windows:
        length = (window.last - window.first) * step
        assert window.offset == pytest.approx(window.first * step)
        assert window.record.duration_second == pytest.approx(length)
        assert length <= max(longest + step / 2, 2 * step) + 1e-6
        assert window.record.feature_frame == window.record.duration_frame  # its features cover all of it
    starts = [window.first for window in windows]
    half = -(-(windows[0].last - windows[0].first) // 2)
    assert starts == sorted(set(starts)) and max(b - a for a, b in itertools.pairwise(starts)) <= half


@given(CASES, st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=12))
def test_every_proposal_is_there_once(case, places):
    """Up to half a window long, wherever it lies: it is found in one or two windows, and counts in one."""
    seconds, rows, longest, _ = case
    windows = windows_of(record(seconds, rows), rows, longest)
    rate = seconds / rows
    most = (windows[0].last - windows[0].first) // 2 * rate if len(windows) > 1 else seconds
    truths = [(a * (seconds - b * most), a * (seconds - b * most) + b * most) for a, b in places]
    found = joined(windows, [simulated(window, truths) for window in windows])
    assert len(found) == len(truths)
    for row, truth in zip(found, truths, strict=True):
        assert row["segment"] == pytest.approx(truth, abs=1e-6 * seconds)
    assert [row["score"] for row in found] == sorted((row["score"] for row in found), reverse=True)


@given(st.integers(30, 200), st.floats(0.05, 2))
def test_a_proposal_halfway_between_two_windows_is_there_once(rows, rate):
    """Networks see steps of a window: both give such a proposal, with rounding of their own."""
    windows = windows_of(record(rows * rate, rows), rows, 20 * rate)
    length = windows[0].record.duration_second
    for k, (one, other) in enumerate(itertools.pairwise(windows)):
        if other.first - one.first != 10:  # the last one is not half over the one before
            continue
        for width in range(1, 5):
            twice = [[] for _ in windows]
            twice[k] = [{"segment": [(12 - width) / 16 * length, (12 + width) / 16 * length], "score": 0.5}]
            twice[k + 1] = [{"segment": [(4 - width) / 16 * length, (4 + width) / 16 * length], "score": 0.5}]
            assert len(joined(windows, twice)) == 1


def test_a_network_of_any_length_takes_the_whole_video():
    given_record = record(100.0, 50)
    assert windows_of(given_record, 50, np.inf) == [(given_record, "v", 0, 50, 0.0)]


def test_one_window_is_the_whole():
    rows = [{"segment": [0.1 + 0.2, 5.0], "score": 0.5}, {"segment": [1.0, 2.0], "score": 0.7}]
    windows = windows_of(record(30.0, 30), 30, 30.0)
    assert joined(windows, [rows]) == rows[::-1]  # their very numbers


def test_features_of_windows_are_rows_of_the_video():
    """Which is read once, as its windows follow each other."""

    class Features:
        def __init__(self):
            self.reads = []

        def read(self, name):
            self.reads.append(name)
            return np.arange(300, dtype=np.float32).reshape(3, 100) + len(name)

    windows = windows_of(record(100.0, 100), 100, 40.0)
    other = windows_of(record(10.0, 10)._replace(video="other"), 10, 40.0)
    features = Features()
    source = WindowFeatures(features, {window.record.video: window for window in (*windows, *other)})
    for window in (*windows, *other):
        whole = Features().read(window.video)
        np.testing.assert_array_equal(source.read(window.record.video), whole[:, window.first : window.last])
    assert features.reads == ["v", "other"]


def test_windows_are_not_taken_for_other_videos():
    """A video may be called like a window that is numbered."""
    windows = windows_of(record(100.0, 100), 100, 40.0)
    others = {f"v{sign}{window.first}" for window in windows for sign in "#_-."}
    assert not others & {window.record.video for window in windows}
