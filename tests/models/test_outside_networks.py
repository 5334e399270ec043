"""Plain Linen modules as recognisers."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actjax.models import TSN, adapt, embedding, initialize
from actjax.models.outside import Outside
from actjax.pixels import normalize

SHAPE = (4, 8, 8, 3)


class Net(nn.Module):
    classes: int = 5

    @nn.compact
    def __call__(self, clips, *, train):
        assert clips.dtype == jnp.float32
        x = nn.BatchNorm(use_running_average=not train, name="norm")(
            nn.Conv(6, (3, 3), name="conv")(clips).mean((1, 2, 3))
        )
        self.sow("intermediates", "embedding", x)
        return nn.Dense(self.classes, name="last")(nn.Dropout(0.5, deterministic=not train)(x))


class Own(nn.Module):
    """Normalises for itself, and counts its channels."""

    in_channels: int
    normalizes: bool = True
    dtype: str = "bfloat16"

    @nn.compact
    def __call__(self, clips, *, train):
        assert clips.shape[-1] == self.in_channels
        return nn.Dense(3)(clips.astype(jnp.bfloat16).mean((1, 2, 3)))


def test_a_module_keeps_its_paths_and_gets_normalised_clips():
    model = adapt(Net, SHAPE, name="x:Net")
    variables = initialize(model, key=jax.random.key(0))
    assert model.num_classes == 5 and set(variables["params"]) == {"conv", "norm", "last"}
    assert set(variables["batch_stats"]) == {"norm"}
    clips = jax.random.randint(jax.random.key(1), (2, *SHAPE), 0, 255).astype(jnp.uint8)
    np.testing.assert_array_equal(model.apply(variables, clips), Net().apply(variables, normalize(clips), train=False))
    _, updated = model.apply(variables, clips, train=True, mutable=["batch_stats"], rngs={"dropout": jax.random.key(2)})
    assert not np.allclose(updated["batch_stats"]["norm"]["mean"], 0)
    assert embedding(model, variables, clips[:, None], what="embedding").shape == (2, 6)
    assert model.freezing.patterns() == () and model.dtype == "float32"


def test_flow_and_optional_attributes():
    model = adapt(Own, (4, 8, 8, 10), name="x:Own")
    assert model.mean == model.std == (128.0,) and model.dtype == "bfloat16" and model.num_classes == 3
    logits = model.apply(initialize(model, key=jax.random.key(0)), jnp.zeros((2, 4, 8, 8, 10), jnp.uint8))
    assert logits.dtype == jnp.float32
    variables = initialize(model, key=jax.random.key(0))
    with pytest.raises(ValueError, match="the network stores no features"):
        embedding(model, variables, jnp.zeros((2, 1, 4, 8, 8, 10), jnp.uint8), what="embedding")


def test_our_own_are_left_as_they_are():
    made = adapt(lambda in_channels: TSN(num_classes=3, depth=10, width=8, in_channels=in_channels), SHAPE, name="TSN")
    assert isinstance(made, TSN) and made.in_channels == 3 and not isinstance(made, Outside)


def returns(value):
    class Wrong(nn.Module):
        @nn.compact
        def __call__(self, clips, *, train):
            return value(clips)

    return Wrong


class NoTrain(nn.Module):
    @nn.compact
    def __call__(self, clips):
        return nn.Dense(2)(clips.mean((1, 2, 3)))


class Mean(Net):
    mean = (1.0, 2.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: 3, "makes int; a network is a Linen module"),
        (NoTrain, r"called as network\(clips, train=True\), clips \(2, 4, 8, 8, 3\)"),
        (
            returns(lambda clips: clips.mean((2, 3, 4))[..., None]),
            r"returns logits \[b, k\]; .* it returned \(2, 4, 1\)",
        ),
        (returns(lambda clips: clips.mean((0, 1, 2))), r"it returned \(8, 3\)"),
        (returns(lambda clips: (clips, clips)), "it returned tuple"),
        (returns(lambda clips: jnp.zeros((2, 3), jnp.int32)), r"it returned \(2, 3\)"),
        (Mean, "mean needs 1 or 3 numbers"),
    ],
)
def test_what_is_no_recogniser_is_refused(make, message):
    with pytest.raises(ValueError, match=f"model.name='x:Net'.*{message}"):
        adapt(make, SHAPE, name="x:Net")
