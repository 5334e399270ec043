"""The sample set for localization: features of untrimmed videos that contain actions, in ActivityNet's file formats.

The length of videos, the number of actions and the share of a video that they cover follow the 9,649 training videos of
ActivityNet 1.3. A feature is a noisy vector that drifts slowly. During an action the direction of its class is added:
it fades in at the start, lapses once and fades out at the end. Around actions, and sometimes far from any, a weaker
direction common to all classes is added: context that looks like action.

On disk: `anet_anno_train.json`, `anet_anno_val.json` (MMAction2 0.6's annotation files), `features/<video>.csv` (a
header, then a row for every 16 frames), `class_scores.json` (video-level scores in the published format: {"class":
names, "results": {video id: scores}}).
"""

import json
import os
import pathlib

import numpy as np

from actjax.data.datasets.features import save_feature
from actjax.data.samples.made_once import made_once

CLASSES = (
    "Ballet", "Beer pong", "Canoeing", "Discus throw", "Hopscotch", "Knitting", "Long jump", "Polishing shoes",
    "Rafting", "Sharpening knives", "Skateboarding", "Volleyball",
)  # fmt: skip
CHANNELS, INTERVAL = 48, 16  # channels of a feature; frames per feature

# Quantiles of ActivityNet's training videos at equal steps from 0 to 1.
SECONDS = (1.6, 21.6, 35.0, 49.3, 61.7, 72.9, 85.7, 99.7, 114.5, 127.8, 142.7, 157.8, 172.7, 187.6, 204.0, 220.4, 240.0)
FPS = (23.96, 24.97, 24.99, 29.88, 29.93, 29.95, 29.96, 29.97)
NUM_ACTIONS = (0.754, 0.131, 0.048, 0.027, 0.016, 0.010, 0.005, 0.004, 0.005)  # share of videos with 1, 2, ... actions
COVERED = {  # share of the video that actions cover, by the number of actions
    1: (0.03, 0.133, 0.259, 0.362, 0.46, 0.54, 0.603, 0.66, 0.708, 0.755, 0.792, 0.827, 0.858, 0.884, 0.906, 0.93,
        0.952, 0.976, 0.996, 1.0, 1.0),
    2: (0.05, 0.162, 0.268, 0.376, 0.474, 0.572, 0.658, 0.724, 0.8, 0.872, 1.0),
    3: (0.06, 0.129, 0.193, 0.257, 0.326, 0.393, 0.474, 0.551, 0.646, 0.746, 1.0),
    5: (0.10, 0.187, 0.27, 0.326, 0.361, 0.417, 0.482, 0.551, 0.604, 0.7, 1.0),
}  # fmt: skip


def make_sequences(
    folder: str | os.PathLike | None = None, *, num_train: int = 1200, num_val: int = 200, seed: int = 0
) -> pathlib.Path:
    """The folder of the sample set; writes it first if it does not exist.

    Args:
      folder: target folder, see `samples.made_once`.
      num_train, num_val: videos per split.
      seed: each seed gives a different set.

    Raises:
      ValueError: a split without a video.
    """
    if min(num_train, num_val) < 1:
        raise ValueError(f"make_sequences: num_train={num_train}, num_val={num_val}; must be 1 or more")
    write = lambda building: _write_set(building, {"train": num_train, "val": num_val}, seed)
    name = f"sequences-{num_train}-{num_val}-{seed}"
    return made_once(folder, name, marker="class_scores.json", code=__file__, write=write)


