import numpy as np
import plain
import pytest
from golden_cases import by_video, cases
from hypothesis import given
from hypothesis import strategies as st

from actjax.metrics import average_recall_at_avg_proposals, pairwise_temporal_iou


def test_overlap_matches_golden():
    for case, arrays, _ in cases("pairwise_temporal_iou"):
        out = pairwise_temporal_iou(arrays["candidate_segments"], arrays["target_segments"])
        assert out.dtype == np.float32 and out.shape == arrays["out"].shape, case
        np.testing.assert_allclose(out, arrays["out"], rtol=1e-6, atol=1e-7, err_msg=case)


def test_matches_golden():
    for case, arrays, kwargs in cases("average_recall_at_avg_proposals"):
        truth = by_video(arrays, "gt_ids", "gt_seg", "gt_offsets")
        proposals = by_video(arrays, "prop_ids", "prop", "prop_offsets")
        if "temporal_iou_thresholds" in arrays:
            kwargs["temporal_iou_thresholds"] = arrays["temporal_iou_thresholds"].tolist()
        total = int(arrays["total_num_proposals"])
        out = average_recall_at_avg_proposals(truth, proposals, total, **kwargs)
        names = ("out/recall", "out/avg_recall", "out/proposals_per_video", "out/auc")
        if "recall" in arrays:
            names = [name.removeprefix("out/") for name in names]
        for value, name in zip(out, names, strict=True):
            np.testing.assert_allclose(value, arrays[name], rtol=1e-10, err_msg=f"{case} {name}")


def generated(seed, videos):
    rng = np.random.default_rng(seed)
    truth = {str(i): np.sort(rng.random((rng.integers(0, 4), 2)), axis=1) for i in range(videos)}
    truth["one"] = np.array([[0.25, 0.75]])
    proposals = {}
    for video in truth:
        n = int(rng.integers(0, 12))
        levels = rng.integers(4, size=(n, 1)) / 4  # ties
        proposals[video] = np.concatenate([np.sort(rng.integers(9, size=(n, 2)) / 8, axis=1), levels], axis=1)
    proposals["one"] = np.concatenate([proposals["one"], [[0.2, 0.7, 0.5]]])
    return rng, truth, proposals, sum(map(len, proposals.values()))


@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.sampled_from([1, 2.5, 7, 100]))
def test_is_what_plain_loops_give(seed, videos, budget):
    _, truth, proposals, total = generated(seed, videos)
    thresholds = (0.3, 0.5, 0.8)
    out = average_recall_at_avg_proposals(truth, proposals, total, budget, thresholds)
    kept = sum(min(int(len(rows) * (budget * len(truth) / total)), len(rows)) for rows in proposals.values())
    if not kept:
        assert not out.recall.any() and np.isnan(out.auc)
        return
    for percent in (1, 30, 77, 100):
        expected = [plain.recall(truth, proposals, total, budget, t, percent) for t in thresholds]
        np.testing.assert_allclose(out.recall[:, percent - 1], expected)


@given(st.integers(0, 2**32 - 1), st.integers(1, 8))
def test_recall_is_a_share_that_grows_with_the_budget_and_falls_with_the_threshold(seed, videos):
    rng, truth, proposals, total = generated(seed, videos)
    out = average_recall_at_avg_proposals(truth, proposals, total, 100)
    assert ((out.recall >= 0) & (out.recall <= 1)).all() and 0 <= out.auc <= 100
    assert (np.diff(out.recall, axis=0) <= 0).all() and (np.diff(out.recall, axis=1) >= 0).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 8))
def test_order_of_videos_and_rows_does_not_matter(seed, videos):
    rng, truth, proposals, total = generated(seed, videos)
    for rows in proposals.values():
        rows[:, 2] = rng.permutation(len(rows))  # no ties
    out = average_recall_at_avg_proposals(truth, proposals, total, 5)
    names = rng.permutation(list(truth)).tolist()
    shuffled = {v: rng.permutation(proposals[v]) for v in names}
    same = average_recall_at_avg_proposals({v: rng.permutation(truth[v]) for v in names}, shuffled, total, 5)
    np.testing.assert_array_equal(same.recall, out.recall)


@pytest.mark.parametrize("count", range(1, 60))
def test_perfect_proposals_are_all_found_whatever_their_number(count):
    # total / videos * videos / total may round to less than 1; no proposal may be lost to that.
    truth = {str(i): np.array([[0.1, 0.4 + i]]) for i in range(count)}
    proposals = {v: np.array([[*rows[0], 0.5]]) for v, rows in truth.items()}
    assert (average_recall_at_avg_proposals(truth, proposals, count).recall[:, -1] == 1.0).all()


def test_memory_is_bounded_by_blocks(monkeypatch):
    _, truth, proposals, total = generated(0, 30)
    whole = average_recall_at_avg_proposals(truth, proposals, total, 20)
    monkeypatch.setattr("actjax.metrics.average_recall.BLOCK", 7)
    np.testing.assert_array_equal(average_recall_at_avg_proposals(truth, proposals, total, 20).recall, whole.recall)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (dict(proposals={"a": [[0, 1, 0.5]]}), KeyError, "no entry for 1 videos of the ground truth, 'b'"),
        (dict(proposals={"a": [[0, 1, 0.5]], "b": [[3, 1, 0.5]]}), ValueError, "proposals of 'b': row 0"),
        (dict(proposals={"a": [[0, np.nan, 0.5]], "b": []}), ValueError, "proposals of 'a': row 0"),
        (dict(ground_truth={"a": [[5, 1]], "b": []}), ValueError, "ground truth of 'a': row 0"),
        (dict(ground_truth={"a": ["x"], "b": []}), ValueError, "ground truth of 'a' has shape"),
        (dict(ground_truth={}), ValueError, "0 videos"),
        (dict(proposals={"a": [], "b": []}), ValueError, "no video of the ground truth has a proposal"),
        (dict(temporal_iou_thresholds=[0.5, 1.5]), ValueError, "temporal_iou_thresholds"),
        (dict(temporal_iou_thresholds=[0.0]), ValueError, "temporal_iou_thresholds"),
    ],
)
def test_bad_input_is_named(change, error, message):
    rows = {"a": [[0, 1, 0.5]], "b": [[1, 2, 0.5]]}
    arguments = dict(ground_truth={"a": [[0, 1]], "b": [[1, 2]]}, proposals=rows, total_num_proposals=2) | change
    with pytest.raises(error, match=message):
        average_recall_at_avg_proposals(**arguments)
