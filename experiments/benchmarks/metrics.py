"""Metrics and localization against MMAction2 0.6: seconds of both on the same inputs, their ratio, result checks.

    git clone --depth=1 --branch=v0.6.0 https://github.com/open-mmlab/mmaction2
    python experiments/benchmarks/metrics.py --peer=mmaction2

Inputs are generated at the size of ActivityNet-1.3 validation (4,728 videos, 100 proposals each), THUMOS14 test (213
videos), Kinetics-400 validation and Multi-Moments in Time validation; `--share=0.02` uses a fraction of the videos.
Only the needed files of MMAction2 are loaded, so neither mmcv nor torch is required. They are patched in memory:
`np.int`, `np.trapz` and one-element arrays used as numbers, which NumPy has dropped, and the shape of the one-candidate
IoU, without which MMAction2's mAP counts only the first ground truth of each video.
"""

import argparse
import contextlib
import io
import pathlib
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np
from mmaction2 import load_functions

from actjax import localization, metrics
from actjax.localization import batched

jax.config.update("jax_enable_x64", True)  # the peer's precision
NUM_VIDEOS = 4728
BSN_NMS = dict(alpha=0.75, low_threshold=0.65, high_threshold=0.9)


def segments(rng, n: int) -> np.ndarray:
    return np.sort(rng.random((n, 2)), axis=1)


def average_recall(peer, rng, n: int, folder: pathlib.Path):
    truth = {str(i): segments(rng, 1 + i % 2) * 120 for i in range(n)}
    found = {v: np.concatenate([segments(rng, 100) * 120, rng.random((100, 1))], 1) for v in truth}
    call = (truth, found, 100 * n, 100)
    yield (
        "AR@AN",
        f"{n} videos x 100",
        peer.average_recall_at_avg_proposals,
        metrics.average_recall_at_avg_proposals,
        call,
    )


