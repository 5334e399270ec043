import numpy as np
import pytest
from golden_cases import cases
from hypothesis import given
from hypothesis import strategies as st

from actjax.metrics import class_mean_average_precision, mean_average_precision, sample_mean_average_precision


def test_matches_golden():
    for case, arrays, _ in cases("mean_average_precision"):
        scores, labels = list(arrays["scores"]), list(arrays["labels"])
        np.testing.assert_allclose(mean_average_precision(scores, labels), arrays["out"], rtol=1e-12, err_msg=case)
        over_classes = class_mean_average_precision(scores, labels)
        np.testing.assert_allclose(over_classes, arrays["out_mean_over_columns"], rtol=1e-12, err_msg=case)


def plain(scores, labels) -> float:
    """Average precision of one ranking, a threshold at every distinct score."""
    total, before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        above = [y == 1 for s, y in zip(scores, labels, strict=True) if s >= threshold]
        recall = sum(above) / sum(y == 1 for y in labels)
        total, before = total + (recall - before) * sum(above) / len(above), recall
    return total


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 9), st.integers(1, 12))
def test_both_meanings_are_plain_averages(seed, n, k, levels):
    rng = np.random.default_rng(seed)
    scores, labels = rng.integers(levels, size=(n, k)) / levels, rng.integers(2, size=(n, k))
    labels[:, 0] = 1
    by_sample = [plain(s, y) for s, y in zip(scores, labels, strict=True)]
    by_class = [plain(s, y) for s, y in zip(scores.T, labels.T, strict=True) if y.any()]
    np.testing.assert_allclose(sample_mean_average_precision(list(scores), list(labels)), np.mean(by_sample))
    np.testing.assert_allclose(class_mean_average_precision(list(scores), list(labels)), np.mean(by_class))
    order = rng.permutation(n)
    for function in (sample_mean_average_precision, class_mean_average_precision):
        same = function(list(scores[order]), list(labels[order]))
        np.testing.assert_allclose(same, function(list(scores), list(labels)))


def test_items_may_differ_in_length_over_samples():
    scores, labels = [np.array([0.9, 0.1]), np.array([0.2, 0.5, 0.4])], [np.array([1, 0]), np.array([1, 0, 1])]
    expected = (1 + (1 / 2 + 2 / 3) / 2) / 2
    assert sample_mean_average_precision(scores, labels) == pytest.approx(expected)
    with pytest.raises(ValueError, match="shapes differ"):
        class_mean_average_precision(scores, labels)


def test_nothing_is_nan():
    assert np.isnan(mean_average_precision([], [])) and np.isnan(class_mean_average_precision([], []))
    assert np.isnan(class_mean_average_precision([np.ones(2)], [np.zeros(2)]))
