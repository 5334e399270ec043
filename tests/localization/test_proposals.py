"""BSN's candidate proposals and features: golden files, plain loops, errors."""

import numpy as np
import pytest
from golden_cases import FOLDER, cases, read_json
from hypothesis import given
from hypothesis import strategies as st

from actjax.localization import (
    bsp_feature,
    candidate_proposals,
    generate_bsp_feature,
    generate_candidate_proposals,
    match,
)

INFOS = read_json("bsn_video_infos.json")
FOLDERS = dict(video_infos=INFOS, tem_results_dir=FOLDER / "tem_results")


def outputs(arrays) -> dict:
    return {name[4:]: rows for name, rows in arrays.items() if name.startswith("out/")}


def test_candidate_proposals_match_golden():
    for case, arrays, kwargs in cases("generate_candidate_proposals"):
        result = {}
        out = generate_candidate_proposals(**FOLDERS, **kwargs, result_dict=result)
        assert result.keys() == out.keys() == outputs(arrays).keys()
        for name, expected in outputs(arrays).items():
            rows = out[name]
            if case.endswith("_ties"):  # the order of rows is open
                rows, expected = (x[np.lexsort(np.round(x[:, :2], 6).T)] for x in (rows, expected))
            np.testing.assert_allclose(rows, expected, rtol=1e-9, err_msg=f"{case} {name}")


def test_bsp_features_match_golden():
    for case, arrays, kwargs in cases("generate_bsp_feature"):
        result = {}
        out = generate_bsp_feature(**FOLDERS, pgm_proposals_dir=FOLDER / "pgm_proposals", **kwargs, result_dict=result)
        assert result.keys() == out.keys() == outputs(arrays).keys()
        for name, expected in outputs(arrays).items():
            expected = np.zeros((0, 32)) if case == "top_k_zero" else expected
            np.testing.assert_allclose(out[name], expected, atol=1e-5, err_msg=f"{case} {name}")


def plain_candidates(start, end, threshold):
    """The definition, step by step."""
    s = len(start)
    peak = lambda x, i: i in (0, s - 1) or x[i - 1] < x[i] > x[i + 1] or x[i] > threshold * max(x)
    pairs = [(i, j) for j in range(s) for i in range(j) if peak(start, i) and peak(end, j)]
    return {(1 / s / 2 + i / s, 1 / s / 2 + j / s, start[i], end[j], start[i] * end[j]) for i, j in pairs}


@given(st.integers(0, 2**32 - 1), st.integers(1, 25), st.sampled_from([0.0, 0.5, 0.9, 2.0]))
def test_candidates_are_what_plain_loops_give(seed, s, threshold):
    start, end = np.random.default_rng(seed).integers(8, size=(2, s)) / 8
    out = candidate_proposals(start, end, peak_threshold=threshold)
    expected = np.array(sorted(plain_candidates(start.tolist(), end.tolist(), threshold))).reshape(-1, 5)
    assert (np.diff(out[:, 4]) <= 0).all()
    np.testing.assert_allclose(out[np.lexsort(out.T[::-1])], expected, rtol=1e-12)


def test_match_takes_the_best_ground_truth():
    out = match(np.array([[0.0, 0.5], [0.5, 1.0]]), np.array([[0.0, 0.25], [0.4, 1.0]]))
    np.testing.assert_allclose(out, [[0.5, 0.5], [0.5 / 0.6, 1.0]])
    assert not match(np.ones((3, 2)), np.zeros((0, 2))).any()


def test_feature_of_constant_actionness():
    out = bsp_feature(np.full(40, 0.5), np.array([[0.3, 0.7]]))
    np.testing.assert_allclose(out, np.full((1, 32), 0.5), rtol=1e-12)
    assert not bsp_feature(np.ones(40), np.array([[1.5, 1.6]])).any()  # beyond the video


@given(st.integers(0, 2**32 - 1))
def test_order_of_proposals_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    actionness, rows, order = rng.random(30), np.sort(rng.random((9, 2)), axis=1), rng.permutation(9)
    np.testing.assert_array_equal(bsp_feature(actionness, rows[order]), bsp_feature(actionness, rows)[order])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: candidate_proposals([0.1, 0.2], [0.1], peak_threshold=0.5),
            ValueError,
            "2 start scores, 1 end scores",
        ),
        (lambda: candidate_proposals([0.1, np.nan], [1, 1], peak_threshold=0.5), ValueError, "start_scores: step 1"),
        (lambda: candidate_proposals([[0.1]], [0.1], peak_threshold=0.5), IndexError, "start_scores has shape"),
        (
            lambda: candidate_proposals([0.1], [0.1], peak_threshold=0.5, temporal_scale=2),
            IndexError,
            "temporal_scale=2 for curves of 1",
        ),
        (lambda: bsp_feature([np.nan], np.ones((1, 2))), ValueError, "actionness: step 0"),
        (lambda: bsp_feature([1.0], np.ones(2)), IndexError, r"proposals have shape \(2,\)"),
        (lambda: bsp_feature([1.0], np.ones((1, 2)), num_sample_start=1), ValueError, "expected 2 or more samples"),
    ],
)
def test_bad_arrays_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


HEADER = "action,start,end,tmin,tmax\n"


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (HEADER + "0.1,0.2,0.3,0,x\n", ValueError, "expected numbers below the header 'action"),
        (HEADER + "0.1,0.2,0.3,0,1\n0.1,0.2\n", IndexError, "rows differ in length"),
        (HEADER, IndexError, "0 rows of 0 columns"),
        (HEADER + "0.1,0.2\n", IndexError, "the header 'action,start,end,tmin,tmax' has 5 columns, line 2 2"),
        ("a,b\n0.1,0.2\n", IndexError, "expected 1 or more rows of 3"),
        ("a b c d e\n0.1 0.2 0.3 0 1\n", IndexError, "1 rows of 1 columns"),
        (HEADER + "0.1,0.2,0.3,0,1_0\n", ValueError, "text with '_'"),
        (HEADER + "0.1,0.2,0.3,0,1\n0.1,nan,0.3,0,1\n", ValueError, "row 1 has NaN"),
    ],
)
def test_bad_tables_are_named(text, error, message, tmp_path):
    (tmp_path / "v_a.csv").write_text(text)
    info = dict(video_name="v_a", duration_frame=160, duration_second=10.0, feature_frame=160, annotations=[])
    with pytest.raises(error, match=f"v_a.csv.*{message}"):
        generate_candidate_proposals([0], [info], tmp_path, 1, 0.5)


def test_cutting_a_file_whose_scores_are_out_of_order_is_an_error(tmp_path):
    (tmp_path / "tem").mkdir()
    (tmp_path / "tem" / "v_a.csv").write_text(HEADER + "0.1,0.2,0.3,0,0.5\n0.1,0.2,0.3,0.5,1\n")
    (tmp_path / "v_a.csv").write_text("tmin,tmax,a,b,score\n0,1,1,1,0.5\n0,0.5,1,1,0.9\n")
    call = lambda top_k: generate_bsp_feature([0], [{"video_name": "v_a"}], tmp_path / "tem", tmp_path, top_k=top_k)
    assert call(2)["v_a"].shape == (2, 32)
    with pytest.raises(ValueError, match="v_a.csv: scores are out of order at row 1"):
        call(1)
