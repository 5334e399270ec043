"""Augmentations as a sequence: in order, with draws of their own, and with operations that are not ours."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actjax.pixels import augment_in_order, make_augment
from actjax.pixels.augment import color_jitter, random_erasing
from actjax.pixels.augment import mixup as blend
from actjax.pixels.clips import pixels_like

RNG = np.random.default_rng(0)
VIDEO = RNG.integers(0, 256, (4, 2, 12, 16, 3), dtype=np.uint8)
TARGETS = np.eye(4, dtype=np.float32)
KEY = jax.random.key(7)
OPTIONS = dict(
    color_jitter=dict(brightness=0.4, hue=0.1), rand_augment=dict(num_ops=2, magnitude=7),
    random_erasing=dict(probability=0.5), mixup=dict(alpha=0.8), cutmix=dict(alpha=1.0),
)  # fmt: skip


def same(one, other) -> bool:
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    "names", [list(OPTIONS), ["color_jitter", "cutmix"], ["random_erasing", "mixup"], ["mixup", "cutmix"], []]
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_sequence_of_built_in_operations_is_the_section(names, dtype):
    """The same program, to the letter."""
    section = make_augment(**{name: OPTIONS[name] for name in names})
    sequence = augment_in_order([dict(name=name, **OPTIONS[name]) for name in names])
    video = VIDEO.astype(dtype)
    one, other = (jax.jit(augment).lower(video, TARGETS, KEY).as_text() for augment in (section, sequence))
    assert one == other


def test_the_section_is_its_functions_with_draws_by_name():
    """As it was before there were sequences: names and shapes of the draws, one rounding in the end."""
    named = lambda key, name: jax.random.fold_in(key, zlib.crc32(name.encode()))
    section = make_augment(color_jitter=dict(hue=0.1), random_erasing=dict(probability=0.5), mixup=dict(alpha=0.8))
    video = VIDEO.astype(np.float32)
    video = color_jitter(video, hue=0.1, u=jax.random.uniform(named(KEY, "color_jitter"), (4, 5)))
    video = random_erasing(video, probability=0.5, u=jax.random.uniform(named(KEY, "random_erasing"), (4, 5)))
    mixing = named(KEY, "mixing")
    lam = jax.random.beta(named(mixing, "mixup"), 0.8, 0.8, (4,))
    partner = jax.random.permutation(named(mixing, "partner"), 4)
    video, targets = blend(video, TARGETS, lam=lam, partner=partner)
    assert same(section(VIDEO, TARGETS, KEY), (pixels_like(VIDEO, video), targets))


def test_order_counts():
    invert, jitter = dict(name="own_functions:invert"), dict(name="color_jitter", brightness=0.9)
    one, other = (augment_in_order(order)(VIDEO, TARGETS, KEY)[0] for order in ([invert, jitter], [jitter, invert]))
    assert (one != other).any()
    np.testing.assert_array_equal(augment_in_order([invert])(VIDEO, TARGETS, KEY)[0], 255 - VIDEO)


def test_an_operation_more_leaves_the_draws_of_the_others():
    noise, mix = dict(name="own_functions:noise", sigma=9.0), dict(name="mixup", alpha=0.8)
    alone = augment_in_order([mix])(VIDEO, TARGETS, KEY)
    after = augment_in_order([noise, mix])(VIDEO, TARGETS, KEY)
    np.testing.assert_array_equal(alone[1], after[1])
    assert (alone[0] != after[0]).any()
    grey = np.full_like(VIDEO, 128, np.float32)
    once, twice, thrice = (
        np.asarray(augment_in_order([noise] * times)(grey, TARGETS, KEY)[0]) - 128 for times in (1, 2, 3)
    )
    second, third = twice - once, thrice - twice
    assert abs(np.corrcoef(once.ravel(), second.ravel())[0, 1]) < 0.1
    assert abs(np.corrcoef(second.ravel(), third.ravel())[0, 1]) < 0.1


def test_mixup_and_cutmix_apart_are_both_applied():
    """Directly after each other one of them is chosen; otherwise they follow each other, with other partners."""
    mix, cut, invert = (
        dict(name="mixup", alpha=9.0),
        dict(name="cutmix", alpha=9.0),
        dict(name="own_functions:invert"),
    )
    counts = lambda *chain: (np.asarray(augment_in_order(chain)(VIDEO, TARGETS, KEY)[1]) > 0).sum(1)
    assert counts(mix, cut).max() == 2
    assert counts(mix, invert, cut).max() > 2 and counts(cut, mix).max() > 2


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_operations_of_others_get_floats_and_may_return_bytes(dtype, monkeypatch):
    seen = []

    def look(clips, targets, key):
        seen.append((clips.dtype, targets.dtype, isinstance(clips, jax.Array)))
        return clips, targets

    monkeypatch.setattr("own_functions.look", look, raising=False)
    operations = [dict(name=f"own_functions:{name}") for name in ("as_uint8", "look")]
    video, targets = augment_in_order(operations)(VIDEO.astype(dtype), TARGETS, KEY)
    assert seen == [(jnp.float32, jnp.float32, True)] and video.dtype == dtype and targets.dtype == jnp.float32
    np.testing.assert_array_equal(video, VIDEO)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "cut",
            r"'own_functions:cut' returned clips float32 \[4, 2, 11, 16, 3\]; expected uint8 or float32 \[4, 2, 12",
        ),
        ("half", r"'own_functions:half' returned clips float16 \[4, 2, 12, 16, 3\]; expected uint8 or float32"),
        ("classes", r"'own_functions:classes' returned targets int32 \[4\]; expected floating \[4, 4\]"),
        ("alone", r"'own_functions:alone' returned float32 \[4, .*; it must return \(clips, targets\)"),
        ("three", r"'own_functions:three' returned 3 values; it must return \(clips, targets\)"),
        ("nothing", r"'own_functions:nothing' failed on clips float32 \[4, .*TypeError"),
        ("wrong", r"'own_functions:wrong' failed on clips float32 .*, targets float32 \[4, 4\] and a key: TypeError"),
    ],
)
def test_an_operation_that_breaks_the_contract_is_named(name, message):
    augment = augment_in_order([dict(name="color_jitter", hue=0.1), dict(name=f"own_functions:{name}")])
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(augment, VIDEO, TARGETS, KEY)


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        ("mixup", "augment='mixup'; expected a section, or a sequence of sections"),
        ([dict(alpha=0.2)], r"augment\[0\]=.*expected a section with a name"),
        ([dict(name="mixup", alpha=0.2), "cutmix"], r"augment\[1\]='cutmix'; expected a section with a name"),
        ([dict(name="mix_up", alpha=0.2)], r"augment\[0\].name='mix_up' is unknown; did you mean 'mixup'"),
        ([dict(name="mixing", mixup=dict(alpha=0.2))], r"augment\[0\].name='mixing' is unknown"),
        ([dict(name="mixup")], "expected dict"),
        ([dict(name="color_jitter", hue=2.0)], "hue=2.0"),
        ([dict(name="rand_augment", magnitude=3)], "rand_augment: "),
        ([dict(name="own_functions:noise")], r"augment\[0\].sigma is missing"),
        ([dict(name="own_functions:noise", sigm=1)], r"augment\[0\].'sigm' is unknown; did you mean 'sigma'"),
        ([dict(name="own_functions:nois", sigma=1)], r"augment\[0\].name='own_functions:nois'.* did you mean 'noise'"),
        ([dict(name="no_module:noise", sigma=1)], r"augment\[0\].name='no_module:noise': there is no module"),
    ],
)
def test_bad_sequences_are_refused_when_built(operations, message):
    with pytest.raises(ValueError, match=message):
        augment_in_order(operations)
