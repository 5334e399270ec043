"""Labels of TEM and BMN: by hand, under jit, with padding. The golden values are in tests/models/test_localizers.py."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actjax.localization import actionness_labels, boundary_labels, inside_video, iou_map

SCALE = 10
FUNCTIONS = (actionness_labels, boundary_labels, iou_map)


def test_by_hand():
    """One action from 0.2 to 0.65 of ten steps."""
    segments = np.array([[0.2, 0.65]])
    action, start, end = actionness_labels(segments, temporal_scale=SCALE)
    np.testing.assert_allclose(action, [0, 0, 1, 1, 1, 1, 0.5, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(start, [0, 0.5, 0.5, 0, 0, 0, 0, 0, 0, 0], atol=1e-6)  # a step wide, about 0.2
    np.testing.assert_allclose(end, [0, 0, 0, 0, 0, 0, 1, 0, 0, 0], atol=1e-6)  # about 0.65
    # Anchors of two steps against three steps about 0.2: from 0.05 to 0.35.
    start, _ = boundary_labels(segments, temporal_scale=SCALE)
    np.testing.assert_allclose(start, [0.5, 1, 1, 0.5, 0, 0, 0, 0, 0, 0], atol=1e-6)
    ious = iou_map(segments, temporal_scale=SCALE)
    assert ious[3, 2] == pytest.approx(0.4 / 0.45) and ious[4, 2] == pytest.approx(0.45 / 0.5)
    assert not ious[~inside_video(SCALE)].any() and ious.argmax() == 4 * SCALE + 2


def test_an_edge_on_the_grid_is_half_exactly():
    """In float64, rounded to float32: thresholds of 0.5 then fall as in the reference."""
    segments = np.array([[k / 100, (k + 20) / 100] for k in range(1, 79)])
    for row in segments[:, None]:
        start = actionness_labels(row, temporal_scale=100)[1]
        assert set(np.round(start[start > 1e-6], 6)) <= {0.5, 1.0, 0.0}


def test_no_segments_are_zeros():
    for function in FUNCTIONS:
        out = function(np.zeros((0, 2)), temporal_scale=SCALE)
        assert out.dtype == np.float32 and not out.any()


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1))
def test_batched_padded_and_jitted_is_one_by_one(seed):
    rng = np.random.default_rng(seed)
    segments = np.sort(rng.random((3, 4, 2)), axis=2)
    mask = rng.random((3, 4)) < 0.6
    padded = np.where(mask[:, :, None], segments, rng.random((3, 4, 2)))
    for function in FUNCTIONS:
        expected = [function(rows[real], temporal_scale=SCALE) for rows, real in zip(segments, mask, strict=True)]
        np.testing.assert_array_equal(function(padded, temporal_scale=SCALE, mask=mask), expected)
        with jax.enable_x64(True):
            jitted = jax.jit(function, static_argnames="temporal_scale")
            np.testing.assert_allclose(jitted(padded, temporal_scale=SCALE, mask=mask), expected, atol=1e-6)
