import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actjax.video.sampling import sample_frames


def cases(golden, name):
    return json.loads((golden / "data" / f"{name}.json").read_text())["cases"]


def sample(case, **draws):
    options = {key: value for key, value in case["args"].items() if key not in ("test_mode", "temporal_jitter")}
    options = {"clip_len": 1} | options
    start = case["input"].get("start_index", 0)
    return sample_frames(case["input"]["total_frames"], **options, **draws).ravel() + start


def test_test_positions_match_golden(golden):
    for case in cases(golden, "sample_frames_test"):
        if case["args"].get("temporal_jitter"):
            continue
        indices, expected = sample(case), case["expect"]["frame_inds"]
        short = case["input"]["total_frames"] < case["args"]["clip_len"] * case["args"].get("frame_interval", 1)
        if case["args"].get("twice_sample") and short:
            expected = expected * 2  # the reference forgets the second set here
        assert indices.tolist() == expected, case["id"]


def test_train_positions_without_chance_match_golden(golden):
    rng = np.random.default_rng(0)
    for case in cases(golden, "sample_frames_train_det"):
        for _ in range(3):
            u = rng.random(case["args"].get("num_clips", 1), dtype=np.float32)
            assert sample(case, u=u).tolist() == case["expect"]["frame_inds"], case["id"]


def test_train_law_matches_golden(golden):
    """Every slot is one of the values of the exact law, and each value comes as often as it should (chi-square)."""
    rng, draws = np.random.default_rng(1), 20_000
    for case in cases(golden, "sample_frames_train_dist"):
        args = case["args"]
        clips, clip_len = args.get("num_clips", 1), args.get("clip_len", 1)
        jittered = args.get("temporal_jitter", False)
        drawn = np.stack([
            sample(
                case,
                u=rng.random(clips, dtype=np.float32),
                jitter=rng.random((clips, clip_len), dtype=np.float32) if jittered else None,
            )
            for _ in range(draws)
        ])  # fmt: skip
        for column, slot in zip(drawn.T, case["expect"]["slots"], strict=True):
            low, high = slot.get("uniform_range", (0, -1))
            values = np.array(slot.get("values", range(low, high + 1)))
            law = np.array(slot.get("prob", np.full(len(values), 1 / len(values))))
            counts = np.array([(column == value).sum() for value in values])
            assert counts.sum() == draws, case["id"]
            expected = law * draws
            statistic = ((counts - expected) ** 2 / expected).sum()
            freedom = len(values) - 1
            # A normal bound on chi-square, p < 1e-7; the seed is fixed.
            assert statistic < freedom + 5.2 * np.sqrt(2 * freedom) + 20, case["id"]


@given(st.integers(1, 400), st.integers(1, 12), st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_indices_lie_in_the_video(num_frames, num_clips, clip_len, frame_interval, seed):
    rng = np.random.default_rng(seed)
    u, jitter = rng.random(num_clips, dtype=np.float32), rng.random((num_clips, clip_len), dtype=np.float32)
    for bound in ("loop", "repeat_last"):
        options = dict(clip_len=clip_len, frame_interval=frame_interval, num_clips=num_clips, out_of_bound_opt=bound)
        for draws in (dict(), dict(u=u), dict(u=u, jitter=jitter)):
            indices = sample_frames(num_frames, **options, **draws)
            assert indices.shape == (num_clips, clip_len) and indices.dtype == np.int64
            assert indices.min() >= 0 and indices.max() < num_frames


@pytest.mark.parametrize("num_frames", [1, 3, 8, 9, 20, 300])
@pytest.mark.parametrize("out_of_bound_opt", ["loop", "repeat_last"])
def test_numpy_equals_jit_and_vmap(num_frames, out_of_bound_opt):
    rng = np.random.default_rng(num_frames)
    u, jitter = rng.random((64, 3), dtype=np.float32), rng.random((64, 3, 2), dtype=np.float32)

    def sampled(u, jitter):
        options = dict(clip_len=2, frame_interval=3, num_clips=3, out_of_bound_opt=out_of_bound_opt)
        return sample_frames(num_frames, u=u, jitter=jitter, **options)

    on_device = jax.jit(jax.vmap(sampled))(jnp.asarray(u), jnp.asarray(jitter))
    on_host = np.stack([sampled(*draws) for draws in zip(u, jitter, strict=True)])
    np.testing.assert_array_equal(on_host, on_device)


def test_edges_of_the_draws():
    low = sample_frames(10, clip_len=1, num_clips=2, u=np.zeros(2, np.float32))
    high = sample_frames(10, clip_len=1, num_clips=2, u=np.full(2, np.nextafter(np.float32(1), np.float32(0))))
    assert low.ravel().tolist() == [0, 5] and high.ravel().tolist() == [4, 9]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(num_frames=0), "num_frames=0"),
        (dict(clip_len=0), "clip_len=0"),
        (dict(num_clips=0), "num_clips=0"),
        (dict(frame_interval=0), "frame_interval=0"),
        (dict(out_of_bound_opt="wrap"), "choose from"),
        (dict(u=np.zeros(3)), r"u has shape \(3,\); expected \(1,\)"),
        (dict(jitter=np.zeros((2, 2))), "jitter has shape"),
        (dict(u=np.zeros(1), twice_sample=True), "test-time option"),
    ],
)
def test_bad_input(options, message):
    options = dict(num_frames=10, clip_len=1) | options
    with pytest.raises(ValueError, match=message):
        sample_frames(options.pop("num_frames"), **options)
