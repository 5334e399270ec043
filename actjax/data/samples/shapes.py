"""The sample set: short video files whose classes differ only by motion.

There are eight classes in four time-reversed pairs. Every clip is written twice, forwards and backwards, and the two
files get the two labels of a pair. Before the codec, both files hold the same frames: a model blind to frame order
cannot tell them apart, and its accuracy is bounded by 50 %, whatever it learns about shapes, colours and textures.
(Test positions of eight frames are symmetric in time except for lengths 16 and 32, where they are one frame off; the
codec's loss depends slightly on the direction.)

On disk the set looks exactly like a user's own data: `videos/*.mp4`, `train.txt` and `val.txt` with lines
`file label`, and `classes.txt` with one class name per line.
"""

import os
import pathlib

import numpy as np

from actjax.data.samples.made_once import in_processes, made_once

CLASSES = (
    "moving right", "moving left", "moving down", "moving up",
    "turning clockwise", "turning counter-clockwise", "approaching", "receding",
)  # fmt: skip
HEIGHT, WIDTH, FPS = 48, 64, 12


def make_shapes(
    folder: str | os.PathLike | None = None,
    *,
    num_train: int = 1280,
    num_val: int = 320,
    seed: int = 0,
    processes: int | None = None,
) -> pathlib.Path:
    """The folder of the sample set; writes it first if it does not exist, complete or not at all.

    Args:
      folder: target folder, see `samples.made_once`.
      num_train, num_val: clips per split, a multiple of 8 (equal classes, complete pairs).
      seed: each seed gives a different set; its two splits share no clip.
      processes: number of writers; default one per core.
    """
    for name, number in (("num_train", num_train), ("num_val", num_val)):
        if number < 8 or number % 8:
            raise ValueError(f"make_shapes: {name}={number}; must be a multiple of 8 (eight classes, in pairs)")
    splits = {"train": num_train, "val": num_val}
    write = lambda building: _write_set(building, splits, seed=seed, processes=processes)
    name = f"shapes-{num_train}-{num_val}-{seed}"
    return made_once(folder, name, marker="classes.txt", code=__file__, write=write)


def draw_clip(motion: int, *, rng: np.random.Generator) -> np.ndarray:
    """A clip of `CLASSES[2 * motion]`, uint8 [t, 48, 64, 3] in RGB; reversed, a clip of `CLASSES[2 * motion + 1]`."""
    length = int(rng.integers(16, 41))
    background, sprite = draw_background(rng=rng), draw_sprite(rng=rng)
    return paint(background, sprite, draw_path(motion, length, rng=rng), rng=rng)


