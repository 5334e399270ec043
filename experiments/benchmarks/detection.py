"""SSN testing against MMAction2 0.6, a part of `localization.py`: proposal scoring and evaluation of a whole set.

`pooling` computes the scores of a video's proposals from the features of its ticks, for a video of THUMOS14's mean
length: 1,100 ticks of 2,048 numbers, 500 proposals, 20 classes. `evaluation` computes mAP from these scores for 210
videos. The results of both sides are compared.
"""

import functools
import time
import types

import numpy as np
from train_step import time_repeats

TICKS, PROPOSALS, CLASSES, CHANNELS, VIDEOS = 1100, 500, 20, 2048, 210
PYRAMIDS = {"(1, 1, 1)": (1, 1, 1), "(1, (1, 2), 1)": (1, (1, 2), 1)}


def video(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of ticks, places of proposals among them, scale factors."""
    length = rng.integers(1, TICKS // 4, PROPOSALS)
    start = rng.integers(0, TICKS - length)
    end, half = start + length, length // 2
    ticks = np.stack([np.maximum(start - half, 0), start, end, np.minimum(end + half, TICKS)], axis=1)
    return (
        rng.normal(size=(TICKS, CHANNELS)).astype(np.float32),
        ticks.astype(np.int32),
        rng.random((PROPOSALS, 2)).astype(np.float32),
    )


def pooling(peer: types.SimpleNamespace, stages: tuple) -> tuple[float, float]:
    """Seconds of both sides for a video, (torch, actjax)."""
    import jax
    import torch

    from actjax.models import SSN
    from actjax.tasks.ssn.scoring import pooled

    features, ticks, factors = video(np.random.default_rng(0))
    consensus = dict(type="STPPTest", stpp_stage=stages)
    head = peer.SSNHead(0.0, CHANNELS, CLASSES, consensus)
    head.prepare_test_fc(head.consensus.num_multipliers)
    model = SSN(num_classes=CLASSES, stpp_stage=stages)
    of = lambda layer: {"kernel": layer.weight.detach().numpy().T, "bias": layer.bias.detach().numpy()}
    params = {name: of(getattr(head, name)) for name in ("activity_fc", "completeness_fc", "regressor_fc")}
    constants = ((0.0, 0.0), (1.0, 1.0))
    ours = jax.jit(functools.partial(pooled, model, reg_norm_consts=constants, divide_parts=False))
    here = jax.device_put(({"params": params}, features, ticks, factors))
    run_ours = lambda: ours(*here, num_ticks=TICKS)
    given = [torch.from_numpy(x) for x in (features, ticks, factors)]

    @torch.no_grad()
    def run_theirs():
        return head(given, test_mode=True)[1:]

    for found, expected in zip(run_ours(), run_theirs(), strict=True):
        np.testing.assert_allclose(np.reshape(found, expected.shape), expected, rtol=1e-3, atol=1e-3)
    seconds = time_repeats(run_theirs, lambda _: None, repeats=5)
    return seconds, time_repeats(run_ours, jax.block_until_ready, repeats=20)


def results(rng: np.random.Generator) -> tuple[list[tuple], list[tuple]]:
    """What a network might say of all videos, and their proposal file."""
    scores, videos = [], []
    for number in range(VIDEOS):
        start = rng.uniform(0, 0.95, PROPOSALS)
        segments = np.stack([start, np.minimum(start + rng.uniform(0.005, 0.2, PROPOSALS), 1)], axis=1)
        truth = segments[rng.integers(PROPOSALS, size=16)] * 6000
        labels = np.concatenate([np.arange(1, CLASSES + 1), rng.integers(1, CLASSES + 1, 16)])[
            -16 - 4 * (number == 0) :
        ]
        rows = [[str(k), str(int(s)), str(int(e))] for k, (s, e) in zip(labels, truth, strict=False)]
        videos.append((f"video_test_{number:07d}", 6000, rows, []))
        draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
        completeness, regression = draw(PROPOSALS, CLASSES), 0.1 * draw(PROPOSALS, CLASSES, 2)
        scores.append((segments.astype(np.float32), 3 * draw(PROPOSALS, CLASSES + 1), completeness, regression))
    return scores, videos


def evaluation(peer: types.SimpleNamespace) -> tuple[float, float]:
    """Seconds of both sides for the set, (torch, actjax); the peer's own numbers are those of `eval_ap` mended."""
    from actjax.localization import evaluate_ssn

    scores, videos = results(np.random.default_rng(0))
    start = time.perf_counter()
    found = evaluate_ssn(scores, videos)
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    expected = peer.evaluate(scores, videos)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-2, atol=2e-4, err_msg=name)
    return time.perf_counter() - start, seconds


def show(checkout: str) -> None:
    """Both measurements as lines of the table."""
    from mmaction2 import load_ssn

    peer = load_ssn(checkout)
    for name, stages in PYRAMIDS.items():
        theirs, ours = pooling(peer, stages)
        sizes = f"{TICKS} ticks, {PROPOSALS} proposals, parts {name}"
        print(f"ssn   pooling, {sizes}: torch {theirs * 1e3:.1f} ms, actjax {ours * 1e3:.2f} ms", flush=True)
        print(f"ssn   ratio torch / actjax: {theirs / ours:.1f}", flush=True)
    theirs, ours = evaluation(peer)
    print(f"ssn   evaluation, {VIDEOS} videos of {PROPOSALS} proposals: torch {theirs:.1f} s, actjax {ours:.2f} s")
    print(f"ssn   ratio torch / actjax: {theirs / ours:.1f}", flush=True)
