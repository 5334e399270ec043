import numpy as np
import pytest
from golden_cases import FOLDER, cases, read_json

from actjax.localization import (
    evaluate_ssn,
    ground_truth_by_class,
    load_localize_proposal_file,
    perform_regression,
    results_to_detections,
    score_proposals,
)

SMALL = read_json("SSNDataset_small.json")
NAMES = ("relative_proposal_list", "activity_scores", "completeness_scores", "bbox_preds")


def small_results():
    return [tuple(np.array(part, np.float32) for part in result) for result in SMALL["results"]]


@pytest.fixture(scope="module")
def videos():
    return load_localize_proposal_file(FOLDER / SMALL["ann_file"])


@pytest.fixture(scope="module")
def large():
    arrays = next(arrays for case, arrays, _ in cases("SSNDataset_evaluate") if case == "default")
    cuts = arrays["prop_offsets"]
    results = [tuple(arrays[n][a:b] for n in NAMES) for a, b in zip(cuts, cuts[1:], strict=False)]
    return results, [str(v) for v in arrays["video_ids"]]


def test_regression_matches_golden():
    for case, arrays, _ in cases("perform_regression"):
        out, expected = perform_regression(arrays["detections"]), arrays["out"]
        assert out.dtype == expected.dtype, case
        precise = out.dtype == np.float64
        np.testing.assert_allclose(out, expected, rtol=1e-12 if precise else 1e-6, atol=0 if precise else 1e-7)


def test_evaluation_matches_golden(large):
    results, ids = large
    listed = load_localize_proposal_file(FOLDER / "ssn_proposal_list.txt")
    assert ground_truth_by_class(listed)[0] == ids
    for case, arrays, kwargs in cases("SSNDataset_evaluate"):
        options = {k: kwargs["evaluater"][k] for k in ("top_k", "nms")}
        out = evaluate_ssn(results, listed, use_regression=kwargs["use_regression"], **options)
        assert [f"out/{name}" for name in out] == [name for name in arrays if name.startswith("out/")]
        for name, value in out.items():
            np.testing.assert_allclose(value, arrays[f"out/{name}"], rtol=0, atol=1e-6, err_msg=f"{case} {name}")


def test_detections_match_golden(large):
    results, ids = large
    for case, arrays, kwargs in cases("SSNDataset_results_to_detections"):
        count = kwargs.get("first_videos", len(ids))
        out = results_to_detections(results[:count], ids[:count], top_k=kwargs["top_k"])
        rows = [(k, ids.index(v), row) for k, found in enumerate(out) for v, of in found.items() for row in of]
        assert [row[0] for row in rows] == arrays["out_class"].tolist(), case
        assert [row[1] for row in rows] == arrays["out_video"].tolist(), case
        np.testing.assert_allclose([row[2] for row in rows], arrays["out_rows"], rtol=1e-5, atol=1e-7)


def test_small_set_matches_golden(videos):
    ids, by_class = ground_truth_by_class(videos)
    assert {str(k): v for k, v in by_class.items()} == SMALL["all_gts"]
    for top_k in (0, 2):
        out = results_to_detections(small_results(), ids, top_k=top_k)
        expected = SMALL[f"detections_top_k_{top_k}"]
        assert [list(found) for found in out] == [list(found) for found in expected]
        for found, wanted in zip(out, expected, strict=True):
            for video, rows in found.items():
                np.testing.assert_allclose(rows, wanted[video], rtol=1e-5)
    named = [dict(zip(NAMES, result, strict=True)) for result in small_results()]
    assert evaluate_ssn(named, videos) == evaluate_ssn(small_results(), videos)
    assert evaluate_ssn(small_results(), videos) == pytest.approx(SMALL["evaluate"], abs=1e-6)


def test_a_class_without_ground_truth_makes_the_mean_nan(videos):
    results = [tuple(np.array(p, np.float32) for p in result) for result in SMALL["class_without_gt"]["results"]]
    assert np.isnan(list(evaluate_ssn(results, videos).values())).all()


def test_without_regression_the_offsets_are_zero(videos):
    results = [(*result[:3], None) for result in small_results()]  # ssn_no_regression_scores
    assert np.isfinite(list(evaluate_ssn(results, videos).values())).all()
    assert score_proposals(*results[0])[1].dtype == np.float32


def test_videos_without_ground_truth_can_be_kept(videos):
    ids, _ = ground_truth_by_class(videos, filter_gt=False)  # ssn_filter_gt_false_test
    assert len(ids) == len(videos) == len(ground_truth_by_class(videos)[0]) + 1


def test_nothing_to_evaluate(videos):
    assert evaluate_ssn(small_results(), videos, metrics=[]) == {}
    with pytest.raises(ValueError, match="none of 1 videos has ground truth"):
        evaluate_ssn([], [("v", 10, [], [])])
    with pytest.raises(ValueError, match="3 results for 1 videos"):
        results_to_detections(small_results(), ["v"])
    none = tuple(np.zeros(shape, np.float32) for shape in ((0, 2), (0, 3), (0, 2), (0, 2, 2)))
    ids, _ = ground_truth_by_class(videos)
    assert results_to_detections([none] * 3, ids) == [{}, {}]
    assert set(evaluate_ssn([none] * 3, videos).values()) == {0.0}


@pytest.mark.parametrize(
    ("change", "metrics", "error", "message"),
    [
        (lambda results: [(*r[:2], r[2][0], r[3]) for r in results], "mAP", ValueError, "video '0': completeness"),
        (lambda results: [{"activity_scores": r[1]} for r in results], "mAP", KeyError, "relative_proposal_list"),
        (tuple, "mAP", TypeError, "results are a tuple"),  # ssn_tuple
        (lambda results: results[1:], "mAP", AssertionError, "2 results for 3 videos"),  # ssn_len
        (list, "AR@AN", KeyError, "choose from"),  # ssn_metric
        (lambda results: [(r[0][:, :1], *r[1:]) for r in results], "mAP", ValueError, "video '0'.*shapes"),
        (lambda results: [(r[0], r[1][:, 1:], *r[2:]) for r in results], "mAP", ValueError, "video '0'.*shapes"),
        (lambda results: [(r[0], r[1] * np.nan, *r[2:]) for r in results], "mAP", ValueError, "proposal 0 scores NaN"),
    ],
)
def test_bad_results_are_named(change, metrics, error, message, videos):
    with pytest.raises(error, match=message):
        evaluate_ssn(change(small_results()), videos, metrics=metrics)


def test_real_proposal_file_is_read():
    golden = read_json("load_localize_proposal_file.json")
    out = load_localize_proposal_file(FOLDER / golden["real_file"])
    assert [list(video) for video in out] == golden["real_out"]


@pytest.mark.parametrize("case", read_json("load_localize_proposal_file.json")["text_cases"], ids=lambda c: c["case"])
def test_proposal_file_matches_golden(case, tmp_path):
    (tmp_path / "list.txt").write_text(case["text"])
    if "raises" in case:
        with pytest.raises(
            {"ValueError": ValueError, "IndexError": IndexError}[case["raises"]], match=r"list.txt:\d+: "
        ):
            load_localize_proposal_file(tmp_path / "list.txt")
    else:
        assert [list(video) for video in load_localize_proposal_file(tmp_path / "list.txt")] == case["out"]