def paint(background: np.ndarray, sprite: np.ndarray, path: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:
    """Frames uint8 [t, 48, 64, 3] of a sprite on its path [t, 4], with noise; a diameter of 0 hides the sprite."""
    import cv2

    frames = np.empty((len(path), HEIGHT, WIDTH, 3), np.uint8)
    for t, (x, y, angle, scale) in enumerate(path):
        place = cv2.getRotationMatrix2D((31.5, 31.5), -angle, scale / 64)
        place[:, 2] += (x - 31.5, y - 31.5)
        warped = cv2.warpAffine(sprite, place, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
        alpha = warped[..., 3:].astype(np.float32) / 255
        noise = rng.normal(0, 6, (HEIGHT, WIDTH, 3))
        frames[t] = np.clip(background * (1 - alpha) + warped[..., :3] * alpha + noise, 0, 255)
    return frames


def draw_path(motion: int, length: int, *, rng: np.random.Generator) -> np.ndarray:
    """Centre x, y (pixels), angle (degrees, clockwise) and diameter (pixels) per frame -> float64 [t, 4].

    The distribution of every quantity is symmetric about the middle of the clip, so reversal maps a class to its twin.
    """
    when = np.linspace(-0.5, 0.5, length)
    moved = rng.uniform(0.55, 1.0) * when
    x = np.full(length, WIDTH / 2 + rng.uniform(-8, 8))
    y = np.full(length, HEIGHT / 2 + rng.uniform(-4, 4))
    angle = np.full(length, rng.uniform(0, 360))
    scale = np.full(length, rng.uniform(16, 24))
    if motion == 0:
        x = x + 44 * moved
    elif motion == 1:
        y = y + 34 * moved
    elif motion == 2:  # about a point beside it, like the hand of a clock
        angle = angle + 300 * moved
        x, y = WIDTH / 2 + 10 * np.cos(np.radians(angle)), HEIGHT / 2 + 10 * np.sin(np.radians(angle))
    else:
        scale = scale * np.exp(1.3 * moved)
    shake = rng.normal(0, 0.4, (length, 2))
    return np.stack([x + shake[:, 0], y + shake[:, 1], angle, scale], axis=1)


def draw_sprite(*, rng: np.random.Generator) -> np.ndarray:
    """A two-coloured shape without rotational symmetry -> uint8 [64, 64, 4] (RGB and alpha)."""
    import cv2

    sprite = np.zeros((64, 64, 4), np.uint8)
    corners = int(rng.integers(3, 8))
    turns = np.sort(rng.uniform(0, 2 * np.pi / corners / 2, corners)) + 2 * np.pi * np.arange(corners) / corners
    outline = 31.5 + 30 * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    mask = np.zeros((64, 64), np.uint8)
    cv2.fillPoly(mask, [outline.round().astype(np.int32)], 255)
    light, dark = rng.uniform(150, 255, 3), rng.uniform(0, 105, 3)
    sprite[..., :3] = light
    sprite[:, 32:, :3] = dark
    cv2.circle(sprite, (18, 32), int(rng.integers(5, 10)), tuple(int(v) for v in dark), -1)
    sprite[..., 3] = mask
    return sprite


def draw_background(*, rng: np.random.Generator) -> np.ndarray:
    """A static cluttered background -> float32 [48, 64, 3]."""
    import cv2

    coarse = rng.uniform(60, 195, (4, 5, 3)).astype(np.float32)
    picture = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    for _ in range(int(rng.integers(2, 7))):
        x, y = rng.integers(0, WIDTH), rng.integers(0, HEIGHT)
        w, h = rng.integers(3, 16, 2)
        cv2.rectangle(picture, (int(x), int(y)), (int(x + w), int(y + h)), tuple(rng.uniform(20, 235, 3)), -1)
    return picture


def _write_set(folder: pathlib.Path, splits: dict[str, int], *, seed: int, processes: int | None) -> None:
    (folder / "videos").mkdir()
    jobs = [
        (str(folder), split, clip, (seed, number, clip))
        for number, (split, total) in enumerate(splits.items())
        for clip in range(total // 2)
    ]
    lines = in_processes(_write_twins, jobs, processes=processes, chunksize=32)
    for split in splits:
        rows = [row for job, twins in zip(jobs, lines, strict=True) if job[1] == split for row in twins]
        (folder / f"{split}.txt").write_text("".join(f"{row}\n" for row in rows))
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))


def _write_twins(job: tuple) -> list[str]:
    folder, split, clip, seeds = job
    motion = clip % 4
    frames = draw_clip(motion, rng=np.random.default_rng(seeds))
    rows = []
    for label, ordered in ((2 * motion, frames), (2 * motion + 1, frames[::-1])):
        name = f"videos/{split}_{clip:05d}_{CLASSES[label].replace(' ', '_')}.mp4"
        write_video(pathlib.Path(folder) / name, ordered, fps=FPS)
        rows.append(f"{name} {label}")
    return rows


def write_video(path: str | os.PathLike, frames: np.ndarray, *, fps: float) -> None:
    """Writes RGB uint8 [t, h, w, 3] as an MPEG-4 file."""
    import cv2

    height, width = frames.shape[1:3]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, (width, height))
    if not writer.isOpened():
        raise OSError(f"write_video: OpenCV cannot write MPEG-4 to {path}")
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
