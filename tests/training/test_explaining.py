"""What a step costs, against sizes that follow from the network."""

import jax.numpy as jnp
import numpy as np
import pytest

from actjax.training import Optimizer, Settings, explain, sgd
from actjax.training.task import Task

WIDTH, BATCH = 512, 16
optimizer = Optimizer(lambda steps_per_epoch: lambda n: 0.02, sgd)


def loss(variables, batch, key):
    return jnp.square(batch["x"] @ variables["params"]["w"]).mean(1), {}, {}


TASK = Task(lambda key: {"params": {"w": jnp.ones((WIDTH, WIDTH))}}, loss, None, None)
ITEM = {"x": np.broadcast_to(np.float32(0), (WIDTH,))}


def costs(**numbers):
    return explain(TASK, optimizer, Settings(epochs=1, batch_size=BATCH, **numbers), ITEM)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("bn, fsdp", [("global", 1), ("device", 1), ("global", 8)])
def test_costs_of_one_product(bn, fsdp, accumulate):
    """y = x w: 2 b w^2 operations forward, as many for the gradient of w; w and its momentum are the state."""
    if accumulate == 2 and bn != "global":
        return
    found, size = costs(bn=bn, fsdp=fsdp, accumulate=accumulate), WIDTH * WIDTH * 4
    assert found.devices == 8 and found.parameters == WIDTH * WIDTH
    assert 4 * BATCH * WIDTH * WIDTH <= found.flops <= 1.2 * 4 * BATCH * WIDTH * WIDTH  # and the optimizer's few
    assert found.state == pytest.approx(2 * size / fsdp, rel=0.01)
    assert found.state_in_all == pytest.approx(2 * size, rel=0.01)
    assert found.memory > found.state
    names = [name for name, _ in found.rows()]
    assert len(names) == len(set(names)) and "memory per device" in names


def test_batches_must_divide():
    with pytest.raises(ValueError, match="batch_size=16 is not divisible by 8 devices in 4 parts"):
        costs(accumulate=4)
