"""TAG proposals, rows of proposal files, and results of other networks as such files."""

import gzip
import json

import numpy as np
import pytest
from conftest import GOLDEN
from hypothesis import given
from hypothesis import strategies as st

from actjax.localization import (
    actionness_grouping,
    load_localize_proposal_file,
    proposal_rows,
    results_to_proposal_file,
)
from actjax.localization.proposal_file import denormalize
from actjax.segments import pairs, temporal_iou


def test_a_plateau_is_its_own_proposal():
    curve = np.zeros(60)
    curve[20:35] = 0.8
    assert actionness_grouping(curve).tolist() == [[20, 35, pytest.approx(0.8)]]
    assert actionness_grouping(curve, min_length=16).shape == (0, 3)
    assert actionness_grouping(np.zeros(9)).shape == (0, 3)


def test_runs_are_joined_as_far_as_the_tolerance_allows():
    """Two runs of 10 with a hole of 5: 20 of 25 steps reach the level."""
    curve = np.zeros(40)
    curve[5:15] = curve[20:30] = 1
    options = dict(thresholds=(0.5,))
    groups = lambda t: sorted(actionness_grouping(curve, **options, tolerances=(t,))[:, :2].tolist())
    assert groups(0.81) == [[5, 15], [20, 30]]
    assert [5, 30] in groups(0.8)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_proposals_are_distinct_segments_of_the_curve(values):
    found = actionness_grouping(values)
    starts, ends, scores = found.T
    assert ((starts >= 0) & (starts < ends) & (ends <= len(values))).all()
    assert (np.diff(scores) <= 1e-12).all()
    for (start, end), score in zip(found[:, :2].astype(int), scores, strict=True):
        assert score == pytest.approx(np.mean(values[start:end]))
    table = temporal_iou(*pairs(found[:, :2], found[:, :2]))
    assert not (np.triu(table, 1) > 0.95).any()


def test_rows_are_those_of_the_published_tag_file(tmp_path):
    """Its scores were taken before segments became whole frames, so short ones differ a little."""
    folder = GOLDEN / "data" / "ann"
    (tmp_path / "list.txt").write_bytes(gzip.decompress((folder / "tag_normalized_list.txt.gz").read_bytes()))
    counts = json.loads((folder / "tag_frame_counts.json").read_text())
    videos = denormalize(load_localize_proposal_file(tmp_path / "list.txt"), counts)
    differences, same_class, total = [], 0, 0
    for _, _, truths, proposals in videos:
        given_rows = [row for row in proposals if int(row[4]) > int(row[3])]
        segments = [[int(x) for x in row[3:]] for row in given_rows]
        known = [[int(x) for x in row[1:]] for row in truths]
        made = proposal_rows(segments, known, [int(row[0]) for row in truths])
        for ours, theirs in zip(made, given_rows, strict=True):
            differences += [abs(float(a) - float(b)) for a, b in zip(ours[1:3], theirs[1:3], strict=True)]
            same_class += ours[0] == theirs[0]
            total += 1
            assert ours[3:] == theirs[3:]
    assert same_class > 0.99 * total and np.mean(differences) < 0.01


def test_rows_without_ground_truth_or_segments():
    assert proposal_rows([[3, 9]], [], []) == [["0", "0.0000", "0.0000", "3", "9"]]
    assert proposal_rows([], [[3, 9]], [1]) == []


def annotations():
    segments = [{"segment": [2.0, 6.0], "label": "b"}, {"segment": [7.0, 9.0], "label": "a"}]
    entry = dict(duration_second=10.0, duration_frame=250, annotations=segments)
    return {"v_one": entry, "v_two": entry | dict(annotations=[])}


def test_results_become_a_proposal_file(tmp_path):
    rows = [
        {"segment": [0.0, 1.0], "score": 0.1},
        {"segment": [2.0, 5.0], "score": 0.9},
        {"segment": [8.0, 12.0], "score": 0.5},
        {"segment": [4.0, 4.01], "score": 0.4},
    ]
    options = dict(class_names=["a", "b"], top_k=3)
    results_to_proposal_file({"one": rows, "two": []}, annotations(), tmp_path / "list.txt", **options)
    one, two = load_localize_proposal_file(tmp_path / "list.txt")
    assert one[:3] == ("v_one", 250, [["2", "50", "150"], ["1", "175", "225"]])
    best, second = one[3]  # the third is shorter than a frame, the fourth is one too many
    assert best == ["2", "0.7500", "1.0000", "50", "125"]
    assert second == ["1", "0.3333", "0.5000", "200", "250"]
    assert two == ("v_two", 250, [], [])


def test_results_that_do_not_fit(tmp_path):
    with pytest.raises(KeyError, match="no result for video 'v_two'"):
        results_to_proposal_file({"one": []}, annotations(), tmp_path / "x", class_names=["a", "b"])
    with pytest.raises(KeyError, match="video 'v_one': label 'b' is not a class name"):
        results_to_proposal_file({"one": [], "two": []}, annotations(), tmp_path / "x", class_names=["a"])
