"""Pixels and labels changed on the device: against plain formulas, and the same for all frames of a clip."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actjax.losses import binary_cross_entropy, cross_entropy
from actjax.pixels.augment import color_jitter, cutmix, make_augment, mixup, random_erasing
from actjax.pixels.clips import below
from actjax.pixels.randaugment import OPS, rand_augment

RNG = np.random.default_rng(0)
VIDEO = RNG.integers(0, 256, (3, 2, 12, 16, 3), dtype=np.uint8)
TARGETS = np.eye(4, dtype=np.float32)[[0, 2, 3]]


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_colour_factors_by_hand(name):
    u = np.full((3, 5), 0.75, np.float32)  # a factor 0.6 + 0.75 * 0.8 = 1.2
    video = VIDEO.astype(np.float32)
    grey = video @ np.array([0.299, 0.587, 0.114])
    base = {"brightness": 0, "contrast": grey.mean((2, 3))[..., None, None, None], "saturation": grey[..., None]}[name]
    expected = np.clip(base + 1.2 * (video - base), 0, 255)
    np.testing.assert_allclose(color_jitter(video, **{name: 0.4}, u=u), expected, atol=1e-3)
    np.testing.assert_array_equal(color_jitter(VIDEO, **{name: 0.4}, u=u), np.round(expected).astype(np.uint8))


def test_hue_turns_as_in_colorsys():
    u = np.full((3, 5), 0.9, np.float32)  # 0.9 of [-0.25, 0.25]: 0.2 of the circle
    out = np.asarray(color_jitter(VIDEO.astype(np.float32), hue=0.25, u=u))
    for place in ((0, 0, 0, 0), (1, 1, 5, 7), (2, 0, 11, 15)):
        h, s, v = colorsys.rgb_to_hsv(*(VIDEO[place] / 255.0))
        np.testing.assert_allclose(out[place] / 255, colorsys.hsv_to_rgb((h + 0.2) % 1, s, v), atol=2e-5)


def test_no_strength_changes_nothing():
    u = RNG.random((3, 5), dtype=np.float32)
    np.testing.assert_array_equal(color_jitter(VIDEO, u=u), VIDEO)
    np.testing.assert_array_equal(random_erasing(VIDEO, probability=0.0, u=u), VIDEO)
    for op in ("identity", "rotate", "posterize", "solarize", "color", "sharpness", "shear_x", "translate_y"):
        draws = np.full((3, 1, 2), (OPS.index(op) + 0.5) / len(OPS), np.float32)
        np.testing.assert_array_equal(rand_augment(VIDEO, num_ops=1, magnitude=0, u=draws), VIDEO)


def only(op: str, direction: float = 0.9):
    u = np.empty((3, 1, 2), np.float32)
    u[..., 0], u[..., 1] = (OPS.index(op) + 0.5) / len(OPS), direction
    return np.asarray(rand_augment(VIDEO, num_ops=1, magnitude=5, u=u))


def test_rand_augment_gives_pillows_values():
    image, ops = pytest.importorskip("PIL.Image"), pytest.importorskip("PIL.ImageOps")
    enhance = pytest.importorskip("PIL.ImageEnhance")
    expected = {
        "invert": ops.invert,
        "autocontrast": ops.autocontrast,
        "equalize": ops.equalize,
        "posterize": lambda picture: ops.posterize(picture, 6),
        "solarize": lambda picture: ops.solarize(picture, 128),
        "color": lambda picture: enhance.Color(picture).enhance(1.45),
        "contrast": lambda picture: enhance.Contrast(picture).enhance(1.45),
        "brightness": lambda picture: enhance.Brightness(picture).enhance(1.45),
        "sharpness": lambda picture: enhance.Sharpness(picture).enhance(1.45),
    }
    for name, function in expected.items():
        out = only(name)
        for clip, frame in np.ndindex(3, 2):
            pillow = np.asarray(function(image.fromarray(VIDEO[clip, frame]))).astype(int)
            assert np.abs(out[clip, frame] - pillow).max() <= 1, name


def test_translation_moves_whole_pixels():
    out = only("translate_x")  # 0.45 * 0.5 * 16 = 3.6 pixels: between the third and the fourth
    blend = 0.4 * VIDEO[..., 3:-1, :].astype(float) + 0.6 * VIDEO[..., 4:, :]
    np.testing.assert_allclose(out[..., : 16 - 4, :], blend, atol=0.51)


def test_erased_box_is_the_same_in_all_frames():
    u = np.tile(np.float32([0.1, 0.5, 0.5, 0.3, 0.6]), (3, 1))
    out = np.asarray(random_erasing(VIDEO, probability=1.0, fill=(1.0, 2.0, 3.0), u=u))
    erased = (out == np.uint8([1, 2, 3])).all(-1)
    rows, columns = np.flatnonzero(erased[0, 0].any(1)), np.flatnonzero(erased[0, 0].any(0))
    assert erased.reshape(6, 12, 16).all(0).sum() == len(rows) * len(columns) > 10
    np.testing.assert_array_equal(out[~erased], VIDEO[~erased])


def test_mixing_shares_pixels_and_labels_alike():
    partner, lam = np.array([1, 2, 0]), np.float32([0.25, 0.5, 1.0])
    video, targets = mixup(VIDEO.astype(np.float32), TARGETS, lam=lam, partner=partner)
    shares = lam.reshape(3, 1, 1, 1, 1)
    np.testing.assert_allclose(video, shares * VIDEO + (1 - shares) * VIDEO[partner], atol=1e-3)
    np.testing.assert_allclose(targets, lam[:, None] * TARGETS + (1 - lam)[:, None] * TARGETS[partner], atol=1e-6)
    black_and_white = np.stack([np.full((2, 12, 16, 3), value, np.float32) for value in (0, 255, 0)])
    pair = np.array([1, 0, 1])
    video, targets = cutmix(
        black_and_white, TARGETS, lam=lam, partner=pair, u=np.float32([[0.1, 0.9], [0.5, 0.5], [0, 0]])
    )
    foreign = np.abs(np.asarray(video) - black_and_white).mean((1, 2, 3, 4)) / 255
    np.testing.assert_allclose(1 - foreign, (targets * TARGETS).sum(1), atol=1e-6)
    assert 0 < foreign[0] < 0.75 and foreign[2] == 0


def test_all_stages_follow_from_the_key():
    augment = jax.jit(
        make_augment(
            color_jitter=dict(brightness=0.4, hue=0.1), rand_augment=dict(num_ops=2, magnitude=7),
            random_erasing=dict(probability=0.5), mixup=dict(alpha=0.8), cutmix=dict(alpha=1.0),
        )
    )  # fmt: skip
    first, again, other = (augment(VIDEO, TARGETS, jax.random.key(k)) for k in (1, 1, 2))
    assert first[0].dtype == jnp.uint8 and first[1].dtype == jnp.float32
    np.testing.assert_array_equal(first[0], again[0])
    assert (first[0] != other[0]).any()
    np.testing.assert_allclose(first[1].sum(1), 1, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        dict(color_jitter=dict(brightness=0.4, hue=0.1)), dict(rand_augment=dict(num_ops=2, magnitude=7)),
        dict(random_erasing=dict(probability=0.5)), dict(mixup=dict(alpha=0.8), cutmix=dict(alpha=1.0)),
    ],
    ids=str,
)  # fmt: skip
def test_each_device_augments_its_share(options):
    """As in a training step with `run.bn="device"`."""
    augment, key = make_augment(**options), jax.random.key(1)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    share = jax.sharding.PartitionSpec("data")
    own = lambda video, targets: augment(video, targets, key)
    whole = jax.jit(jax.shard_map(own, mesh=mesh, in_specs=(share, share), out_specs=(share, share)))
    videos, targets = VIDEO[[0, 1, 1, 2]], TARGETS[[0, 1, 1, 2]]
    parts = [jax.jit(own)(videos[k : k + 2], targets[k : k + 2]) for k in (0, 2)]
    for found, expected in zip(whole(videos, targets), zip(*parts, strict=True), strict=True):
        np.testing.assert_allclose(found, np.concatenate(expected), atol=1)


def test_each_operation_is_drawn_as_often():
    counts = np.bincount(below(len(OPS), RNG.random(30_000, dtype=np.float32)))
    assert ((counts - 2000) ** 2 / 2000).sum() < 60  # chi-square, 14 degrees


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(color_jitter=dict(hue=0.7)), "hue=0.7"),
        (dict(color_jitter=dict(colour=0.7)), "color_jitter: .*colour"),
        (dict(rand_augment=dict(num_ops=0, magnitude=3)), "num_ops=0"),
        (dict(rand_augment=dict(magnitude=3)), "rand_augment: "),
        (dict(random_erasing=dict(probability=2)), "probability=2"),
        (dict(mixup=dict(alpha=0)), r"mixup: alpha=0; must be a number in \(0, inf\)"),
        (dict(cutmix=dict(beta=1)), "expected dict"),
    ],
)
def test_bad_options_are_refused_when_it_is_built(options, message):
    with pytest.raises(ValueError, match=message):
        make_augment(**options)


def test_losses_of_vectors():
    scores = RNG.normal(size=(3, 4)).astype(np.float32)
    soft = np.float32([[0.5, 0.5, 0, 0], [0, 0, 1, 0], [0.1, 0.2, 0.3, 0.4]])
    log_p = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    np.testing.assert_allclose(cross_entropy(scores, soft), -(soft * log_p).sum(1), rtol=1e-5)
    np.testing.assert_allclose(cross_entropy(scores, TARGETS), cross_entropy(scores, TARGETS.argmax(1)), rtol=1e-6)
    p = 1 / (1 + np.exp(-scores))
    many_hot = np.float32([[1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    expected = -(many_hot * np.log(p) + (1 - many_hot) * np.log(1 - p)).mean(1)
    np.testing.assert_allclose(binary_cross_entropy(scores, many_hot), expected, rtol=1e-5)
