import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actjax.models import TSM, TSN, initialize
from actjax.training import adam, param_groups, sgd, tsm_optimizer
from actjax.training.optimizers import by_epoch, constant_schedule, cosine_schedule, layerwise_rules, step_schedule

PARAMS = {"backbone": {"stem": {"conv": {"kernel": jnp.ones(3)}, "bn": {"scale": jnp.ones(2), "bias": jnp.ones(2)}}},
          "fc_cls": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}}  # fmt: skip


def test_sgd_is_torchs():
    """Against the update rule written out: g += wd p; buf = m buf + g; p -= lr buf."""
    rng = np.random.default_rng(0)
    p = {"w": rng.normal(size=4)}
    optimizer = sgd(p, lambda step: 0.1, momentum=0.9, weight_decay=0.01)
    state, mine, buffer = optimizer.init(p), jax.tree.map(jnp.asarray, p), 0.0
    reference = p["w"].copy()
    for _ in range(4):
        gradient = rng.normal(size=4)
        updates, state = optimizer.update({"w": jnp.asarray(gradient)}, state, mine)
        mine = optax.apply_updates(mine, updates)
        buffer = 0.9 * buffer + gradient + 0.01 * reference
        reference = reference - 0.1 * buffer
    np.testing.assert_allclose(mine["w"], reference, rtol=1e-5)


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_equals_torch_itself(nesterov):
    torch = pytest.importorskip("torch", reason="torch is the other side of this comparison")
    rng = np.random.default_rng(1)
    start = rng.normal(size=(3, 4)).astype(np.float32)
    theirs = torch.nn.Parameter(torch.tensor(start))
    optimizer = torch.optim.SGD([theirs], lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=nesterov)
    mine = {"w": jnp.asarray(start)}
    ours = sgd(mine, lambda step: 0.05, momentum=0.9, nesterov=nesterov, weight_decay=5e-4, clip_norm=1.0)
    state = ours.init(mine)
    for _ in range(5):
        gradient = rng.normal(size=(3, 4)).astype(np.float32)
        theirs.grad = torch.tensor(gradient)
        torch.nn.utils.clip_grad_norm_([theirs], 1.0)
        optimizer.step()
        updates, state = ours.update({"w": jnp.asarray(gradient)}, state, mine)
        mine = optax.apply_updates(mine, updates)
    np.testing.assert_allclose(mine["w"], theirs.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_multipliers_scale_learning_rate_and_decay():
    zero = jax.tree.map(jnp.zeros_like, PARAMS)
    rules = [("five", r"fc_cls/kernel", 5, 1), ("ten", r"fc_cls/bias", 10, 0), ("rest", ".*", 1, 1)]
    optimizer = sgd(PARAMS, lambda step: 0.1, momentum=0.0, weight_decay=0.01, rules=rules)
    updates, _ = optimizer.update(zero, optimizer.init(PARAMS), PARAMS)
    np.testing.assert_allclose(updates["fc_cls"]["kernel"], -0.1 * 5 * 0.01, rtol=1e-6)
    np.testing.assert_allclose(updates["fc_cls"]["bias"], 0.0)
    np.testing.assert_allclose(updates["backbone"]["stem"]["conv"]["kernel"], -0.1 * 0.01, rtol=1e-6)


@pytest.mark.parametrize(
    ("model", "stages"), [(TSM(num_classes=3, width=8), 4), (TSN(num_classes=3, arch="mobilenet_v2"), 7)]
)
def test_layerwise_learning_rates_fall_towards_the_stem(model, stages):
    """Every parameter has a group, factors are powers, scales and biases do not decay."""
    shapes = jax.eval_shape(lambda: initialize(model, key=jax.random.key(0)))["params"]
    groups = param_groups(shapes, layerwise_rules(factor=0.5, stages=stages))
    rate = {rule.group: (rule.lr_mult, rule.decay_mult) for rule in groups.rules}
    assert rate["head_weight"] == (1, 1) and rate["stem_weight"] == (0.5 ** (stages + 1), 1)
    assert rate["layer2_other"] == (0.5 ** (stages - 1), 0)
    assert groups.lr_mult["fc_cls"]["kernel"] == 1 and groups.decay_mult["fc_cls"]["bias"] == 0
    assert groups.lr_mult["backbone"]["layer1_0"]["conv1"]["bn"]["scale"] == 0.5**stages
    assert all(groups.members.values())


def test_schedules():
    step = by_epoch(lambda e: step_schedule(e, epochs=50, milestones=(20, 40)), lr=0.02, steps_per_epoch=10.0)
    np.testing.assert_allclose([step(0), step(199), step(200), step(400)], [0.02, 0.02, 0.002, 0.0002], rtol=1e-6)
    cosine = by_epoch(lambda e: cosine_schedule(e, epochs=4), lr=1.0, steps_per_epoch=10.0)
    np.testing.assert_allclose([cosine(0), cosine(20), cosine(40)], [1.0, 0.5, 0.0], atol=1e-6)
    warm = by_epoch(
        lambda e: constant_schedule(jnp.asarray(e), epochs=4), lr=1.0, steps_per_epoch=10.0, warmup_epochs=1.0
    )
    np.testing.assert_allclose([warm(0), warm(5), warm(10), warm(11)], [0.1, 0.55, 1.0, 1.0], rtol=1e-6)


@given(st.floats(0.1, 10), st.integers(0, 2**32 - 1))
def test_clipping_bounds_the_step(limit, seed):
    gradient = {"w": jnp.asarray(np.random.default_rng(seed).normal(size=5) * 10, jnp.float32)}
    optimizer = sgd(gradient, lambda step: 1.0, momentum=0.0, clip_norm=limit)
    updates, _ = optimizer.update(gradient, optimizer.init(gradient), gradient)
    assert optax.tree.norm(updates) <= limit * 1.001


def test_adam_equals_torch_itself():
    torch = pytest.importorskip("torch", reason="torch is the other side of this comparison")
    rng = np.random.default_rng(2)
    start = rng.normal(size=(3, 4)).astype(np.float32)
    theirs = torch.nn.Parameter(torch.tensor(start))
    reference = torch.optim.Adam([theirs], lr=0.01, weight_decay=0.1)
    mine = {"w": jnp.asarray(start)}
    optimizer = adam(mine, lambda step: 0.01, weight_decay=0.1)
    state = optimizer.init(mine)
    for _ in range(5):
        gradient = rng.normal(size=(3, 4)).astype(np.float32)
        updates, state = optimizer.update({"w": jnp.asarray(gradient)}, state, mine)
        mine = optax.apply_updates(mine, updates)
        theirs.grad = torch.tensor(gradient)
        reference.step()
    np.testing.assert_allclose(mine["w"], theirs.detach().numpy(), rtol=2e-6, atol=1e-7)


def test_tsm_optimizer_takes_rows():
    params = {"embedding": jnp.ones((3, 2))}
    zero = jax.tree.map(jnp.zeros_like, params)
    optimizer = tsm_optimizer(params, lambda step: 0.1, weight_decay=0.5, rows=[("embedding", r"embedding", 3, 2)])
    updates, _ = optimizer.update(zero, optimizer.init(params), params)
    np.testing.assert_allclose(updates["embedding"], -0.1 * 3 * 0.5 * 2, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "numbers"),
    [
        (sgd, dict(weight_decay=0.1)),
        (sgd, dict(momentum=0.5)),
        (sgd, dict(clip_norm=1.0)),
        (adam, dict(betas=(0.5, 0.9))),
        (adam, dict(eps=0.1, weight_decay=0.1, clip_norm=1.0)),
        (tsm_optimizer, dict(momentum=0.5, weight_decay=0.1, clip_norm=1.0)),
    ],
)
@pytest.mark.parametrize("kind", [np.float64, np.float32, np.array])
def test_numbers_of_numpy_are_as_pythons(make, numbers, kind):
    """They keep the type of the parameters and of the state, here bfloat16."""
    params = {"kernel": jnp.ones(2, jnp.bfloat16)}
    found = []
    for given_numbers in (numbers, jax.tree.map(kind, numbers)):
        optimizer = make(params, lambda step: 0.1, **given_numbers)
        state = optimizer.init(params)
        updates, after = optimizer.update(params, state, params)
        assert updates["kernel"].dtype == jnp.bfloat16
        assert jax.tree.map(jnp.result_type, after) == jax.tree.map(jnp.result_type, state)
        found.append(updates["kernel"])
    np.testing.assert_allclose(*np.asarray(found, np.float32), rtol=1e-2)


