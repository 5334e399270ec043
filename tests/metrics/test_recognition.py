import numpy as np
import pytest
from golden_cases import TOLERANCE, cases

from actjax.metrics import confusion_matrix, get_weighted_score, mean_class_accuracy, softmax, top_k_accuracy


def test_softmax_matches_golden():
    for case, arrays, kwargs in cases("softmax"):
        out, expected = softmax(arrays["x"], axis=kwargs.get("dim", 1)), arrays["out"]
        rtol = TOLERANCE[expected.dtype.type]
        assert out.dtype == expected.dtype, case
        np.testing.assert_allclose(out, expected, rtol=rtol, atol=1e-300, err_msg=case)


def test_top_k_accuracy_matches_golden():
    for case, arrays, kwargs in cases("top_k_accuracy"):
        topk = tuple(kwargs.get("topk", (1,)))
        out = top_k_accuracy(arrays["scores"], arrays["labels"], topk)
        assert isinstance(out, list) and len(out) == len(topk)
        np.testing.assert_allclose(out, arrays["out"], rtol=1e-12, err_msg=case)


def test_a_label_that_is_no_class_never_hits():
    for label in (7, -1, 0.5):
        assert top_k_accuracy(np.eye(3), [label] * 3, (1, 3, 5)) == [0, 0, 0]
    assert top_k_accuracy(np.eye(3), [0, 1, 2], (1, 3, 5)) == [1, 1, 1]


def test_confusion_matrix_matches_golden():
    for case, arrays, kwargs in cases("confusion_matrix"):
        if "length_mismatch" in case:
            with pytest.raises(ValueError, match="predictions for"):
                confusion_matrix(arrays["y_pred"], arrays["y_real"], **kwargs)
            continue
        out = confusion_matrix(arrays["y_pred"], arrays["y_real"], **kwargs)
        assert out.dtype == arrays["out"].dtype, case
        np.testing.assert_allclose(out, arrays["out"], rtol=1e-12, err_msg=case)


def test_mean_class_accuracy_matches_golden():
    for case, arrays, _ in cases("mean_class_accuracy"):
        if "length_mismatch" in case:
            with pytest.raises(ValueError, match="predictions for"):
                mean_class_accuracy(arrays["scores"], arrays["labels"])
            continue
        out = mean_class_accuracy(arrays["scores"], arrays["labels"])
        np.testing.assert_allclose(out, arrays["out"], rtol=1e-12, err_msg=case)


def test_get_weighted_score_matches_golden():
    for case, arrays, _ in cases("get_weighted_score"):
        out = get_weighted_score([list(scores) for scores in arrays["score_list"]], arrays["coeff_list"].tolist())
        assert isinstance(out, list) and {row.dtype for row in out} == {arrays["out"].dtype}, case
        np.testing.assert_allclose(out, arrays["out"], rtol=1e-12, atol=1e-12, err_msg=case)


def test_order_of_videos_does_not_matter():
    rng = np.random.default_rng(0)
    scores, labels, order = rng.random((50, 7)), rng.integers(0, 7, 50), rng.permutation(50)
    assert top_k_accuracy(scores, labels, (1, 3)) == top_k_accuracy(scores[order], labels[order], (1, 3))
    assert mean_class_accuracy(scores, labels) == mean_class_accuracy(scores[order], labels[order])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: top_k_accuracy(np.zeros((2, 3)), [0, 1], 3), TypeError, "expected a tuple"),
        (lambda: top_k_accuracy(np.zeros((2, 3)), [0, 1, 2]), ValueError, "3 labels for 2 rows"),
        (lambda: top_k_accuracy(np.zeros(3), [0]), np.exceptions.AxisError, "expected \\[n, k\\]"),
        (lambda: confusion_matrix([0], [0], "rows"), ValueError, "choose from"),
        (lambda: confusion_matrix([0.5], [0]), TypeError, "y_pred is float64"),
        (lambda: confusion_matrix([0], (0,)), TypeError, "y_real is tuple"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
