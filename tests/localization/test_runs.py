"""Runs of a class along a video, and proposals that get the classes of the steps in them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actjax.localization import classified, grouped_runs

LEVELS = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])


def groups_one_by_one(curve, threshold, tolerance, min_length):
    """The definition, step by step: a run takes in the next ones as long as enough of the segment is above."""
    above, found, k = [value >= threshold for value in curve], [], 0
    while k < len(curve):
        if not above[k]:
            k += 1
            continue
        start = end = k
        while True:
            later = next((i for i in range(end, len(curve)) if above[i]), None)
            if later is None:
                break
            until = next((i for i in range(later, len(curve)) if not above[i]), len(curve))
            if sum(above[start:until]) < tolerance * (until - start):
                break
            end = until
        found.append([start, end, float(np.mean(curve[start:end]))])
        k = end
    return [row for row in found if row[1] - row[0] >= min_length]


@given(st.lists(LEVELS, max_size=40), LEVELS, st.sampled_from([0.3, 0.5, 0.8, 1.0]), st.integers(1, 4))
def test_runs_are_those_of_the_definition(curve, threshold, tolerance, min_length):
    found = grouped_runs(curve, threshold=threshold, tolerance=tolerance, min_length=min_length)
    expected = groups_one_by_one(curve, threshold, tolerance, min_length)
    assert found.shape == (len(expected), 3)
    np.testing.assert_allclose(found, np.array(expected).reshape(-1, 3), atol=1e-12)
    starts, ends = found[:, 0], found[:, 1]
    assert (ends[:-1] <= starts[1:]).all()  # in order, none over another


def test_nothing_reaches_the_threshold():
    assert grouped_runs([0.1, 0.2], threshold=0.5).shape == grouped_runs([], threshold=0.5).shape == (0, 3)
    assert grouped_runs([0.1, 0.2], threshold=0.0).tolist() == [[0, 2, pytest.approx(0.15)]]


STEPS = st.integers(1, 12)


@given(STEPS, st.integers(1, 4), st.sampled_from([0.25, 0.5, 2.0]), st.integers(1, 5), st.data())
def test_a_proposal_has_the_mean_of_the_steps_in_it(num, num_classes, step, top_classes, data):
    times = (np.arange(num) + 0.5) * step
    scores = data.draw(
        st.lists(st.lists(LEVELS, min_size=num_classes, max_size=num_classes), min_size=num, max_size=num)
    )
    ends = data.draw(st.lists(st.integers(-4, 8 * num + 4), min_size=2, max_size=2).map(sorted))
    segment = [end * step / 8 for end in ends]
    names = [f"class {k}" for k in range(num_classes)]
    found = classified([{"segment": segment, "score": 0.5}], times, scores, names, top_classes=top_classes)

    inside = [k for k in range(num) if segment[0] <= times[k] < segment[1]]
    if not inside:
        distance = np.abs(times - sum(segment) / 2)
        inside = [int(np.flatnonzero(distance == distance.min())[-1])]
    mean = np.mean([scores[k] for k in inside], axis=0)
    best = sorted(range(num_classes), key=lambda k: -mean[k])[:top_classes]
    assert [row["segment"] for row in found] == [segment] * len(best)
    np.testing.assert_allclose([row["score"] for row in found], [0.5 * mean[k] for k in best], atol=1e-12)
    np.testing.assert_allclose(sorted(mean[names.index(row["class"])] for row in found)[::-1], mean[best], atol=1e-12)
    assert len({row["class"] for row in found}) == len(best)


def test_detections_are_ordered_by_their_own_score():
    proposals = [{"segment": [0.0, 1.0], "score": 0.6}, {"segment": [1.0, 2.0], "score": 0.5}]
    found = classified(proposals, [0.5, 1.5], [[0.5, 0.1], [0.9, 0.3]], ["a", "b"], top_classes=2)
    assert [(row["class"], row["segment"][0]) for row in found] == [("a", 1.0), ("a", 0.0), ("b", 1.0), ("b", 0.0)]
    assert classified([], [0.5], [[1.0]], ["a"]) == []