def test_a_traced_number_stays_one():
    params = {"kernel": jnp.ones(2)}

    def moved(decay):
        optimizer = sgd(params, lambda step: 0.1, weight_decay=decay)
        return optimizer.update(params, optimizer.init(params), params)[0]["kernel"]

    np.testing.assert_allclose(jax.jit(moved)(0.5), -0.15, rtol=1e-6)


def test_multipliers_of_numpy_keep_bfloat16():
    params = {"w": jnp.ones(2, jnp.bfloat16)}
    optimizer = sgd(params, lambda step: 0.1, rules=[("all", r".*", np.float64(0.5), np.float32(1))])
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    assert updates["w"].dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (sgd, dict(momentum=1.0), r"momentum=1.0; must be a number in \[0, 1\)"),
        (sgd, dict(weight_decay=-0.1), "weight_decay=-0.1; must be"),
        (sgd, dict(weight_decay="0.1"), "weight_decay='0.1'; must be a number"),
        (sgd, dict(clip_norm=-1.0), "clip_norm=-1.0; must be"),
        (adam, dict(betas=(0.9, 1.5)), "betas=1.5; must be"),
        (adam, dict(eps=float("nan")), "eps=nan; must be"),
    ],
)
def test_numbers_out_of_range_are_refused(make, options, message):
    with pytest.raises(ValueError, match=message):
        make({"w": jnp.ones(2)}, lambda step: 1.0, **options)


def test_traced_numbers_are_accepted():
    """As in a search over hyperparameters inside one compiled function."""
    params = {"w": jnp.ones(2)}

    def step(decay):
        optimizer = sgd(params, lambda step: 1.0, momentum=0.0, weight_decay=decay)
        return optimizer.update(params, optimizer.init(params), params)[0]["w"]

    np.testing.assert_allclose(jax.jit(step)(0.5), -1.5)
