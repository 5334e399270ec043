"""The jittable forms: batched and jitted == NumPy, one video at a time."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actjax import localization
from actjax.localization import batched

VIDEOS, LONGEST, STEPS = 4, 12, 20
SEEDS = st.integers(0, 2**32 - 1)
CANDIDATES = jax.jit(batched.candidate_proposals, static_argnames="max_proposals")


def padded(seed):
    """Proposals of several videos (ties in score, some twice, some without length), with a mask; padding is nonsense.

    Their ends are on no grid: there, different decays meet in the same score up to its last digit, which two libraries'
    exponentials round differently, and the order of such scores means nothing.
    """
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.random((VIDEOS, LONGEST, 2)), axis=2)
    rows[:, 0, 1] = rows[:, 0, 0]
    rows[:, 1] = rows[:, 2]
    rows = np.concatenate([rows, rng.random((VIDEOS, LONGEST, 1)), rng.integers(6, size=(VIDEOS, LONGEST, 1)) / 5], 2)
    lengths = rng.integers(0, LONGEST + 1, size=VIDEOS)
    return rows, rng.permuted(np.arange(LONGEST) < lengths[:, None], axis=1)


def arrays(outputs) -> tuple[np.ndarray, ...]:
    """On the host: every new shape that is cut out of a jax array costs a compilation."""
    return tuple(map(np.asarray, outputs))


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("top_k", [0, 5, 40])
@settings(max_examples=30)
@given(seed=SEEDS)
def test_soft_nms(seed, top_k):
    rows, mask = padded(seed)
    options = (0.4, 0.3, 0.8, top_k)
    out, valid = arrays(jax.jit(batched.soft_nms, static_argnums=(2, 3, 4, 5))(rows, mask, *options))
    for i in range(VIDEOS):
        expected = localization.soft_nms(rows[i][mask[i]], *options)
        assert valid[i].sum() == len(expected) and valid[i, : len(expected)].all()
        np.testing.assert_allclose(out[i, : len(expected)], expected, rtol=1e-12)
        assert not out[i, len(expected) :].any()


@pytest.mark.parametrize("max_proposals", [7, STEPS * STEPS, 500])
@settings(max_examples=20)
@given(seed=SEEDS, threshold=st.sampled_from([0.0, 0.5, 2.0]))
def test_candidate_proposals(seed, threshold, max_proposals):
    start, end = np.random.default_rng(seed).integers(1, 9, size=(2, VIDEOS, STEPS)) / 8
    out, valid = arrays(CANDIDATES(start, end, peak_threshold=threshold, max_proposals=max_proposals))
    assert out.shape == (VIDEOS, max_proposals, 5)
    for i in range(VIDEOS):
        expected = localization.candidate_proposals(start[i], end[i], peak_threshold=threshold)[:max_proposals]
        assert valid[i].sum() == len(expected)
        np.testing.assert_allclose(out[i][valid[i]], expected, rtol=1e-12)
        assert not out[i][~valid[i]].any()


@settings(max_examples=30)
@given(seed=SEEDS)
def test_match(seed):
    rng = np.random.default_rng(seed)
    rows, mask = padded(seed)
    proposals = np.sort(rng.random((VIDEOS, 9, 2)), axis=2)
    out = jax.jit(batched.match)(proposals, rows[:, :, :2], mask)
    for i in range(VIDEOS):
        np.testing.assert_allclose(out[i], localization.match(proposals[i], rows[i, :, :2][mask[i]]), rtol=1e-12)


@settings(max_examples=30)
@given(seed=SEEDS, interp=st.integers(1, 4))
def test_bsp_feature(seed, interp):
    rng = np.random.default_rng(seed)
    actionness, proposals = rng.random((VIDEOS, STEPS)), np.sort(rng.random((VIDEOS, 9, 2)), axis=2)
    out = jax.jit(batched.bsp_feature, static_argnames="num_sample_interp")(
        actionness, proposals, num_sample_interp=interp
    )
    for i in range(VIDEOS):
        expected = localization.bsp_feature(actionness[i], proposals[i], num_sample_interp=interp)
        np.testing.assert_allclose(out[i], expected, rtol=1e-9, atol=1e-12)


def test_float32_is_close_and_vmap_works():
    rows, mask = padded(3)
    with jax.enable_x64(False):
        out, valid = arrays(batched.soft_nms(rows.astype(np.float32), mask, 0.4, 0.3, 0.8, 5))
        assert out.dtype == np.float32
        twice = jax.vmap(lambda r, m: batched.soft_nms(r, m, 0.4, 0.3, 0.8, 5)[0])(
            np.stack([rows, rows]).astype(np.float32), np.stack([mask, mask])
        )
        np.testing.assert_array_equal(twice[1], out)
    for i in range(VIDEOS):
        expected = localization.soft_nms(rows[i][mask[i]].astype(np.float32), 0.4, 0.3, 0.8, 5)
        np.testing.assert_allclose(out[i][valid[i]], expected, rtol=1e-5)


def test_the_chain_runs_as_one_program():
    """Boundary curves -> proposals -> features and matches -> decayed proposals, without leaving the device."""
    rng = np.random.default_rng(0)
    action, start, end = rng.random((3, VIDEOS, STEPS))
    truth = np.sort(rng.random((VIDEOS, 3, 2)), axis=2)

    @jax.jit
    def chain(action, start, end):
        rows, valid = batched.candidate_proposals(start, end, peak_threshold=0.5, max_proposals=30)
        matched = batched.match(rows, truth, np.ones((VIDEOS, 3), bool))
        return batched.bsp_feature(action, rows), matched, *batched.soft_nms(rows, valid, 0.75, 0.65, 0.9, 10)

    features, matched, kept, valid = arrays(chain(action, start, end))
    for i in range(VIDEOS):
        rows = localization.candidate_proposals(start[i], end[i], peak_threshold=0.5)[:30]
        np.testing.assert_allclose(features[i][: len(rows)], localization.bsp_feature(action[i], rows), atol=1e-12)
        np.testing.assert_allclose(matched[i][: len(rows)], localization.match(rows, truth[i]), rtol=1e-12)
        expected = localization.soft_nms(rows, 0.75, 0.65, 0.9, 10)
        np.testing.assert_allclose(kept[i][valid[i]], expected, rtol=1e-12)


def test_bad_shapes_are_named():
    with pytest.raises(ValueError, match=r"proposals have shape \(4, 3\)"):
        batched.soft_nms(np.zeros((4, 3)), np.ones(4, bool), 0.4, 0.3, 0.8, 5)
    with pytest.raises(ValueError, match="mask"):
        batched.match(np.zeros((2, 4, 2)), np.zeros((2, 3, 2)), np.ones((2, 4), bool))


@settings(max_examples=20)
@given(seed=SEEDS)
def test_boundary_matching_proposals(seed):
    rng = np.random.default_rng(seed)
    start, end = rng.integers(1, 9, (2, VIDEOS, STEPS)) / 8
    maps = rng.random((2, VIDEOS, STEPS, STEPS))
    rows, found = arrays(jax.jit(batched.boundary_matching_proposals)(start, end, *maps))
    assert rows.shape == (VIDEOS, STEPS * (STEPS - 1) // 2, 3)
    for i in range(VIDEOS):
        expected = localization.boundary_matching_proposals(start[i], end[i], *maps[:, i])
        np.testing.assert_allclose(rows[i][found[i]], expected[:, [0, 1, 6]], rtol=1e-12)


def test_boundary_matching_proposals_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"curves \(2, 4\), maps \(2, 3, 3\)"):
        localization.boundary_matching_proposals(np.ones(4), np.ones(4), np.ones((3, 3)), np.ones((3, 3)))
