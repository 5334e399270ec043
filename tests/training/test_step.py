"""One update: the same on one device and on eight, batch norm included."""

import functools
import runpy

import jax
import numpy as np
import pytest
from conftest import ROOT
from drawn import drawn
from jax.sharding import PartitionSpec

from actjax.models import TSM
from actjax.tasks import build
from actjax.tasks.recognition.task import recognition_task
from actjax.training import devices, freeze, frozen_rules, param_groups, sgd, step, tsm_rules
from actjax.training.program import make_program

# Two stages with all that a step has to do with; ResNet takes four times as long to compile.
tiny = functools.partial(TSM, num_classes=4, arch="outside_nets:TinyNet", arch_options={"channels": 16})
TASK = recognition_task(tiny(dropout=0.5), average_clips="prob")
schedule = lambda n: 0.05
optimizer = functools.partial(sgd, schedule=schedule, weight_decay=1e-4, clip_norm=20.0)


def batch_of(number, size=8):
    rng = np.random.default_rng(number)
    video = rng.integers(0, 256, (size, 1, 4, 32, 32, 3), dtype=np.uint8)
    return {"video": video, "label": rng.integers(0, 4, size).astype(np.int32)}


VARIABLES = drawn(TASK.init, classifier_std=0.003)  # those of all networks below, which differ in no shape


def create_of(**extras):
    """() -> the state before the first step."""
    return functools.partial(step.create_state, seed=0, init=lambda key: VARIABLES, tx=optimizer, **extras)


def start_of(**extras):
    return jax.jit(create_of(**extras))()


def run(num_devices, *, bn="global", fsdp=1, steps=5, task=TASK, scale_loss=False, whole=True, **choices):
    mesh = devices.make_mesh(num_devices, fsdp=fsdp, group=step.bn_group(bn))
    extras = dict(scale_loss=scale_loss, ema="ema" in choices)
    create = create_of(**extras)
    places = devices.shardings_of(step.shapes_of(create, mesh))
    state = jax.jit(create, out_shardings=places)()
    update = jax.jit(
        functools.partial(step.update, loss=task.loss, tx=optimizer, schedule=schedule, mesh=mesh, bn=bn, **choices),
        donate_argnums=0,
        out_shardings=(places, devices.replicate(mesh)),
    )
    losses = []
    for number in range(steps):
        state, numbers = update(state, devices.put(batch_of(number), devices.split(mesh)))
        losses.append(float(numbers["loss"]))
    return losses, jax.tree.map(np.asarray, state) if whole else state


def assert_near(left, right, atol=1e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=atol), left, right)


def test_eight_devices_equal_one():
    """Loss, parameters, momentum, batch statistics after five steps, dropout on."""
    one, eight = run(1), run(8)
    np.testing.assert_allclose(one[0], eight[0], rtol=1e-5)
    assert_near(one[1], eight[1])


def test_a_shared_state_trains_as_a_copied_one():
    """Parameters, momentum and moving average divided among eight devices; each holds at most a sixth of them."""
    copied, state = run(1, ema=0.9)
    shared, divided = run(8, fsdp=8, ema=0.9, whole=False)
    np.testing.assert_allclose(copied, shared, rtol=1e-5)
    assert_near(state, jax.tree.map(np.asarray, divided))
    for part in (divided.variables["params"], divided.opt_state, divided.ema):
        arrays = [x for x in jax.tree.leaves(part) if x.size >= devices.SMALLEST]
        held = sum(x.addressable_shards[0].data.nbytes for x in arrays)
        assert held * 8 == sum(x.nbytes for x in arrays)
        assert devices.bytes_of(part)[0] == sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(part))


def test_a_device_holds_a_sixth_of_the_sample_config():
    """All of parameters, statistics and momentum, small arrays too."""
    config = runpy.run_path(str(ROOT / "configs" / "tsm_shapes.py"))["get_config"]()
    with config.unlocked():
        config.run.fsdp = -1
    made = build(config).network
    shapes = make_program(made.task, made.optimizer, made.settings).shapes
    for part in (shapes.variables["params"], shapes.opt_state, shapes):
        held, whole = devices.bytes_of(part)
        assert held <= whole / 6


