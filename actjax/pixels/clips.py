"""Helpers of the augmentations. Shapes: b clips, t frames, h w pixels, c channels."""

import jax.numpy as jnp


def check_clips(function: str, video, **draws) -> None:
    """ValueError unless `video` is uint8 or float32 `[b, t, h, w, 3]`; `draws` maps names to (array, its shape)."""
    if video.ndim != 5 or video.shape[-1] != 3 or video.dtype not in (jnp.uint8, jnp.float32):
        raise ValueError(f"{function}: video is {video.dtype} {video.shape}; expected uint8 or float32 [b, t, h, w, 3]")
    for name, (array, shape) in draws.items():
        if tuple(jnp.shape(array)) != tuple(shape):
            raise ValueError(f"{function}: {name} has shape {tuple(jnp.shape(array))}; expected {tuple(shape)}")


def pixels_like(video, pixels):
    """`pixels` (float, 0..255) in the dtype of `video`; rounded and clipped for uint8."""
    if video.dtype == jnp.uint8:
        pixels = jnp.clip(jnp.round(pixels), 0, 255)
    return pixels.astype(video.dtype)


def below(n: int, u):
    """Maps draws `u` in [0, 1), of any shape, to equally likely integers 0..n-1."""
    return jnp.minimum(jnp.floor(u * n), n - 1).astype(jnp.int32)  # float32 may round u * n up to n


def clipwise(values):
    """One value per clip `[b]` -> `[b, 1, 1, 1, 1]`, which broadcasts against `[b, t, h, w, c]`."""
    return values.reshape(-1, 1, 1, 1, 1)
