"""The transforms that a config may name: `sample` picks frames, `view` picks crops.

A transform is a pure function of `actjax.video` with draws from `rng`, a generator for one record, one epoch and this
transform; without `rng` it has its deterministic test-time form. `flip_ratio` is the probability of mirroring; None
stands in a config alone: it goes by the names of the classes.
"""

import numpy as np

from actjax.video import sampling, views


def _draws(rng: np.random.Generator | None, *shape: int):
    return None if rng is None else rng.random(shape, dtype=np.float32)


def sample_frames(
    num_frames: int,
    *,
    rng: np.random.Generator | None = None,
    num_clips: int,
    clip_len: int = 1,
    frame_interval: int = 1,
    temporal_jitter: bool = False,
    twice_sample: bool = False,
    out_of_bound_opt: str = "loop",
) -> np.ndarray:
    """`video.sampling.sample_frames` with the clips of a sampling joined -> int64 [1 or 2, num_clips * clip_len]."""
    indices = sampling.sample_frames(
        num_frames,
        clip_len=clip_len,
        frame_interval=frame_interval,
        num_clips=num_clips,
        twice_sample=twice_sample,
        out_of_bound_opt=out_of_bound_opt,
        u=_draws(rng, num_clips),
        jitter=_draws(rng, num_clips * (1 + twice_sample), clip_len) if temporal_jitter else None,
    )
    return indices.reshape(-1, num_clips * clip_len)


def dense_sample_frames(
    num_frames: int,
    *,
    rng: np.random.Generator | None = None,
    num_clips: int,
    clip_len: int = 1,
    frame_interval: int = 1,
    sample_range: int = 64,
    num_sample_positions: int = 10,
    temporal_jitter: bool = False,
    out_of_bound_opt: str = "loop",
) -> np.ndarray:
    """`video.sampling.dense_sample_frames` -> int64 [1, or num_sample_positions without rng, num_clips * clip_len]."""
    positions = 1 if rng else num_sample_positions
    indices = sampling.dense_sample_frames(
        num_frames,
        clip_len=clip_len,
        frame_interval=frame_interval,
        num_clips=num_clips,
        sample_range=sample_range,
        num_sample_positions=num_sample_positions,
        out_of_bound_opt=out_of_bound_opt,
        u=_draws(rng, 1),
        jitter=_draws(rng, positions * num_clips, clip_len) if temporal_jitter else None,
    )
    return indices.reshape(-1, num_clips * clip_len)


def multi_scale(
    height: int,
    width: int,
    *,
    rng: np.random.Generator,
    short_side: int,
    size: int,
    scales: tuple[float, ...],
    flip_ratio: float | None,
    max_wh_scale_gap: int = 1,
    random_crop: bool = False,
    num_fixed_crops: int = 13,
) -> list[views.View]:
    """Training crop of TSN and TSM: resize the short side, multi-scale crop, resize to the input, flip -> one view."""
    view = views.resize(height, width, scale=(-1, short_side))
    view = views.multi_scale_crop(
        view,
        input_size=size,
        scales=scales,
        max_wh_scale_gap=max_wh_scale_gap,
        random_crop=random_crop,
        num_fixed_crops=num_fixed_crops,
        u=_draws(rng, 3),
    )
    return _to_input(view, size, flip_ratio, rng)


def random_resized(
    height: int,
    width: int,
    *,
    rng: np.random.Generator,
    short_side: int,
    size: int,
    flip_ratio: float | None,
    area_range: tuple[float, float] = (0.08, 1.0),
    aspect_ratio_range: tuple[float, float] = (3 / 4, 4 / 3),
) -> list[views.View]:
    """Training crop of I3D, SlowFast and many others: random area and aspect ratio, flip -> one view."""
    view = views.resize(height, width, scale=(-1, short_side))
    ranges = dict(area_range=area_range, aspect_ratio_range=aspect_ratio_range)
    view = views.random_resized_crop(view, **ranges, u=_draws(rng, 22))
    return _to_input(view, size, flip_ratio, rng)


def random(
    height: int, width: int, *, rng: np.random.Generator, short_side: int, size: int, flip_ratio: float | None
) -> list[views.View]:
    """Training crop: resize the short side, a square at a random place, flip -> one view."""
    view = views.random_crop(views.resize(height, width, scale=(-1, short_side)), size=size, u=_draws(rng, 2))
    return _flipped(view, flip_ratio, rng)


def multi_group(
    height: int, width: int, *, rng: np.random.Generator, short_side: int, size: int, groups: int
) -> list[views.View]:
    """Training crops: resize the short side, `groups` squares at independent random places -> `groups` views."""
    view = views.resize(height, width, scale=(-1, short_side))
    return views.multi_group_crop(view, crop_size=size, groups=groups, u=_draws(rng, groups, 2))


def _to_input(view: views.View, size: int, flip_ratio: float, rng: np.random.Generator) -> list[views.View]:
    return _flipped(views.resize(view, scale=(size, size), keep_ratio=False), flip_ratio, rng)


def _flipped(view: views.View, flip_ratio: float, rng: np.random.Generator) -> list[views.View]:
    return [views.flip(view, flip_ratio=flip_ratio, u=rng.random(dtype=np.float32))]


def center(
    height: int, width: int, *, rng: np.random.Generator | None = None, short_side: int, size: int
) -> list[views.View]:
    """Test crop: resize the short side, the middle -> one view."""
    return [views.center_crop(views.resize(height, width, scale=(-1, short_side)), crop_size=size)]


def three_crop(height: int, width: int, *, rng: np.random.Generator | None = None, short_side: int) -> list[views.View]:
    """Test crops: resize the short side, three squares along the long side -> three views."""
    view = views.resize(height, width, scale=(-1, short_side))
    return views.three_crop(view, crop_size=short_side)


def ten_crop(
    height: int, width: int, *, rng: np.random.Generator | None = None, short_side: int, size: int
) -> list[views.View]:
    """Test crops: resize the short side, the corners and the centre, each also mirrored -> ten views."""
    return views.ten_crop(views.resize(height, width, scale=(-1, short_side)), crop_size=size)


SAMPLERS = {"sample_frames": sample_frames, "dense_sample_frames": dense_sample_frames}
EVAL_VIEWS = {"center": center, "three_crop": three_crop, "ten_crop": ten_crop}
TRAIN_VIEWS = {
    "multi_scale": multi_scale,
    "random_resized": random_resized,
    "random": random,
    "multi_group": multi_group,
    "center": center,
}