def test_where_the_parts_of_a_state_lie():
    mesh = devices.make_mesh(8, fsdp=4)
    shapes = {name: np.zeros(shape) for name, shape in dict(cut=(3, 3, 64, 128), short=(64,), odd=(1023, 3)).items()}
    places = devices.share(shapes, mesh)
    assert places["cut"].spec == PartitionSpec(None, None, None, "fsdp")
    assert places["short"].spec == places["odd"].spec == PartitionSpec()
    assert devices.share(shapes, devices.make_mesh(8))["cut"].spec == PartitionSpec()


@pytest.mark.parametrize("numbers", [dict(fsdp=3), dict(group=3), dict(group=2, fsdp=4)])
def test_devices_must_divide(numbers):
    with pytest.raises(ValueError, match="run.fsdp=.*8 devices"):
        devices.make_mesh(8, **numbers)


def test_names_of_batch_norm():
    assert [step.bn_group(name) for name in ("global", "device", "group:4")] == [1, 1, 4]
    for name in ("group", "group:0", "group:x", "local", "device:2"):
        with pytest.raises(ValueError, match=f"run.bn='{name}'; choose from"):
            step.bn_group(name)


@pytest.mark.parametrize("bn, fsdp, groups", [("device", 1, 8), ("device", 8, 8), ("group:2", 1, 4), ("group:4", 2, 2)])
def test_batch_norm_is_that_of_each_share(bn, fsdp, groups):
    """Against a batch for each group through the same model, their losses and gradients averaged by hand."""
    task = recognition_task(tiny(dropout=0.0), average_clips="prob")
    losses, state = run(8, bn=bn, fsdp=fsdp, steps=1, task=task)
    start = start_of()
    params, batch = start.variables["params"], batch_of(0)

    def share(params, rows):
        value, updated, _ = task.loss({**start.variables, "params": params}, rows, jax.random.key(0))
        return value.mean(), updated

    shares = zip(*(np.split(values, groups) for values in batch.values()), strict=True)
    each = [dict(zip(batch, rows, strict=True)) for rows in shares]
    results = list(map(jax.jit(functools.partial(jax.value_and_grad(share, has_aux=True), params)), each))
    mean = lambda *leaves: np.mean(leaves, axis=0)
    np.testing.assert_allclose(losses[0], np.mean([value for (value, _), _ in results]), rtol=1e-5)
    gradient = jax.tree.map(mean, *[gradient for _, gradient in results])
    tx = optimizer(params)
    updates, _ = tx.update(gradient, tx.init(params), params)
    assert_near(state.variables["params"], jax.tree.map(lambda p, u: p + u, params, updates))
    stats = jax.tree.map(mean, *[updated["batch_stats"] for (_, updated), _ in results])
    assert_near(state.variables["batch_stats"], stats)


def test_global_and_device_statistics_differ():
    assert abs(run(8, bn="global", steps=1)[0][0] - run(8, bn="device", steps=1)[0][0]) > 1e-4


def test_same_seed_same_bits_and_dropout_changes_with_the_step():
    first, second = run(1, steps=2), run(1, steps=2)
    jax.tree.map(np.testing.assert_array_equal, first, second)
    key = jax.random.key(0)
    assert (step.named_key(key, "init") != step.named_key(key, "train")).all()


def test_batch_must_divide():
    with pytest.raises(ValueError, match="batch_size=12 is not divisible by 8 devices"):
        devices.check_batch_size(12, devices.make_mesh())


@pytest.mark.parametrize("bn", ["global", "device"])
def test_accumulated_gradients_are_those_of_the_whole_batch(bn):
    """With batch norms that keep their statistics, so that parts do not differ from the whole."""
    model = tiny(dropout=0.0, norm_eval=True)
    task = recognition_task(model, average_clips="prob")
    whole, parts = (run(2, bn=bn, steps=3, task=task, accumulate=k) for k in (1, 4))
    np.testing.assert_allclose(whole[0], parts[0], rtol=1e-5)
    assert_near(whole[1], parts[1])


