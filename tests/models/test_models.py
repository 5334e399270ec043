import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from actjax.models import TSM, TSN, ResNet, normalize, temporal_shift
from actjax.models.layers import BatchNorm, Conv, max_pool

SMALL = dict(num_classes=5, depth=10, width=8, small_input=True, dropout=0.0)


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (1, 2), (3, 1), (3, 2), (7, 2)])
def test_conv_is_lax_convolution(kernel, stride):
    """The 1x1 case takes another road; values and gradients are those of a convolution."""
    x = jax.random.normal(jax.random.key(0), (2, 9, 12, 5))
    conv = Conv(4, kernel, stride)
    variables = conv.init(jax.random.key(1), x)
    pad = ((kernel // 2,) * 2,) * 2

    def reference(variables, x):
        dims = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(x, variables["params"]["kernel"], (stride,) * 2, pad, dimension_numbers=dims)

    weights = jax.random.normal(jax.random.key(2), reference(variables, x).shape)
    for a, b in zip(
        *(
            jax.tree.leaves(jax.value_and_grad(lambda v, x, f=f: (f(v, x) * weights).sum(), (0, 1))(variables, x))
            for f in (conv.apply, reference)
        ),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


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
    variables = model.init(jax.random.key(0), video)
    np.testing.assert_allclose(model.apply(variables, video), model.apply(variables, normalize(video)), rtol=1e-5)
    with pytest.raises(ValueError, match="every value must be positive"):
        normalize(video, std=(1, 0, 1))


def test_tsn_is_blind_to_order_and_tsm_is_not():
    video = np.random.default_rng(0).integers(0, 256, (2, 4, 32, 32, 3), dtype=np.uint8)
    for make, blind in ((TSN, True), (TSM, False)):
        model = make(**SMALL)
        variables = model.init(jax.random.key(0), video)
        change = np.abs(model.apply(variables, video) - model.apply(variables, video[:, ::-1])).max()
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
    variables = narrow.init(jax.random.key(0), video)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    a, b = wide.apply(variables, video), narrow.apply(variables, video)
    assert b.dtype == jnp.float32
    assert 0 < np.abs(a - b).max() < 0.1 * np.abs(a).max()
    text = jax.jit(lambda v, x: narrow.apply(v, x)).lower(variables, video).as_text()
    assert "stablehlo.convolution" in text and "tensor<8x16x16x8xbf16>" in text


def test_dropout_is_per_frame_and_off_in_evaluation():
    video = np.zeros((1, 2, 32, 32, 3), np.uint8)
    model = TSM(**SMALL | dict(dropout=0.5))
    variables = model.init(jax.random.key(0), video)
    apply = lambda seed: model.apply(
        variables, video, train=True, mutable=["batch_stats"], rngs={"dropout": jax.random.key(seed)}
    )[0]
    np.testing.assert_array_equal(apply(0), apply(0))
    assert np.abs(apply(0) - apply(1)).max() > 0
    np.testing.assert_array_equal(model.apply(variables, video), model.apply(variables, video))


def test_feature_map_sizes():
    x = jnp.zeros((1, 70, 64, 3))
    for options, shape in ((dict(), (1, 3, 2, 64)), (dict(small_input=True), (1, 5, 4, 64))):
        net = ResNet(depth=10, width=8, **options)
        out = jax.eval_shape(lambda x, net=net: net.init_with_output(jax.random.key(0), x, train=False)[0], x)
        assert out.shape == shape
