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
        (NoTrain, r"on clips \(1, 4, 8, 8, 3\) .*'train'; a network is called as network\(clips, train=False\)"),
        (
            returns(lambda clips: clips.mean((2, 3, 4))[..., None]),
            r"returns float logits \[b, k\]; .* it returned float32 \(2, 4, 1\)",
        ),
        (returns(lambda clips: clips.mean((0, 1, 2))), r"it returned float32 \(8, 3\)"),
        (returns(lambda clips: (clips, clips)), "with train=True it returned tuple"),
        (returns(lambda clips: jnp.zeros((2, 3), jnp.int32)), r"it returned int32 \(2, 3\)"),
        (Mean, "mean needs 1 or 3 numbers"),
    ],
)
def test_what_is_no_recogniser_is_refused(make, message):
    with pytest.raises(ValueError, match=f"model.name='x:Net'.*{message}"):
        adapt(make, SHAPE, name="x:Net")


class Full(Net):
    """Uses everything that the contract allows: submodules of any name, and sown values."""

    @nn.compact
    def __call__(self, clips, *, train):
        x = nn.Dense(6, name="module")(clips.mean((1, 2, 3)))
        x = nn.Dense(6, name="network")(nn.Dense(6, name="mean")(nn.Dense(6, name="dtype")(x)))
        x = nn.BatchNorm(use_running_average=not train, name="freezing")(x)
        self.sow("losses", "decay", (x**2).mean(), reduce_fn=lambda a, b: a + b, init_fn=lambda: 0.0)
        self.sow("intermediates", "embedding", x)
        self.sow("watched", "x", x)
        return nn.Dense(self.classes, name="num_classes")(nn.Dropout(0.5, deterministic=not train)(x))


class SetUp(nn.Module):
    """Submodules that `setup` calls as the contract calls attributes."""

    def setup(self):
        self.mean, self.std, self.module, self.freezing, self.input_shape = (nn.Dense(4) for _ in range(5))

    def __call__(self, clips, /, *, train):
        x = clips.mean((1, 2, 3))
        for layer in (self.mean, self.std, self.module, self.freezing, self.input_shape):
            x = layer(x)
        return x


def test_names_are_free_and_sown_values_are_no_state():
    model = adapt(Full, SHAPE, name="x:Full")
    variables = initialize(model, key=jax.random.key(0))
    assert set(variables) == {"params", "batch_stats"} and "module" in variables["params"]
    clips = jnp.zeros((2, *SHAPE), jnp.uint8)
    _, updated = model.apply(variables, clips, train=True, mutable=["batch_stats"], rngs={"dropout": jax.random.key(2)})
    assert set(updated) == {"batch_stats"}
    model = adapt(SetUp, SHAPE, name="x:SetUp")
    assert set(initialize(model, key=jax.random.key(0))["params"]) >= {"mean", "std", "module", "freezing"}
    assert len(model.mean) == 3 and model.num_classes == 4


def with_attributes(**attributes):
    return lambda: type("Given", (Net,), attributes)()


@pytest.mark.parametrize(
    ("attributes", "found"),
    [
        (dict(mean=100.0, std=50), dict(mean=(100.0,), std=(50.0,))),
        (dict(mean=None, freezing=None, dtype=None, normalizes=None), dict(dtype="float32", normalizes=False)),
        (dict(mean=np.float32([1, 2, 3]), dtype=jnp.bfloat16), dict(mean=(1.0, 2.0, 3.0), dtype="bfloat16")),
    ],
)
def test_optional_attributes_take_several_forms(attributes, found):
    model = adapt(with_attributes(**attributes), SHAPE, name="x:Given")
    assert {name: getattr(model, name) for name in found} == found and model.freezing.patterns() == ()


class Patterns:
    def __init__(self, *patterns):
        self.given = patterns

    def patterns(self):
        return self.given


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (
            dict(mean=lambda self, x: x),
            "its attribute mean is a function or a module; expected the mean of pixels in 0..255",
        ),
        (dict(mean="imagenet"), "its attribute mean is str 'imagenet'"),
        (dict(std=nn.Dense(3)), "its attribute std is a function or a module"),
        (dict(std=(1.0, 0.0, 1.0)), "its attribute std=.*must be positive"),
        (
            dict(dtype="float23"),
            r"its attribute dtype is str 'float23'; choose from \('float32', 'bfloat16', 'float16'\)",
        ),
        (dict(dtype=jnp.int32), "its attribute dtype is .*int32"),
        (dict(freezing="conv/.*"), r"its attribute freezing is str 'conv/.\*'; expected an object with patterns\(\)"),
        (dict(freezing=True), "its attribute freezing is bool 'True'"),
        (
            dict(normalizes=lambda self: True),
            "its attribute normalizes is a function or a module; expected True or False",
        ),
        (
            dict(freezing=Patterns("conv/.*", "lst/.*")),
            r"patterns\(\): 'lst/.\*' matches no parameter; .* such as 'last/bias'",
        ),
        (dict(freezing=Patterns("conv/(")), r"'conv/\(' is no regular expression"),
        (dict(freezing=Patterns(3)), r"patterns\(\) returned \(3,\); expected regular expressions"),
    ],
)
def test_attributes_that_mean_something_else_are_refused(attributes, message):
    with pytest.raises(ValueError, match=f"model.name='x:Given': .*{message}") as raised:
        adapt(with_attributes(**attributes), SHAPE, name="x:Given")
    assert "\n" not in str(raised.value)