def draw_annotation(rng: np.random.Generator) -> dict:
    """One random video, as an entry of an annotation file."""
    seconds, fps = _quantile(SECONDS, rng), _quantile(FPS, rng)
    frames = max(int(seconds * fps), 2 * INTERVAL)
    number = int(rng.choice(len(NUM_ACTIONS), p=NUM_ACTIONS)) + 1
    covered = _quantile(COVERED[max(k for k in COVERED if k <= number)], rng)
    lengths = covered * rng.dirichlet(np.full(number, 3.0))
    gaps = (1 - covered) * rng.dirichlet(np.full(number + 1, 1.0))
    ends = np.cumsum(lengths + gaps[:-1])
    label = CLASSES[int(rng.integers(len(CLASSES)))]
    segments = np.stack([ends - lengths, np.minimum(ends, 1)], axis=1) * (frames / fps)
    return {
        "duration_second": frames / fps,
        "duration_frame": frames,
        "annotations": [{"segment": segment, "label": label} for segment in segments.tolist()],
        "feature_frame": frames // INTERVAL * INTERVAL,
        "fps": fps,
    }


def draw_feature(annotation: dict, directions: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:
    """The features of an annotated video -> float64 [t, c].

    Args:
      directions: [classes + 1, c], one per class, then the one common to all classes.
    """
    steps = annotation["duration_frame"] // INTERVAL
    time = (np.arange(steps) + 0.5) * INTERVAL / annotation["duration_frame"] * annotation["duration_second"]
    drift = np.cumsum(rng.normal(0, 0.15, (steps, CHANNELS)), axis=0)
    feature = drift - drift.mean(0) + rng.normal(0, 0.9, (steps, CHANNELS))
    for row in annotation["annotations"]:
        start, end = row["segment"]
        feature += _presence(time, start, end, rng)[:, None] * directions[CLASSES.index(row["label"])]
        reach = 0.3 * (end - start)
        feature += 0.6 * _presence(time, start - reach, end + reach, rng)[:, None] * directions[-1]
    if rng.random() < 0.5:  # context without an action
        middle, reach = rng.uniform(0, time[-1]), rng.uniform(0.02, 0.1) * time[-1]
        feature += 0.6 * _presence(time, middle - reach, middle + reach, rng)[:, None] * directions[-1]
    return feature


def _presence(time: np.ndarray, start: float, end: float, rng: np.random.Generator) -> np.ndarray:
    """How visible an action is at each time, [t]: it fades in, lapses once and fades out."""
    ramp = max(0.02 * (end - start), 0.3)
    rise, fall = ((edge * (time - moment) / ramp).clip(-30, 30) for edge, moment in ((1, start), (-1, end)))
    lapse = 1 - 0.7 * np.exp(-(((time - rng.uniform(start, end)) / (0.05 * (end - start) + 0.1)) ** 2))
    return lapse * rng.uniform(0.7, 1.3) / (1 + np.exp(-rise)) / (1 + np.exp(-fall))


def _quantile(values: tuple[float, ...], rng: np.random.Generator) -> float:
    return float(np.interp(rng.random(), np.linspace(0, 1, len(values)), values))


def _write_set(folder: pathlib.Path, splits: dict[str, int], seed: int) -> None:
    (folder / "features").mkdir()
    directions = np.random.default_rng((seed, 0)).normal(0, 0.8, (len(CLASSES) + 1, CHANNELS))
    scores = {}
    for number, (split, count) in enumerate(splits.items(), 1):
        annotations = {}
        for k in range(count):
            rng = np.random.default_rng((seed, number, k))
            name = f"v_{split}_{k:04d}"
            annotations[name] = draw_annotation(rng)
            feature = draw_feature(annotations[name], directions, rng=rng)
            save_feature(folder / "features" / f"{name}.csv", feature, fmt="%.4f")
            scores[name.removeprefix("v_")] = _class_scores(feature, directions, rng=rng)
        (folder / f"anet_anno_{split}.json").write_text(json.dumps(annotations))
    (folder / "class_scores.json").write_text(json.dumps({"class": CLASSES, "results": scores}))


def _class_scores(feature: np.ndarray, directions: np.ndarray, *, rng: np.random.Generator) -> list[float]:
    """Scores like those of a video classifier that is right for most videos."""
    logits = feature.mean(0) @ directions[:-1].T + rng.normal(0, 1.0, len(CLASSES))
    weights = np.exp(logits - logits.max())
    return (weights / weights.sum()).tolist()
