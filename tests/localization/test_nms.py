import numpy as np
import plain
import pytest
from golden_cases import cases
from hypothesis import given
from hypothesis import strategies as st

from actjax.localization import grouped_nms, nms, post_processing, soft_nms, temporal_nms


def test_soft_nms_matches_golden():
    for case, arrays, kwargs in cases("soft_nms"):
        out, expected = soft_nms(arrays["proposals"], **kwargs), arrays["out"]
        assert out.dtype == expected.dtype and out.shape == expected.shape, case
        rtol = 1e-10 if out.dtype == np.float64 else 1e-5
        np.testing.assert_allclose(out, expected, rtol=rtol, err_msg=case)


def test_temporal_nms_matches_golden():
    for case, arrays, kwargs in cases("temporal_nms"):
        np.testing.assert_array_equal(temporal_nms(arrays["detections"], **kwargs), arrays["out"], err_msg=case)


def test_post_processing_matches_golden():
    for case, arrays, kwargs in cases("post_processing"):
        out = post_processing(arrays["result"], **kwargs)
        np.testing.assert_allclose([row["score"] for row in out], arrays["out_score"], rtol=1e-10, err_msg=case)
        np.testing.assert_allclose([row["segment"] for row in out], arrays["out_segment"], rtol=1e-10, err_msg=case)


def generated(seed, k, grid=12):
    """Proposals on a grid, with ties in score and overlap, some without length."""
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.integers(grid + 1, size=(k, 2)) / grid, axis=1)
    return np.concatenate([rows, rng.integers(6, size=(k, 1)) / 5], axis=1)


@given(st.integers(0, 2**32 - 1), st.integers(0, 30), st.integers(-1, 40), st.booleans())
def test_soft_nms_is_what_plain_loops_give(seed, k, top_k, row_by_row):
    rows = generated(seed, k)
    # Ends on no grid: there, different decays meet in the same score up to its last digit, which NumPy's exponential
    # and Python's may round differently. Ties in score, some twice, some without length stay.
    rows[:, :2] = np.sort(np.random.default_rng(seed).random((k, 2)), axis=1)
    rows[1::5, :2] = rows[: len(rows[1::5]), :2]
    rows[2::7, 1] = rows[2::7, 0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nms, "SMALL", 0 if row_by_row else 1024)
        out = soft_nms(rows, 0.4, 0.3, 0.8, top_k)
    expected = np.array(plain.soft_nms(rows.tolist(), 0.4, 0.3, 0.8, top_k)).reshape(-1, 3)
    np.testing.assert_allclose(out, expected, rtol=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_soft_nms_never_raises_a_score(seed, k):
    rows = generated(seed, k)
    out = soft_nms(rows, 0.75, 0.1, 0.9, k)
    assert (np.diff(out[:, 2]) <= 0).all()  # in the order they were taken
    for rank, score in enumerate(out[:, 2]):  # the i-th best afterwards is at most the i-th best before
        assert score <= np.sort(rows[:, 2])[::-1][rank]
    order = lambda x: x[np.lexsort((x[:, 1], x[:, 0]))]
    np.testing.assert_array_equal(order(out[:, :2]), order(rows[:, :2]))


def test_soft_nms_survives_a_decay_to_nothing():
    rows = np.array([[0.1, 0.9, 0.9], [0.1, 0.9, 0.8], [0.1, 0.9, 0.7]])
    out = soft_nms(rows, 1e-6, 0.0, 0.0, 5)
    assert out[0, 2] == 0.9 and (out[1:, 2] < 1e-300).all() and not np.isnan(out).any()


@given(st.integers(0, 2**32 - 1), st.integers(0, 30), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_nms_is_what_the_greedy_loop_gives(seed, k, threshold):
    rows = generated(seed, k)
    expected = np.array(plain.nms(rows.tolist(), threshold)).reshape(-1, 3)
    np.testing.assert_array_equal(temporal_nms(rows, threshold), expected)


@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_groups_do_not_touch_each_other(seed, k):
    rows, group = generated(seed, k), np.random.default_rng(seed).integers(3, size=k)
    kept = grouped_nms(rows[:, :2], rows[:, 2], group, 0.3)
    expected = [temporal_nms(rows[group == g], 0.3) for g in range(3)]
    np.testing.assert_array_equal(rows[kept], np.concatenate(expected))


def test_memory_is_bounded_by_blocks(monkeypatch):
    rows, group = generated(1, 80, grid=40), np.arange(80) % 3
    whole = grouped_nms(rows[:, :2], rows[:, 2], group, 0.4)
    monkeypatch.setattr(nms, "BLOCK", 10)
    np.testing.assert_array_equal(grouped_nms(rows[:, :2], rows[:, 2], group, 0.4), whole)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: soft_nms([[0, 1, 0.5]], 0.4, 0.5, 0.9, 10), TypeError, "proposals is a list"),
        (lambda: soft_nms(np.zeros((2, 2)), 0.4, 0.5, 0.9, 10), IndexError, r"has shape \(2, 2\)"),
        (lambda: soft_nms(np.array([[0, 1, np.nan]]), 0.4, 0.5, 0.9, 10), ValueError, "row 0 is .*finite"),
        (lambda: soft_nms(np.zeros((1, 3)), 0.0, 0.5, 0.9, 10), ValueError, "alpha=0.0"),
        (lambda: temporal_nms(np.array([[0, np.inf, 1.0]]), 0.5), ValueError, "temporal_nms: detections: row 0"),
        (lambda: temporal_nms(np.zeros(3), 0.5), IndexError, "expected"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
