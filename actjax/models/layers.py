"""torch's layers in Linen: convolution, dense, pooling, batch normalisation.

Shapes: b clips, t frames, n = b * t frames, h w pixels, c channels.
"""

import functools
import math
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

# Conv weights ~ normal(0, sqrt(2 / fan_out)), as kaiming_init of MMAction2 0.6.
kaiming_normal = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
# torch's default: weights and biases uniform in +-1 / sqrt(fan_in).
torch_kernel = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def torch_bias(fan_in: int) -> Callable:
    """torch's default initialiser of biases: uniform in +-1 / sqrt(fan_in)."""
    bound = fan_in**-0.5
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -bound, bound)


def zero_bias(fan_in: int) -> Callable:
    """An initialiser of biases at 0, with the signature of `torch_bias`'s."""
    return nn.initializers.zeros


class Conv(nn.Module):
    """2-d convolution, `[n, h, w, c] -> [n, h', w', features]`, padded by kernel // 2 on every side.

    Three cases that XLA runs slowly on CPU are written out. A 1x1 kernel becomes a matrix product over pixels (on a GPU
    it is one either way). A kernel larger than its output becomes a matrix product over unfolded windows. A depthwise
    kernel becomes a sum of shifted products, which fuse. Timings: experiments/benchmarks/README.md, convolution.py.
    """

    features: int
    kernel: int = 3
    stride: int = 1
    groups: int = 1
    bias: bool = False
    kernel_init: Callable = kaiming_normal
    bias_init: Callable = zero_bias
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x):
        shape = (self.kernel, self.kernel, x.shape[-1] // self.groups, self.features)
        y = self.convolve(x.astype(self.dtype), self.param("kernel", self.kernel_init, shape).astype(self.dtype))
        if self.bias:
            init = self.bias_init(math.prod(shape[:-1]))
            y += self.param("bias", init, (self.features,)).astype(self.dtype)
        return y

    def convolve(self, x, kernel):
        if self.groups == x.shape[-1] == self.features:
            parts = zip(windows(x, self.kernel, self.stride), kernel.reshape(-1, self.features), strict=True)
            return sum(part.astype(jnp.float32) * weights for part, weights in parts).astype(self.dtype)
        if self.groups == 1 and (self.kernel == 1 or min(x.shape[1:3]) <= self.stride * (self.kernel - 1)):
            rows = jnp.concatenate(windows(x, self.kernel, self.stride), axis=-1)
            y = rows.reshape(-1, rows.shape[-1]) @ kernel.reshape(-1, self.features)
            return y.reshape(*rows.shape[:-1], self.features)
        return lax.conv_general_dilated(
            x,
            kernel,
            window_strides=(self.stride,) * 2,
            padding=((self.kernel // 2,) * 2,) * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=self.groups,
        )


class Conv1d(nn.Module):
    """1-d convolution with bias, `[b, t, c] -> [b, t, features]`, padded by kernel // 2 on both sides.

    Runs as one matrix product per group over unfolded windows: XLA's own convolution is slow on CPU.
    """

    features: int
    kernel: int = 3
    groups: int = 1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x):
        b, t, c = x.shape
        shape = (self.kernel, c // self.groups, self.features)
        kernel = self.param("kernel", torch_kernel, shape).astype(self.dtype)
        bias = self.param("bias", torch_bias(math.prod(shape[:-1])), (self.features,)).astype(self.dtype)
        x = jnp.pad(x.astype(self.dtype), ((0, 0), (self.kernel // 2,) * 2, (0, 0)))
        rows = jnp.stack([x[:, k : k + t] for k in range(self.kernel)], axis=2)
        if self.groups == 1:
            return rows.reshape(b, t, -1) @ kernel.reshape(-1, self.features) + bias
        rows = rows.reshape(b, t, self.kernel, self.groups, -1)
        kernel = kernel.reshape(self.kernel, c // self.groups, self.groups, -1)
        return jnp.einsum("btkgc,kcgf->btgf", rows, kernel).reshape(b, t, self.features) + bias


class Dense(nn.Module):
    """Matrix product and bias, `[..., c] -> [..., features]`."""

    features: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x):
        c = x.shape[-1]
        kernel = self.param("kernel", torch_kernel, (c, self.features))
        bias = self.param("bias", torch_bias(c), (self.features,))
        return x.astype(self.dtype) @ kernel.astype(self.dtype) + bias.astype(self.dtype)


def windows(x, kernel: int, stride: int, *, fill: float = 0.0) -> list:
    """`x` under each position of the kernel, row by row: kernel^2 arrays `[n, ceil(h / stride), ceil(w / stride), c]`.

    `x`, `[n, h, w, c]`, is padded by kernel // 2 on every side with `fill`.
    """
    ends = [(size - 1) // stride * stride + 1 for size in x.shape[1:3]]
    sides = (kernel // 2,) * 2
    x = jnp.pad(x, ((0, 0), sides, sides, (0, 0)), constant_values=fill)
    return [x[:, i : i + ends[0] : stride, j : j + ends[1] : stride] for i in range(kernel) for j in range(kernel)]


def largest(parts: Sequence):
    """Elementwise maximum of arrays; among equal values the first takes the gradient, as in torch's pooling.

    Pooling reduces slices with it because the gradient of XLA's window reduction is 4 times slower on CPU.
    """
    return functools.reduce(lambda best, other: jnp.where(other > best, other, best), parts)


def max_pool(x):
    """3x3 maximum at stride 2, padded by 1, `[n, h, w, c] -> [n, ceil(h / 2), ceil(w / 2), c]`."""
    return largest(windows(x, 3, 2, fill=-jnp.inf))


class BatchNorm(nn.Module):
    """Batch normalisation over all axes but the last, with torch's running statistics.

    Normalisation uses the biased variance, the running statistics the unbiased one. Statistics are float32 whatever the
    compute dtype. The training step (`actjax.training.step`) decides what they cover: the whole batch under `jit`, one
    device's share inside `shard_map`.
    """

    momentum: float = 0.1
    epsilon: float = 1e-5
    scale_init: Callable = nn.initializers.ones
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool):
        features = x.shape[-1:]
        scale = self.param("scale", self.scale_init, features)
        bias = self.param("bias", nn.initializers.zeros, features)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, features)
        running_var = self.variable("batch_stats", "var", jnp.ones, features)
        if train:
            axes = tuple(range(x.ndim - 1))
            count = x.size // x.shape[-1]
            wide = x.astype(jnp.float32)
            mean = wide.mean(axes)
            var = jnp.square(wide - mean).mean(axes)
            if not self.is_initializing():
                keep, unbiased = 1 - self.momentum, var * (count / max(count - 1, 1))
                running_mean.value = keep * running_mean.value + self.momentum * mean
                running_var.value = keep * running_var.value + self.momentum * unbiased
        else:
            mean, var = running_mean.value, running_var.value
        factor = scale * lax.rsqrt(var + self.epsilon)
        return x * factor.astype(self.dtype) + (bias - mean * factor).astype(self.dtype)


class ConvBN(nn.Module):
    """Convolution, batch norm, then `act` unless it is None."""

    features: int
    kernel: int = 3
    stride: int = 1
    groups: int = 1
    act: Callable | None = nn.relu
    scale_init: Callable = nn.initializers.ones
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool):
        x = Conv(self.features, self.kernel, self.stride, self.groups, dtype=self.dtype, name="conv")(x)
        x = BatchNorm(scale_init=self.scale_init, dtype=self.dtype, name="bn")(x, train=train)
        return x if self.act is None else self.act(x)
