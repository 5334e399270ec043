import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import drawn_variables, jitted
from jax import lax

from actjax.models import TSM, TSN, ResNet, normalize, temporal_shift
from actjax.models.layers import BatchNorm, Conv, max_pool

SMALL = dict(num_classes=5, depth=10, width=8, small_input=True, dropout=0.0)


@pytest.mark.parametrize(
    ("kernel", "stride", "groups", "size"),
    [
        *[(kernel, stride, 1, (9, 12)) for kernel, stride in ((1, 1), (1, 2), (3, 1), (3, 2), (7, 2))],
        *[(kernel, stride, 1, (2, 5)) for kernel, stride in ((3, 1), (3, 2), (7, 2))],  # maps smaller than the kernel
        (3, 2, 1, (4, 4)),
        (3, 1, 1, (1, 1)),
        *[(3, stride, 6, (9, 12)) for stride in (1, 2)],  # one kernel a channel
        (3, 2, 6, (1, 2)),
        (3, 1, 3, (9, 12)),
        (1, 1, 3, (2, 2)),
    ],
)
def test_conv_is_lax_convolution(kernel, stride, groups, size):
    """What XLA would run slowly takes other roads to the same values and gradients."""
    x = jax.random.normal(jax.random.key(0), (2, *size, 6))
    conv = Conv(6, kernel, stride, groups)
    variables = conv.init(jax.random.key(1), x)
    pad = ((kernel // 2,) * 2,) * 2

    def reference(variables, x):
        dims = dict(dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups)
        return lax.conv_general_dilated(x, variables["params"]["kernel"], (stride,) * 2, pad, **dims)

    def value_and_gradients(f):
        weigh = lambda y: y * jnp.cos(jnp.arange(y.size)).reshape(y.shape)
        return jax.jit(jax.value_and_grad(lambda v, x: weigh(f(v, x)).sum(), (0, 1)))(variables, x)

    near = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4)
    jax.tree.map(near, *map(value_and_gradients, (conv.apply, reference)))


@pytest.mark.parametrize("shape", [(2, 9, 12, 5), (1, 8, 7, 3)])
def test_max_pool_is_the_window_reduction(shape):
    x = jax.random.normal(jax.random.key(0), shape)
    reference = lambda x: nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
    weights = jax.random.normal(jax.random.key(1), reference(x).shape)
    for f, g in (
        (max_pool, reference),
        (jax.grad(lambda x: (max_pool(x) * weights).sum()), jax.grad(lambda x: (reference(x) * weights).sum())),
    ):
        np.testing.assert_allclose(f(x), g(x), rtol=1e-6)


def test_batch_norm_remembers_the_unbiased_variance():
    x = jax.random.normal(jax.random.key(0), (6, 2, 2, 3)) * 3 + 1
    norm = BatchNorm()
    y, updated = norm.apply(norm.init(jax.random.key(0), x, train=True), x, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std((0, 1, 2)), 1, atol=1e-4)
    rows = np.asarray(x).reshape(-1, 3)
    np.testing.assert_allclose(updated["batch_stats"]["mean"], 0.1 * rows.mean(0), rtol=1e-4)
    np.testing.assert_allclose(updated["batch_stats"]["var"], 0.9 + 0.1 * rows.var(0, ddof=1), rtol=1e-4)


def test_normalize_happens_inside_the_model():
    video = np.random.default_rng(0).integers(0, 256, (1, 4, 32, 32, 3), dtype=np.uint8)
    model = TSM(**SMALL)
    variables = drawn_variables(model)
    apply = jitted(model)
    np.testing.assert_allclose(apply(variables, video), apply(variables, normalize(video)), rtol=1e-5)
    with pytest.raises(ValueError, match="every value must be positive"):
        normalize(video, std=(1, 0, 1))


def test_tsn_is_blind_to_order_and_tsm_is_not():
    video = np.random.default_rng(0).integers(0, 256, (2, 4, 32, 32, 3), dtype=np.uint8)
    for make, blind in ((TSN, True), (TSM, False)):
        model = make(**SMALL)
        variables = drawn_variables(model)
        apply = jitted(model)
        change = np.abs(apply(variables, video) - apply(variables, video[:, ::-1])).max()
        assert (change < 1e-5) == blind


def test_shift_moves_information_by_one_frame_per_block():
    x = jnp.arange(2 * 4 * 8, dtype=jnp.float32).reshape(8, 1, 1, 8)
    y = temporal_shift(x, num_segments=4, shift_div=8).reshape(2, 4, 8)
    x = x.reshape(2, 4, 8)
    np.testing.assert_array_equal(y[:, :, 0], np.pad(x[:, 1:, 0], ((0, 0), (0, 1))))
    np.testing.assert_array_equal(y[:, :, 1], np.pad(x[:, :-1, 1], ((0, 0), (1, 0))))
    np.testing.assert_array_equal(y[:, :, 2:], x[:, :, 2:])
    with pytest.raises(ValueError, match="do not divide"):
        temporal_shift(x.reshape(8, 1, 1, 8), num_segments=3)


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_parameters():
    video = np.random.default_rng(0).integers(0, 256, (2, 4, 32, 32, 3), dtype=np.uint8)
    wide, narrow = TSM(**SMALL), TSM(**SMALL, dtype="bfloat16")
    variables = drawn_variables(narrow)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    a, b = jitted(wide)(variables, video), jitted(narrow)(variables, video)
    assert b.dtype == jnp.float32
    assert 0 < np.abs(a - b).max() < 0.1 * np.abs(a).max()
    text = jitted(narrow).lower(variables, video).as_text()
    assert "stablehlo.convolution" in text and "tensor<8x16x16x8xbf16>" in text


def test_dropout_is_per_frame_and_off_in_evaluation():
    video = np.zeros((1, 2, 32, 32, 3), np.uint8)
    model = TSM(**SMALL | dict(dropout=0.5))
    variables = drawn_variables(model)
    train = jitted(model, train=True, mutable=["batch_stats"])
    apply = lambda seed: train(variables, video, rngs={"dropout": jax.random.key(seed)})[0]
    np.testing.assert_array_equal(apply(0), apply(0))
    assert np.abs(apply(0) - apply(1)).max() > 0
    evaluate = jitted(model)
    np.testing.assert_array_equal(evaluate(variables, video), evaluate(variables, video))


def test_feature_map_sizes():
    x = jnp.zeros((1, 70, 64, 3))
    for options, shape in ((dict(), (1, 3, 2, 64)), (dict(small_input=True), (1, 5, 4, 64))):
        net = ResNet(depth=10, width=8, **options)
        out = jax.eval_shape(lambda x, net=net: net.init_with_output(jax.random.key(0), x, train=False)[0], x)
        assert out.shape == shape