def detection(peer, rng, n: int, folder: pathlib.Path):
    for name, videos, classes, each, ious in (
        ("mAP ActivityNet", n, 200, 5, np.linspace(0.5, 0.95, 10)),
        ("mAP THUMOS14", max(n * 213 // NUM_VIDEOS, 2), 20, 200, np.arange(0.1, 1.0, 0.1)),
    ):
        truth = {k: {} for k in range(classes)}
        for i in range(videos):
            for k in rng.integers(classes, size=16 if classes == 20 else 1):
                truth[k].setdefault(str(i), []).extend(segments(rng, 1 + i % 2).tolist())
        found = {k: [] for k in range(classes)}
        for i in range(videos):
            mine = [k for k in range(classes) if str(i) in truth[k]]
            for (s, e), score in zip(segments(rng, each).tolist(), rng.random(each).tolist(), strict=True):
                k = mine[int(score * 1e6) % len(mine)]
                found[k].append([str(i), k, s, e, score])
        yield name, f"{videos} videos x {each}, {classes} classes", peer.eval_ap, metrics.eval_ap, (found, truth, ious)


def suppression(peer, rng, n: int, folder: pathlib.Path):
    videos = [np.concatenate([segments(rng, 100), rng.random((100, 1))], 1) for _ in range(n)]
    arguments = (*BSN_NMS.values(), 100)
    each = lambda function: lambda: [function(rows, *arguments) for rows in videos]

    jitted = jax.jit(lambda rows: batched.soft_nms(rows, jnp.ones(rows.shape[:2], bool), *arguments)[0])
    compiled = jitted.lower(np.stack(videos)).compile()

    yield "soft-NMS, a call a video", f"{n} videos x 100", each(peer.soft_nms), each(localization.soft_nms), ()
    yield "soft-NMS, jitted", f"{n} videos x 100", None, lambda: list(np.asarray(compiled(np.stack(videos)))), ()
    grid = np.stack(np.triu_indices(100), 1) / 100 + [0, 0.01]
    grid = np.concatenate([grid, rng.random((len(grid), 1))], 1)
    yield "soft-NMS, BMN map", "1 video x 5050", peer.soft_nms, localization.soft_nms, (grid, *arguments)


def proposals(peer, rng, n: int, folder: pathlib.Path):
    tem, pgm = folder / "tem", folder / "pgm"
    tem.mkdir()
    pgm.mkdir()
    infos = []
    for i in range(n):
        # Distinct scores in float32: the peer leaves the order of equal ones open.
        curves = np.stack([rng.permutation(100) for _ in range(3)], 1) / 100 + rng.random((100, 3)) * 0.009
        steps = np.arange(100)[:, None] / 100
        table = np.concatenate([curves, steps, steps + 0.01], 1)
        np.savetxt(tem / f"v_{i}.csv", table, delimiter=",", comments="", header="action,start,end,tmin,tmax")
        annotations = [{"segment": s.tolist()} for s in segments(rng, 1 + i % 2) * 120]
        infos.append(dict(video_name=f"v_{i}", duration_frame=3600, duration_second=120.0, feature_frame=3584,
                          annotations=annotations))  # fmt: skip
    call = (range(n), infos, str(tem), 100, 0.5)
    yield ("candidate proposals", f"{n} files of 100 steps", peer.generate_candidate_proposals,
           localization.generate_candidate_proposals, call)  # fmt: skip
    for name, rows in localization.generate_candidate_proposals(*call).items():
        header = "tmin,tmax,tmin_score,tmax_score,score,match_iou,match_ioa"
        np.savetxt(pgm / f"{name}.csv", rows[:100], delimiter=",", comments="", header=header)
    yield ("BSP features", f"{n} files x 100", peer.generate_bsp_feature, localization.generate_bsp_feature,
           (range(n), infos, str(tem), str(pgm)))  # fmt: skip


def recognition(peer, rng, n: int, folder: pathlib.Path):
    videos = max(10_000 * n // NUM_VIDEOS, 2)
    scores, labels = rng.random((videos, 313)), rng.random((videos, 313)) < 0.01
    labels[:, 0] = True
    yield ("mean average precision", f"{videos} x 313", peer.mean_average_precision, metrics.mean_average_precision,
           (list(scores), list(labels.astype(int))))  # fmt: skip
    videos = max(19_796 * n // NUM_VIDEOS, 2)
    call = (rng.random((videos, 400)), rng.integers(400, size=videos), (1, 5))
    yield "top-k accuracy", f"{videos} x 400", peer.top_k_accuracy, metrics.top_k_accuracy, call


def timed(function, arguments, repeats: int):
    """Result and the least CPU seconds of a call; CPU time of this one thread, because others share the machine."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        with contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
            result = function(*arguments)
        seconds.append(time.process_time() - start)
    return result, min(seconds)


def assert_equal(name: str, ours, theirs) -> None:
    ours, theirs = (list(x.values()) if isinstance(x, dict) else x for x in (ours, theirs))
    ours, theirs = (x if isinstance(x, (list, tuple)) else [x] for x in (ours, theirs))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-5, err_msg=name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True, help="checkout of MMAction2 v0.6.0")
    parser.add_argument("--share", type=float, default=1.0, help="share of the videos")
    parser.add_argument("--repeats", type=int, default=3, help="of our side, which is short; the least counts")
    args = parser.parse_args()
    peer, rng, n = load_functions(args.peer), np.random.default_rng(0), max(int(NUM_VIDEOS * args.share), 2)

    print(f"actjax against {args.peer}, one thread, NumPy {np.__version__}, {time.strftime('%Y-%m-%d')}")
    print(f"{'':27}{'inputs':36}{'MMAction2 s':>12}{'actjax s':>10}{'ratio':>8}")
    with tempfile.TemporaryDirectory() as folder:
        theirs = spent = None
        parts = (average_recall, detection, suppression, proposals, recognition)
        cases = (case for part in parts for case in part(peer, rng, n, pathlib.Path(folder)))
        for name, inputs, reference, function, call in cases:
            ours, seconds = timed(function, call, args.repeats)
            if reference:  # None: the same inputs as in the line before
                theirs, spent = timed(reference, call, 1)
            assert_equal(name, ours, theirs)
            print(f"{name:27}{inputs:36}{spent:12.3f}{seconds:10.4f}{spent / seconds:8.1f}", flush=True)


if __name__ == "__main__":
    main()
