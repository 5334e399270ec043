"""One update: the same on one device and on eight, batch norm included."""

import functools

import jax
import numpy as np
import pytest

from actjax.models import TSM
from actjax.tasks import recognition
from actjax.training import devices, sgd, step

TASK = recognition(TSM(num_classes=4, depth=10, width=8, small_input=True, dropout=0.5), average_clips="prob")
schedule = lambda n: 0.05
optimizer = functools.partial(sgd, schedule=schedule, weight_decay=1e-4, clip_norm=20.0)


def batch_of(number, size=8):
    rng = np.random.default_rng(number)
    video = rng.integers(0, 256, (size, 1, 4, 32, 32, 3), dtype=np.uint8)
    return {"video": video, "label": rng.integers(0, 4, size).astype(np.int32)}


def run(num_devices, *, bn="global", steps=5, task=TASK):
    mesh = devices.make_mesh(num_devices)
    everywhere = devices.replicate(mesh)
    create = functools.partial(step.create_state, seed=0, init=task.init, tx=optimizer)
    state = jax.jit(create, out_shardings=everywhere)()
    update = jax.jit(
        functools.partial(step.update, loss=task.loss, tx=optimizer, schedule=schedule, mesh=mesh, bn=bn),
        out_shardings=everywhere,
    )
    losses = []
    for number in range(steps):
        state, numbers = update(state, devices.put(batch_of(number), devices.split(mesh)))
        losses.append(float(numbers["loss"]))
    return losses, jax.tree.map(np.asarray, state)


def assert_near(left, right, atol=1e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=atol), left, right)


def test_eight_devices_equal_one():
    """Loss, parameters, momentum, batch statistics after five steps, dropout on."""
    one, eight = run(1), run(8)
    np.testing.assert_allclose(one[0], eight[0], rtol=1e-5)
    assert_near(one[1], eight[1])


def test_batch_norm_per_device_is_that_of_each_share():
    """Against eight one-clip batches through the same model, their losses and gradients averaged by hand."""
    task = recognition(TSM(num_classes=4, depth=10, width=8, small_input=True, dropout=0.0), average_clips="prob")
    losses, state = run(8, bn="device", steps=1, task=task)
    start = step.create_state(seed=0, init=task.init, tx=optimizer)
    params, batch = start.variables["params"], batch_of(0)

    def share(params, rows):
        value, updated, _ = task.loss({**start.variables, "params": params}, rows, jax.random.key(0))
        return value.mean(), updated

    each = [{name: values[i : i + 1] for name, values in batch.items()} for i in range(8)]
    results = [jax.value_and_grad(share, has_aux=True)(params, rows) for rows in each]
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
    with pytest.raises(ValueError, match="batch_size=12 does not divide by 8 devices"):
        devices.check_batch_size(12, devices.make_mesh())