def test_statistics_pass_from_part_to_part():
    """Four parts of two clips update the running statistics as four steps of two clips do."""
    task = recognition_task(tiny(dropout=0.0), average_clips="prob")
    _, state = run(1, steps=1, task=task, accumulate=4)
    start = start_of()
    variables, batch = start.variables, batch_of(0)
    statistics = jax.jit(lambda variables, rows: task.loss(variables, rows, jax.random.key(0))[1])
    for part in range(4):
        rows = {name: values[part::4] for name, values in batch.items()}
        variables = {**variables, **statistics(variables, rows)}
    assert_near(state.variables["batch_stats"], variables["batch_stats"])


def test_moving_average_follows_the_variables():
    """Against the rule written out; in the first steps the decay is less."""
    state = start_of(ema=True)
    choices = dict(tx=optimizer, schedule=schedule, mesh=devices.make_mesh(1), bn="global", ema=0.15)
    update = jax.jit(functools.partial(step.update, loss=TASK.loss, **choices))
    average = state.variables
    for number, decay in enumerate((0.1, 0.15, 0.15)):
        state, _ = update(state, batch_of(number))
        average = jax.tree.map(lambda a, b, d=decay: d * a + (1 - d) * b, average, state.variables)
        assert_near(state.ema, average)
        assert state.eval_variables is state.ema


def test_float16_trains_and_an_overflow_is_left_out():
    model = tiny(dropout=0.0, dtype="float16")
    task = recognition_task(model, average_clips="prob")
    half, state = run(1, steps=4, task=task, scale_loss=True)
    full, _ = run(1, steps=4, task=recognition_task(model.clone(dtype="float32"), average_clips="prob"))
    np.testing.assert_allclose(half, full, rtol=2e-2)
    assert state.loss_scale == (2.0**16, 4)
    # A scale far too large: the gradients overflow, nothing moves, the scale is halved.
    mesh = devices.make_mesh(1)
    start = start_of(scale_loss=True)
    start = start._replace(loss_scale=step.LossScale(np.float32(2.0**120), np.int32(7)))
    choices = dict(loss=task.loss, tx=optimizer, schedule=schedule, mesh=mesh, bn="global")
    after, numbers = jax.jit(functools.partial(step.update, **choices))(start, batch_of(0))
    assert numbers["skipped"] == 1 and numbers["grad_norm"] == 0 and np.isfinite(numbers["loss"])
    assert after.step == 1 and after.loss_scale == (2.0**119, 0)
    jax.tree.map(np.testing.assert_array_equal, after.variables, start.variables)
    jax.tree.map(np.testing.assert_array_equal, after.opt_state[:-1], start.opt_state[:-1])


def test_scale_grows_after_enough_good_steps():
    scale = step.LossScale(np.float32(8), np.int32(step.GROWTH_INTERVAL - 1)).adjust(np.bool_(True))
    assert scale == (16, 0)
    assert scale.adjust(np.bool_(True)) == (16, 1)
    assert scale.adjust(np.bool_(False)) == (8, 0)


def test_what_is_frozen_stays_and_counts_in_no_norm():
    model = tiny(dropout=0.0, frozen_stages=1)
    task = recognition_task(model, average_clips="prob")
    start = start_of()
    rules = (*frozen_rules(model.freezing.patterns()), *tsm_rules())
    groups = param_groups(start.variables["params"], rules)
    tx = functools.partial(sgd, schedule=schedule, weight_decay=1e-4, rules=rules)
    choices = dict(loss=task.loss, tx=tx, schedule=schedule, mesh=devices.make_mesh(1), bn="global")
    update = jax.jit(functools.partial(step.update, freeze=lambda params: freeze(params, groups), **choices))
    after, numbers = update(start, batch_of(0))
    for collection in ("params", "batch_stats"):
        before, now = start.variables[collection]["backbone"], after.variables[collection]["backbone"]
        for name in before:
            same = jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), before[name], now[name]))
            assert all(same) if name.startswith(("patches", "early")) else not any(same), name
    _, whole = jax.jit(functools.partial(step.update, **choices))(start, batch_of(0))
    assert 0 < numbers["grad_norm"] < whole["grad_norm"]
