"""uint8 pixels -> normalised floats, on the device, where this fuses with the first layer."""

import jax.numpy as jnp

# ImageNet statistics of RGB in 0..255.
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


def normalize(pixels, *, mean=IMAGENET_MEAN, std=IMAGENET_STD, to_bgr: bool = False, dtype=jnp.float32):
    """`(pixels - mean) / std` per channel, in float32, then cast -> `dtype` [..., c].

    >>> normalize(jnp.array([[0, 128, 192]], jnp.uint8), mean=(128.0,), std=(64.0,)).tolist()
    [[-2.0, 0.0, 1.0]]

    Args:
      to_bgr: reverse the channels first; `mean` and `std` are then in BGR order.

    Raises:
      ValueError: a std that is not positive. Source: Normalize of MMAction2 0.6.
    """
    if min(std) <= 0:
        raise ValueError(f"normalize: std={tuple(std)}; every value must be positive")
    mean, std = jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32)
    pixels = pixels[..., ::-1] if to_bgr else pixels
    return ((pixels.astype(jnp.float32) - mean) / std).astype(dtype)
