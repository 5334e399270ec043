"""experiments/studies/messages.py, against sizes that follow from the network, and programs of known messages."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cli import ROOT
from jax.sharding import PartitionSpec

from actjax.training import Optimizer, Settings, devices, sgd
from actjax.training.task import Task

sys.path.append(str(ROOT / "experiments" / "studies"))
from messages import Collective, collectives, of_step, rows, sent  # noqa: E402

WIDTH, BATCH = 512, 16
SIZE = WIDTH * WIDTH * 4  # bytes of the parameters
optimizer = Optimizer(lambda steps_per_epoch: lambda n: 0.02, sgd)


def loss(variables, batch, key):
    return jnp.square(batch["x"] @ variables["params"]["w"]).mean(1), {}, {}


TASK = Task(lambda key: {"params": {"w": jnp.ones((WIDTH, WIDTH))}}, loss, None, None)
ITEM = {"x": np.broadcast_to(np.float32(0), (WIDTH,))}


def messages(**numbers):
    return of_step(TASK, optimizer, Settings(epochs=1, batch_size=BATCH, **numbers), ITEM)


@pytest.mark.parametrize(
    "bn, fsdp, accumulate", [("global", 1, 1), ("global", 1, 2), ("device", 1, 1), ("global", 8, 1), ("global", 8, 2)]
)
def test_messages_of_one_product(bn, fsdp, accumulate):
    """y = x w: what is sent is the gradient of w, and with `fsdp` w itself."""
    found = messages(bn=bn, fsdp=fsdp, accumulate=accumulate)
    if fsdp == 1:  # the gradient of every part goes round; apart, they are added up first
        assert sent(found) == pytest.approx(accumulate * 2 * 7 / 8 * SIZE, rel=0.01)
    else:  # the parameters come, the gradients go
        assert 1 + accumulate <= sent(found) / (7 / 8 * SIZE) <= 1.01 + 2 * accumulate
        assert {message.kind for message in found} >= {"all-gather"}
    first, *kinds = rows(found)
    assert first.startswith("sent by a device: ") and len(kinds) == len({message.kind for message in found})


def test_parts_on_each_device_are_sent_once():
    once, twice = messages(bn="device"), messages(bn="device", accumulate=2)
    assert sent(once) == pytest.approx(sent(twice), rel=0.01)


KINDS = {
    "all-reduce": (lambda x: jax.lax.psum(x, "fsdp"), 4000, 6000),
    "all-gather": (lambda x: jax.lax.all_gather(x, "fsdp"), 16000, 12000),
    "reduce-scatter": (lambda x: jax.lax.psum_scatter(x, "fsdp", tiled=True), 1000, 3000),
    "all-to-all": (lambda x: jax.lax.all_to_all(x, "fsdp", 0, 0, tiled=True), 4000, 3000),
    "collective-permute": (lambda x: jax.lax.ppermute(x, "fsdp", [(k, (k + 1) % 4) for k in range(4)]), 4000, 4000),
}


@pytest.mark.parametrize("kind", KINDS)
def test_messages_of_every_kind(kind):
    """4,000 bytes on each of four neighbours among eight devices."""
    function, size, sent = KINDS[kind]
    mesh = devices.make_mesh(8, fsdp=4)
    split = PartitionSpec(mesh.axis_names)
    shared = jax.shard_map(function, mesh=mesh, in_specs=split, out_specs=split, check_vma=False)
    found = collectives(jax.jit(shared).lower(np.zeros(8000, np.float32)).compile().as_text(), num_devices=8)
    (message,) = found
    assert found[message] == 1 and (message.kind, message.size, message.sent) == (kind, size, sent)


def program(body: str, *, condition: str = '"known_trip_count":{"n":"5"}') -> str:
    return f"""HloModule jit_f
%inner (p: f32[10]) -> f32[10] {{
  {body}
}}
ENTRY %main (p: f32[10]) -> f32[10] {{
  %w = f32[10]{{0}} while(%p), condition=%c, body=%inner, backend_config={{{condition}}}
}}
"""


def test_messages_in_a_loop_count_as_often_as_it_runs():
    line = "%r = (f32[10]{0}, bf16[10]{0}) all-reduce(%p, %q), replica_groups={{0,1},{2,3}}, to_apply=%add"
    assert collectives(program(line), num_devices=4) == {Collective("all-reduce", 60, 2): 5}
    with pytest.raises(ValueError, match="loop of unknown length"):
        collectives(program(line, condition=""), num_devices=4)
    assert not collectives(program("%r = f32[10]{0} add(%p, %q)", condition=""), num_devices=4)


@pytest.mark.parametrize(
    "groups, size",
    [
        ("replica_groups={}", 8),
        ("replica_groups={{0,4},{1,5},{2,6},{3,7}}", 2),
        ("replica_groups=[2,4]<=[8]", 4),
        ("replica_groups=mesh['a'=2,'b'=4], device_ids=([8]) {'b'}", 4),
    ],
)
def test_groups_in_every_spelling(groups, size):
    line = f"%r = f32[10]{{0}} all-reduce-start(%p), channel_id=1, {groups}, to_apply=%add"
    assert [message.group for message in collectives(program(line), num_devices=8)] == [size]


def test_what_starts_and_ends_apart_counts_its_result_alone():
    line = "%r = (f32[10]{0}, f32[40]{0}) all-gather-start(%p), replica_groups=[1,4]<=[4], dimensions={0}"
    assert [message.size for message in collectives(program(line), num_devices=4)] == [160]


def test_a_device_alone_sends_nothing():
    line = "%r = f32[10]{0} all-reduce(%p), replica_groups={{0},{1}}, to_apply=%add"
    assert not collectives(program(line), num_devices=2)
