import jax
import jax.numpy as jnp
import numpy as np
import pytest
from data_cases import cases, record_draws, slots_follow
from hypothesis import given
from hypothesis import strategies as st

from actjax.video.sampling import dense_sample_frames, sample_frames, untrimmed_sample_frames
from actjax.video.ssn_sampling import sample_proposal_frames


def sample(case, **draws):
    options = {key: value for key, value in case["args"].items() if key not in ("test_mode", "temporal_jitter")}
    options = {"clip_len": 1} | options
    start = case["input"].get("start_index", 0)
    return sample_frames(case["input"]["total_frames"], **options, **draws).ravel() + start


def test_test_positions_match_golden():
    for case in cases("sample_frames_test"):
        if case["args"].get("temporal_jitter"):
            continue
        indices, expected = sample(case), case["expect"]["frame_inds"]
        short = case["input"]["total_frames"] < case["args"]["clip_len"] * case["args"].get("frame_interval", 1)
        if case["args"].get("twice_sample") and short:
            expected = expected * 2  # the reference forgets the second set here
        assert indices.tolist() == expected, case["id"]


def test_train_positions_without_chance_match_golden():
    rng = np.random.default_rng(0)
    for case in cases("sample_frames_train_det"):
        for _ in range(3):
            u = rng.random(case["args"].get("num_clips", 1), dtype=np.float32)
            assert sample(case, u=u).tolist() == case["expect"]["frame_inds"], case["id"]


def sampler_draws(num_positions, args):
    """What records draw for a sampler: its positions, and the jitter of their frames if it is wanted."""
    num_clips, clip_len = args.get("num_clips", 1), args.get("clip_len", 1)
    u = record_draws("sample", num_positions + num_clips * clip_len)
    u, jitter = u[:, :num_positions], u[:, num_positions:].reshape(-1, num_clips, clip_len)
    return u, jitter if args.get("temporal_jitter") else None


def test_train_law_matches_golden():
    """Every slot is one of the values of the exact law, and each value comes as often as it should (chi-square)."""
    for case in cases("sample_frames_train_dist"):
        u, jitter = sampler_draws(case["args"].get("num_clips", 1), case["args"])
        drawn = jax.jit(jax.vmap(lambda u, jitter, c=case: sample(c, u=u, jitter=jitter)))(u, jitter)
        assert slots_follow(drawn, case["expect"]["slots"]), case["id"]


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


def dense(case, **draws):
    options = {key: value for key, value in case["args"].items() if key not in ("test_mode", "temporal_jitter")}
    return dense_sample_frames(case["input"]["total_frames"], **options, **draws).ravel() + case["input"]["start_index"]


def test_dense_test_positions_match_golden():
    for case in cases("dense_sample_test"):
        assert dense(case).tolist() == case["expect"]["frame_inds"], case["id"]


def test_dense_train_law_matches_golden():
    for case in cases("dense_sample_train_dist"):
        u, jitter = sampler_draws(1, case["args"])
        drawn = jax.jit(jax.vmap(lambda u, jitter, c=case: dense(c, u=u, jitter=jitter)))(u, jitter)
        assert slots_follow(drawn, case["expect"]["slots"]), case["id"]


def test_untrimmed_positions_match_golden():
    for case in cases("untrimmed_sample"):
        options = dict(case["args"])
        start = options.pop("start_index")
        indices = untrimmed_sample_frames(case["input"]["total_frames"], **options)
        assert indices.shape == (case["expect"]["num_clips"], options["clip_len"])
        assert (indices.ravel() + start).tolist() == case["expect"]["frame_inds"], case["id"]


def proposed(case, **draws):
    frames, start = case["input"]["total_frames"], case["input"]["start_index"]
    return sample_proposal_frames(frames, case["input"].get("proposals"), **case["args"], **draws) + start


def test_proposal_positions_match_golden():
    for case in cases("sample_proposal_frames_det"):
        indices = proposed(case)
        assert indices.ravel().tolist() == case["expect"]["frame_inds"], case["id"]
        if case["args"]["mode"] == "val":
            expect = case["expect"]
            assert indices.shape == (expect["num_proposals"], expect["num_clips"], expect["clip_len"])


def test_proposal_train_law_matches_golden():
    for case in cases("sample_proposal_frames_train_dist"):
        u = record_draws("sample", case["expect"]["num_proposals"], case["expect"]["num_clips"])
        drawn = jax.jit(jax.vmap(lambda u, c=case: proposed(c, u=u).ravel()))(u)
        assert slots_follow(drawn, case["expect"]["slots"]), case["id"]


