"""Convolutions of ResNet-50 and MobileNet-V2: `actjax.models.layers.Conv` against `lax.conv_general_dilated`.

    python experiments/benchmarks/convolution.py --frames=16

Both sides are compiled and run in float32 on the same arrays, and their results are compared. Prints median
milliseconds for the forward pass, and for the forward pass with both gradients, as in a training step.
"""

import argparse
import functools
import platform
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from train_step import time_repeats

from actjax.models.layers import Conv

# What it is in the net, height = width, channels in, out, kernel, stride, groups.
CASES = [
    ("R50 stem", 224, 3, 64, 7, 2, 1),
    ("R50 3x3", 56, 64, 64, 3, 1, 1),
    ("R50 3x3", 14, 256, 256, 3, 1, 1),
    ("R50 1x1", 56, 64, 256, 1, 1, 1),
    ("R50 1x1", 14, 1024, 256, 1, 1, 1),
    ("R50 1x1, stride 2", 28, 512, 1024, 1, 2, 1),
    ("R50 3x3, 64x64 clips", 2, 512, 512, 3, 1, 1),
    ("R50 3x3, stride 2", 4, 512, 512, 3, 2, 1),
    ("depthwise", 112, 32, 32, 3, 1, 32),
    ("depthwise, stride 2", 112, 96, 96, 3, 2, 96),
    ("depthwise", 56, 144, 144, 3, 1, 144),
    ("depthwise", 14, 384, 384, 3, 1, 384),
]


def plain(x, kernel, *, stride: int, groups: int):
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=((kernel.shape[0] // 2,) * 2,) * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def with_gradients(convolve):
    """(x, kernel, what comes from above) -> the values and both gradients."""

    def both(x, kernel, up):
        y, pull = jax.vjp(convolve, x, kernel)
        return y, pull(up)

    return both


def compare(theirs, ours, arguments, repeats: int) -> tuple[float, float]:
    """Milliseconds of both; their results must be near."""
    calls = [jax.jit(theirs), jax.jit(ours)]
    for a, b in zip(*(jax.tree.leaves(call(*arguments)) for call in calls), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * float(jnp.abs(a).max()))
    times = functools.partial(time_repeats, wait=jax.block_until_ready, repeats=repeats)
    return tuple(1e3 * times(functools.partial(call, *arguments)) for call in calls)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    device = jax.devices()[0].device_kind
    print(f"{args.frames} frames, float32, on {device} ({platform.machine()}), {time.strftime('%Y-%m-%d')}")
    print(f"{'':42}{'forward':>24}{'with gradients':>27}")
    print(f"{'':22}{'shape':20}{'lax ms':>8}{'ours':>8}{'ratio':>8}{'lax ms':>11}{'ours':>8}{'ratio':>8}")
    for name, size, inputs, outputs, kernel, stride, groups in CASES:
        rng = np.random.default_rng(0)
        draw = lambda *shape, rng=rng: jnp.asarray(rng.normal(size=shape), jnp.float32)
        x, weights = draw(args.frames, size, size, inputs), draw(kernel, kernel, inputs // groups, outputs)
        conv = Conv(outputs, kernel, stride, groups)
        ours = lambda x, w, conv=conv: conv.apply({"params": {"kernel": w}}, x)
        theirs = functools.partial(plain, stride=stride, groups=groups)
        up = draw(*jax.eval_shape(ours, x, weights).shape)
        forward = compare(theirs, ours, (x, weights), args.repeats)
        training = compare(with_gradients(theirs), with_gradients(ours), (x, weights, up), args.repeats)
        shape = f"{size}x{size} {inputs}-{outputs}"
        cells = [f"{a:{width}.1f}{b:8.1f}{a / b:8.1f}" for (a, b), width in ((forward, 8), (training, 11))]
        print(f"{name:22}{shape:20}{''.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