def network(call):
    class Wrong(nn.Module):
        @nn.compact
        def __call__(self, clips, *, train):
            return call(self, nn.Dense(5, name="last")(clips.mean((1, 2, 3))), train)

    return Wrong


def counted(self, x, train):
    """Counts its calls, at test too."""
    count = self.variable("counts", "calls", lambda: jnp.zeros(()))
    count.value += 1
    return x


def late(self, x, train):
    return x * self.param("gain", nn.initializers.ones, ()) if train else x


def remembered(self, x, train):
    if train:
        self.variable("memory", "x", lambda: x)
    return x


def touched(self, x, train):
    if train:
        self.put_variable("memory", "x", x)
    return x


def grown(self, x, train):
    found = self.variable("memory", "x", lambda: jnp.zeros((1, 5)))
    if train:
        found.value = jnp.concatenate([found.value, x])
    return x


def whole(self, x, train):
    return x + self.param("table", lambda key: jnp.ones(5, jnp.int32))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (counted, "train=False: ModifyScopeVariableError: .*calls.*; nothing can change with train=False"),
        (late, "train=True: ScopeParamNotFoundError: .*gain.*; init has to make all parameters with train=False"),
        (
            remembered,
            "train=True: ScopeCollectionNotFound: .*memory.*; init has to make all variables with train=False",
        ),
        (touched, "train=True: ModifyScopeVariableError: .*; only collections that init makes with train=False can"),
        (grown, "collection 'memory' has other entries, shapes or types after a call with train=True"),
        (whole, "parameter 'table' is int32; parameters are floating point"),
        (
            lambda self, x, train: nn.Dropout(0.5, deterministic=False)(x),
            "train=False: InvalidRngError: .*dropout.*; there are no random numbers with train=False",
        ),
        (
            lambda self, x, train: x + jax.random.normal(self.make_rng("noise"), x.shape) if train else x,
            "train=True: InvalidRngError: .*noise.*; 'dropout' is the only stream of random numbers",
        ),
        (lambda self, x, train: x if train else x[:, :4], "logits have 5 classes with train=True, 4 with train=False"),
        (lambda self, x, train: x if train else x.sum(1), r"with train=False it returned float32 \(2,\)"),
        (lambda self, x, train: x @ jnp.ones(7), "train=False: TypeError: dot_general"),
    ],
)
def test_training_and_test_are_traced(call, message):
    with pytest.raises(ValueError, match=f"model.name='x:Wrong'.*{message}") as raised:
        adapt(network(call), SHAPE, name="x:Wrong")
    assert "\n" not in str(raised.value)


def test_a_network_without_parameters_is_refused():
    with pytest.raises(ValueError, match="a network without parameters has nothing to train"):
        adapt(returns(lambda clips: clips.mean((1, 2, 3))), SHAPE, name="x:Wrong")


@pytest.mark.parametrize(
    ("sown", "message"),
    [
        (lambda x: [x, x], r"stores features 2 times; let it call .* once, with features \[b, d\]"),
        (lambda x: [x[:, None]], r"stores features float32 \[2, 1, 5\] for 2 clips"),
        (lambda x: [x.mean(0)], r"stores features float32 \[5\] for 2 clips"),
        (lambda x: [x.argmax(1)[:, None]], r"stores features int32 \[2, 1\]"),
    ],
)
def test_other_features_than_one_vector_of_each_clip_are_refused(sown, message):
    def call(self, x, train):
        for features in sown(x):
            self.sow("intermediates", "embedding", features)
        return x

    model = adapt(network(call), SHAPE, name="x:Sown")
    clips = jnp.zeros((2, 1, *SHAPE), jnp.uint8)
    with pytest.raises(ValueError, match=f"embedding: the network {message}"):
        embedding(model, initialize(model, key=jax.random.key(0)), clips, what="embedding")


def test_clips_of_evaluations_are_tried_too():
    class Flat(nn.Module):
        @nn.compact
        def __call__(self, clips, *, train):
            return nn.Dense(5)(clips.reshape(len(clips), -1))

    adapt(Flat, SHAPE, name="own:Flat", tested=[SHAPE])
    with pytest.raises(ValueError, match=r"own:Flat' failed on clips \(2, 8, 8, 8, 3\) .* with train=False"):
        adapt(Flat, SHAPE, name="own:Flat", tested=[SHAPE, (8, 8, 8, 3)])


def test_an_error_in_the_constructor_names_the_network():
    class Broken(Net):
        def __post_init__(self):
            raise KeyError("no such size")

    with pytest.raises(ValueError, match="model.name='x:Broken' failed: KeyError: 'no such size'"):
        adapt(Broken, SHAPE, name="x:Broken")