OPTIONS = dict(clip_len=2, frame_interval=2, body_segments=3, aug_segments=(2, 1), aug_ratio=(0.5, 1.0))


def test_borrowed_proposal_is_cut_by_its_own_video():
    u = np.random.default_rng(0).random((2, 6), dtype=np.float32)
    proposals = np.array([[10, 40], [60, 95]])
    both = sample_proposal_frames(np.array([50, 120]), proposals, **OPTIONS, u=u)
    for k, frames in enumerate((50, 120)):
        alone = sample_proposal_frames(frames, proposals[k : k + 1], **OPTIONS, u=u[k : k + 1])
        np.testing.assert_array_equal(both[k : k + 1], alone)


@given(st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_other_samplers_stay_in_the_video(num_frames, seed):
    rng = np.random.default_rng(seed)
    options = dict(clip_len=3, frame_interval=int(rng.integers(1, 9)), num_clips=2, sample_range=20)
    for bound in ("loop", "repeat_last"):
        for u in (None, rng.random(1, dtype=np.float32)):
            indices = dense_sample_frames(num_frames, **options, out_of_bound_opt=bound, u=u)
            assert indices.shape == (20 if u is None else 2, 3) and indices.dtype == np.int64
            assert indices.min() >= 0 and indices.max() < num_frames
    begins = rng.integers(0, num_frames, (4, 1))
    proposals = np.concatenate([begins, begins + rng.integers(1, 80, (4, 1))], axis=1)
    jitter = rng.random((4, 6, 2), dtype=np.float32)
    for mode, u in (("train", rng.random((4, 6), dtype=np.float32)), ("val", None)):
        indices = sample_proposal_frames(num_frames, proposals, **OPTIONS, mode=mode, u=u, jitter=jitter)
        assert indices.shape == (4, 6, 2) and indices.dtype == np.int64
        assert indices.min() >= 0 and indices.max() < num_frames


def test_numpy_equals_jit_and_vmap_for_all_samplers():
    rng = np.random.default_rng(4)

    def dense_of(u, jitter):
        options = dict(clip_len=2, frame_interval=3, num_clips=3, sample_range=30)
        return dense_sample_frames(100, **options, out_of_bound_opt="repeat_last", u=u[:1, 0], jitter=jitter[0, :3])

    def proposal_of(u, jitter):
        proposals = [[3, 40], [35, 39], [0, 90]]
        return sample_proposal_frames(np.array([60, 40, 100]), proposals, **OPTIONS, u=u, jitter=jitter)

    u, jitter = rng.random((256, 3, 6), dtype=np.float32), rng.random((256, 3, 6, 2), dtype=np.float32)
    for sampled in (dense_of, proposal_of):
        on_device = jax.jit(jax.vmap(sampled))(jnp.asarray(u), jnp.asarray(jitter))
        on_host = np.stack([sampled(*draws) for draws in zip(u, jitter, strict=True)])
        np.testing.assert_array_equal(on_host, on_device)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dense_sample_frames(10, clip_len=1, sample_range=0), "sample_range=0"),
        (lambda: dense_sample_frames(10, clip_len=1, u=np.zeros(2)), r"expected \(1,\)"),
        (lambda: dense_sample_frames(10, clip_len=1, out_of_bound_opt="x"), "dense_sample_frames: out_of_bound_opt"),
        (lambda: untrimmed_sample_frames(8), "make frame_interval smaller"),
        (lambda: sample_proposal_frames(9, [[0, 5]], **OPTIONS), "mode='train' needs draws u"),
        (lambda: sample_proposal_frames(9, [[0, 5]], **OPTIONS, mode="val", u=np.zeros((1, 6))), "takes no draws"),
        (lambda: sample_proposal_frames(9, [[0, 5]], **OPTIONS, u=np.zeros((1, 5))), r"expected \(1, 6\)"),
        (lambda: sample_proposal_frames(9, [[0.0, 5.0]], **OPTIONS, mode="val"), "whole numbers"),
        (lambda: sample_proposal_frames(9, [[0, 5], [5, 3]], **OPTIONS, mode="val"), r"proposal \[5, 3\]"),
        (lambda: sample_proposal_frames(4, None, **OPTIONS, mode="test"), "test mode needs more than 4, one clip"),
    ],
)
def test_bad_input_of_other_samplers(call, message):
    with pytest.raises(ValueError, match=message):
        call()
