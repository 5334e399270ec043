import json

import numpy as np
import pytest

from actjax.localization import detections_from_proposals, uniform_proposals
from actjax.metrics import load_class_scores

PROPOSALS = {"a": [{"score": 0.5, "segment": [1, 2]}, {"score": 0.4, "segment": [3, 4]}], "b": [], "c": []}
NAMES = ["run", "jump", "swim"]


def test_proposals_take_the_best_classes_of_their_video():
    scores = {"a": [0.2, 0.7, 0.1], "b": [1, 0, 0]}
    found = detections_from_proposals(PROPOSALS, scores, NAMES, top_classes=2)
    assert found.keys() == {"a", "b"} and found["b"] == []
    assert [(row["label"], row["segment"]) for row in found["a"]] == [
        ("jump", [1, 2]), ("jump", [3, 4]), ("run", [1, 2]), ("run", [3, 4])
    ]  # fmt: skip
    np.testing.assert_allclose([row["score"] for row in found["a"]], [0.35, 0.28, 0.1, 0.08])
    assert len(detections_from_proposals(PROPOSALS, scores, NAMES, top_classes=9)["a"]) == 6
    with pytest.raises(ValueError, match="'a' have shape .2,.; there are 3 names"):
        detections_from_proposals(PROPOSALS, {"a": [0, 1]}, NAMES)


def test_uniform_windows():
    windows = uniform_proposals()
    assert windows.shape == (100, 3) and len(np.unique(windows[:, :2], axis=0)) >= 95
    assert windows[0].tolist() == [0, 1, 1] and (windows[:, 0] >= 0).all() and (windows[:, 1] <= 1 + 1e-12).all()
    np.testing.assert_allclose(windows[:, 1] - windows[:, 0], windows[:, 2])


def test_class_scores_of_both_kinds(tmp_path):
    content = {"class": NAMES, "results": {"a": [0.1, 0.2, 0.7], "v_b": [1, 0, 0]}}
    (tmp_path / "scores.json").write_text(json.dumps(content))
    names, scores = load_class_scores(tmp_path / "scores.json")
    assert names == NAMES and scores.keys() == {"a", "b"}
    rows = np.array([[0.1, 0.2, 0.7], [1, 0, 0]])
    np.savez(tmp_path / "scores.npz", name=np.array(["x/v_a.mp4", "v_b.avi"]), scores=rows, label=np.array([2, 0]))
    (tmp_path / "class_names.json").write_text(json.dumps(NAMES))
    other_names, other = load_class_scores(tmp_path / "scores.npz")
    assert other_names == NAMES
    for video, row in scores.items():
        np.testing.assert_array_equal(other[video], row)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"results": {}}, 'expected {"class"'),
        ({"class": NAMES, "results": {"a": [1]}}, "'a' has 1 scores; there are 3 classes"),
        ({"class": NAMES, "results": {"a": [1, None, 3]}}, "'a': expected numbers"),
        ({"class": NAMES, "results": {"a": [1, float("nan"), 3]}}, "'a': NaN; scores must be finite"),
        ({"class": NAMES, "results": {"a": [1, 2, 3], "v_a": [1, 2, 3]}}, "'a' is there twice"),
    ],
)
def test_class_scores_that_do_not_fit(content, message, tmp_path):
    (tmp_path / "bad.json").write_text(json.dumps(content))
    with pytest.raises((ValueError, TypeError), match=f"bad.json: .*{message}"):
        load_class_scores(tmp_path / "bad.json")
