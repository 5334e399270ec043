"""Non-local block: attention over all pixels in all frames of a clip.

Shapes: b clips, t frames, n = b * t, h w pixels, c channels.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from actjax.models.layers import Conv, ConvBN, largest

NON_LOCAL_MODES = ("embedded_gaussian", "gaussian", "dot_product")


def halve(x):
    """2x2 maximum at stride 2, `[n, h, w, c] -> [n, h // 2, w // 2, c]`."""
    x = x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2]
    return largest([x[:, i::2, j::2] for i in range(2) for j in range(2)])


class NonLocal(nn.Module):
    """Adds to every pixel a weighted mean over its clip, `[n, h, w, c] -> [n, h, w, c]`. Starts as the identity.

    Attributes:
      num_segments: t.
      mode: the weights. "embedded_gaussian": softmax over dot products of two learned embeddings. "gaussian": softmax
        over dot products of the pixels. "dot_product": dot products of embeddings divided by the number of pixels.
      sub_sample: halve height and width of the keys and values.

    Source: Wang et al., arXiv:1711.07971; NonLocalModule of MMAction2 0.6 with `use_scale=False`.
    """

    num_segments: int
    mode: str = "embedded_gaussian"
    sub_sample: bool = True
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool):
        n, h, w, c = x.shape
        embed = lambda x, name: Conv(
            c // 2, 1, bias=True, kernel_init=nn.initializers.normal(0.01), dtype=self.dtype, name=name
        )(x)
        shrink = halve if self.sub_sample else lambda x: x
        per_clip = lambda x: x.reshape(n // self.num_segments, -1, x.shape[-1])
        theta, phi = x, x
        if self.mode != "gaussian":
            theta, phi = embed(x, "theta"), embed(x, "phi")
        theta, phi, g = per_clip(theta), per_clip(shrink(phi)), per_clip(shrink(embed(x, "g")))
        weights = jnp.einsum("bqc,bkc->bqk", theta, phi, preferred_element_type=jnp.float32)
        weights = weights / weights.shape[-1] if self.mode == "dot_product" else jax.nn.softmax(weights)
        y = jnp.einsum("bqk,bkc->bqc", weights.astype(self.dtype), g).reshape(n, h, w, c // 2)
        return x + ConvBN(c, 1, act=None, scale_init=nn.initializers.zeros, dtype=self.dtype, name="conv_out")(
            y, train=train
        )
