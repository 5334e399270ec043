import numpy as np
import plain
import pytest
from golden_cases import by_video, cases, predictions
from hypothesis import given
from hypothesis import strategies as st

from actjax.metrics import average_precision_at_temporal_iou, eval_ap


def test_average_precision_matches_golden():
    for case, arrays, _ in cases("average_precision_at_temporal_iou"):
        truth = by_video(arrays, "gt_ids", "gt_seg", "gt_offsets")
        kwargs = {k: arrays[k] for k in ("temporal_iou_thresholds",) if k in arrays}
        out = average_precision_at_temporal_iou(truth, predictions(arrays), **kwargs)
        assert out.dtype == arrays["out"].dtype
        np.testing.assert_allclose(out, arrays["out"], rtol=0, atol=1e-6, err_msg=case)


@pytest.mark.parametrize("name", ["eval_ap", "perf_eval_ap"])
def test_eval_ap_matches_golden(name):
    for case, arrays, _ in cases(name):
        detections = {k: [] for k in range(int(arrays["num_classes"]))}
        for row in predictions(arrays):
            detections[row[1]].append(row)
        truth = {k: {} for k in range(max(len(detections), arrays["gt_class"].max() + 1))}
        columns = (arrays[f"gt_{name}"].tolist() for name in ("class", "video", "seg"))
        for label, video, segment in zip(*columns, strict=True):
            truth[label].setdefault(video, []).append(segment)
        out = eval_ap(detections, truth, arrays["iou_range"].tolist())
        assert out.dtype == np.float64
        np.testing.assert_allclose(out, arrays["out"], rtol=0, atol=1e-6, err_msg=case)


def generated(seed, videos, grid=8):
    """Ground truth and detections on a coarse grid: many equal overlaps, some segments without length."""
    rng = np.random.default_rng(seed)
    segments = lambda n: np.sort(rng.integers(grid + 1, size=(n, 2)) / grid, axis=1).tolist()
    truth = {str(i): segments(rng.integers(0, 5)) for i in range(videos)}
    truth["one"] = [[0.25, 0.75]]
    names = [*truth, "elsewhere"]
    rows = [[str(rng.choice(names)), 0, *segment, 0.0] for segment in segments(rng.integers(1, 30))]
    return rng, truth, rows


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.booleans())
def test_is_what_plain_loops_give(seed, videos, ties):
    rng, truth, rows = generated(seed, videos)
    for row, score in zip(rows, rng.permutation(len(rows)), strict=True):
        row[4] = float(score // 3 if ties else score)
    thresholds = (0.25, 0.5, 0.9, 1.0)
    out = eval_ap({0: rows}, {0: truth}, thresholds)[0]
    flat = [(row[0], *row[2:]) for row in rows]
    expected = [plain.average_precision(truth, flat, t) for t in thresholds]
    np.testing.assert_allclose(out, expected, atol=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_perfect_detections_score_exactly_one(seed, videos):
    rng, truth, _ = generated(seed, videos)
    rows = [[video, 0, *segment, float(rng.random())] for video, segments in truth.items() for segment in segments]
    assert (eval_ap({0: rows}, {0: truth}, np.linspace(0.5, 1, 11)) == 1.0).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_order_of_rows_does_not_matter_and_ap_falls_with_the_threshold(seed, videos):
    rng, truth, rows = generated(seed, videos, grid=1000)
    for row, score in zip(rows, rng.permutation(len(rows)), strict=True):
        row[4] = float(score)
    out = eval_ap({0: rows}, {0: truth}, (0.3, 0.5, 0.7))
    shuffled = [rows[i] for i in rng.permutation(len(rows))]
    names = rng.permutation(list(truth)).tolist()
    np.testing.assert_array_equal(eval_ap({0: shuffled}, {0: {v: truth[v] for v in names}}, (0.3, 0.5, 0.7)), out)
    assert ((out >= 0) & (out <= 1)).all()


@pytest.mark.parametrize(
    ("detections", "truth", "error", "message"),
    [
        ({0: [["v", 0, 0, 1]]}, {0: {}}, ValueError, "expected rows"),
        ({0: [["v", 0, 2, 1, 0.5]]}, {0: {}}, ValueError, "detections of class 0: row 0"),
        ({0: [["v", 0, 0, 1, float("nan")]]}, {0: {}}, ValueError, "detections of class 0: the score of row 0 is nan"),
        ({0: [["v", 0, 0, 1, "high"]]}, {0: {}}, TypeError, "detections of class 0"),
        ({0: []}, {0: {"v": [[2, 1]]}}, ValueError, "class 0, video 'v': row 0"),
        ({0: []}, {}, KeyError, "gt_by_cls: no class 0"),
        ({1: []}, {1: {}}, KeyError, "detections: no class 0"),
    ],
)
def test_bad_input_is_named(detections, truth, error, message):
    with pytest.raises(error, match=message):
        eval_ap(detections, truth, (0.5,))
