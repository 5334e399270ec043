"""The sample set for SSN: untrimmed video files with several motions each, and proposals computed from their pixels.

Motions are those of `shapes`. Between motions a video shows only its background, or a distractor: a shape that
trembles, swings or pulses in place. Before and after a motion its shape may rest for a while. Proposals come from the
videos: actionness is the change between frames, and runs above many thresholds are grouped
(`localization.actionness_grouping`). Proposals therefore find movement, but neither its class nor its exact start.

On disk: `videos/*.mp4`, `annotations.json` (in ActivityNet's form), `train_proposals.txt`, `val_proposals.txt` (SSN's
proposal files, proposals best first) and `classes.txt`.
"""

import json
import os
import pathlib

import numpy as np

from actjax.data.samples.made_once import in_processes, made_once
from actjax.data.samples.shapes import CLASSES, FPS, draw_background, draw_path, draw_sprite, paint, write_video
from actjax.localization import actionness_grouping, proposal_rows, save_localize_proposal_file

NUM_PROPOSALS = 120  # per video, at most


def make_untrimmed(
    folder: str | os.PathLike | None = None,
    *,
    num_train: int = 160,
    num_val: int = 40,
    seed: int = 0,
    processes: int | None = None,
) -> pathlib.Path:
    """The folder of the sample set; writes it first if it does not exist.

    Args:
      folder: target folder, see `samples.made_once`.
      num_train, num_val: videos per split.
      seed: each seed gives a different set.
      processes: number of writers; default one per core.

    Raises:
      ValueError: a split without a video.
    """
    if min(num_train, num_val) < 1:
        raise ValueError(f"make_untrimmed: num_train={num_train}, num_val={num_val}; must be 1 or more")
    splits = {"train": num_train, "val": num_val}
    write = lambda building: _write_set(building, splits, seed=seed, processes=processes)
    name = f"untrimmed-shapes-{num_train}-{num_val}-{seed}"
    return made_once(folder, name, marker="classes.txt", code=__file__, write=write)


def draw_video(rng: np.random.Generator) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """Frames uint8 [t, 48, 64, 3], and their motions: (class from 1, first frame, frame after the last)."""
    background, truths, parts = draw_background(rng=rng), [], []
    at = lambda: sum(map(len, parts))
    parts.append(_background_part(background, rng))
    for _ in range(int(rng.integers(2, 6))):
        label = int(rng.integers(len(CLASSES)))
        motion = draw_path(label // 2, int(rng.integers(18, 45)), rng=rng)
        if label % 2:
            motion = motion[::-1]
        rests = rng.integers(0, 10, 2)
        path = np.concatenate([np.repeat(motion[:1], rests[0], 0), motion, np.repeat(motion[-1:], rests[1], 0)])
        truths.append((label + 1, at() + int(rests[0]), at() + int(rests[0]) + len(motion)))
        parts += [paint(background, draw_sprite(rng=rng), path, rng=rng), _background_part(background, rng)]
    return np.concatenate(parts), truths


def _background_part(background: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Frames without a motion of any class: background, perhaps with a distractor."""
    quiet = lambda: paint(background, draw_sprite(rng=rng), np.zeros((int(rng.integers(8, 30)), 4)), rng=rng)
    if rng.random() < 0.5:
        return quiet()
    when = np.arange(rng.integers(14, 36))
    path = np.tile([rng.uniform(20, 44), rng.uniform(16, 32), rng.uniform(0, 360), rng.uniform(16, 24)], (len(when), 1))
    kind, wave = int(rng.integers(3)), np.sin(when * rng.uniform(1.2, 2.2))
    if kind == 0:  # trembles
        path[:, :2] += rng.normal(0, 2.0, (len(when), 2))
    elif kind == 1:  # swings
        path[:, 2] += 35 * wave
    else:  # pulses
        path[:, 3] *= 1 + 0.2 * wave
    return np.concatenate([quiet(), paint(background, draw_sprite(rng=rng), path, rng=rng), quiet()])


def motion_actionness(frames: np.ndarray) -> np.ndarray:
    """The amount of change around each frame, uint8 [t, h, w, 3] -> [t], in [0, 1]."""
    import cv2

    smooth = np.stack([cv2.GaussianBlur(frame, (5, 5), 1.5) for frame in frames]).astype(np.float32)
    change = np.abs(np.diff(smooth, axis=0)).max(axis=-1)
    change = np.sort(change.reshape(len(change), -1), axis=1)[:, -150:].mean(axis=1)  # the 150 pixels that change most
    change = np.convolve(np.pad(change, (4, 5), mode="edge"), np.ones(9) / 9, mode="valid")
    low, high = np.quantile(change, (0.05, 0.8))
    return np.clip((change - low) / (high - low + 1e-6), 0, 1)


def _write_set(folder: pathlib.Path, splits: dict[str, int], *, seed: int, processes: int | None) -> None:
    (folder / "videos").mkdir()
    jobs = [
        (str(folder), split, k, (seed, n, k)) for n, (split, total) in enumerate(splits.items()) for k in range(total)
    ]
    videos = in_processes(_write_one, jobs, processes=processes, chunksize=8)
    for split in splits:
        own = [video for job, video in zip(jobs, videos, strict=True) if job[1] == split]
        save_localize_proposal_file(own, folder / f"{split}_proposals.txt")
    (folder / "annotations.json").write_text(json.dumps({"database": _annotations(splits, jobs, videos)}, indent=1))
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))


def _annotations(splits: dict[str, int], jobs: list[tuple], videos: list[tuple]) -> dict:
    """The motions of all videos, in seconds."""
    subsets = dict(zip(splits, ("training", "validation"), strict=True))
    database = {}
    for (_, split, *_), (name, _, truths, _) in zip(jobs, videos, strict=True):
        rows = [
            {"segment": [int(start) / FPS, int(end) / FPS], "label": CLASSES[int(label) - 1]}
            for label, start, end in truths
        ]
        database[name] = {"subset": subsets[split], "annotations": rows}
    return database


def _write_one(job: tuple) -> tuple:
    folder, split, k, seeds = job
    frames, truths = draw_video(np.random.default_rng(seeds))
    name = f"{split}_{k:04d}"
    write_video(pathlib.Path(folder, "videos", f"{name}.mp4"), frames, fps=FPS)
    found = actionness_grouping(motion_actionness(frames), min_length=8)[:NUM_PROPOSALS]
    labels, segments = [row[0] for row in truths], [row[1:] for row in truths]
    rows = proposal_rows(found[:, :2], segments, labels)
    return name, len(frames), [list(map(str, truth)) for truth in truths], rows
