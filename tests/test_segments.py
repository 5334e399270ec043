import numpy as np
import pytest
from golden_cases import TOLERANCE, cases
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from actjax import segments
from actjax.segments import check_columns, check_segments, temporal_iop, temporal_iou

TIMES = npst.arrays(np.float64, (5, 2), elements=st.floats(0, 1e3, width=32)).map(lambda x: np.sort(x, axis=1))


@pytest.mark.parametrize("function", [temporal_iou, temporal_iop])
def test_matches_golden(function):
    for case, arrays, _ in cases(function.__name__):
        arguments = [arrays[name][()] for name in ("proposal_min", "proposal_max", "gt_min", "gt_max")]
        out, expected = function(*arguments), arrays["out"]
        assert out.dtype == expected.dtype, case
        np.testing.assert_allclose(out, expected, rtol=TOLERANCE[expected.dtype.type], err_msg=case)


def test_takes_lists():
    assert temporal_iou([0, 2], [2, 4], [1], [3]).tolist() == [1 / 3, 1 / 3]
    assert temporal_iop([0, 2], [2, 4], 0, 3).tolist() == [1, 0.5]


@given(TIMES, TIMES)
def test_iou_is_symmetric_and_a_share(a, b):
    there, back = temporal_iou(*a.T, *b.T), temporal_iou(*b.T, *a.T)
    np.testing.assert_array_equal(there, back)
    number = there[~np.isnan(there)]
    assert ((number >= 0) & (number <= 1)).all()
    lasting = a[:, 0] < a[:, 1]
    assert (temporal_iou(*a.T, *a.T)[lasting] == 1).all()


@given(TIMES, TIMES)
def test_jitted_agrees(a, b):
    import jax

    with jax.enable_x64(True):
        np.testing.assert_allclose(jax.jit(temporal_iou)(*a.T, *b.T), temporal_iou(*a.T, *b.T), rtol=1e-15)
        np.testing.assert_allclose(jax.jit(temporal_iop)(*a.T, *b.T), temporal_iop(*a.T, *b.T), rtol=1e-15)


def test_pairs_of_ranges():
    i, j = segments.ranges(np.array([2, 5, 0]), np.array([4, 5, 1]))
    assert list(zip(i.tolist(), j.tolist(), strict=True)) == [(0, 2), (0, 3), (2, 0)]


def test_strings_of_numbers_and_no_rows_pass():
    assert check_segments("x", [["1", "2.5", "Diving"]]).tolist() == [[1, 2.5]]
    assert check_columns("x", np.zeros(0), columns=3).shape == (0, 3)


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ([[0, 1], [3, 2]], ValueError, "mine: row 1 is .* its end is before its start"),
        ([[0, np.nan]], ValueError, "mine: row 0 .* finite"),
        ([[0, np.inf]], ValueError, "mine: row 0 .* finite"),
        ([[0, 1], [0]], ValueError, "mine: rows differ in length"),
        ([[0], [1]], IndexError, r"mine has shape \(2, 1\)"),
        ([0, 1], ValueError, r"mine has shape \(2,\)"),
        ([["a", "b"]], TypeError, "mine: expected numbers"),
    ],
)
def test_bad_segments_are_named(rows, error, message):
    with pytest.raises(error, match=message):
        check_segments("mine", rows)
