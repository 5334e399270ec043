r"""Estimates weak scaling of a training step from its time on one device and the messages of the compiled program.

    python experiments/studies/scaling.py --config=tsm_r50_1x1x8_50e_kinetics400_rgb:scratch
    python experiments/studies/scaling.py --config=tsm_shapes --step_seconds=0.05 --config.run.bn=device

Every device gets `--clips` clips. The script compiles a step for one node of `--node` simulated devices and reads the
messages from it. It measures the step time on one device unless `--step_seconds` gives it. docs/scaling.md has the
formula.
"""

import math
import statistics
import subprocess
import sys
import time
from collections import Counter

from absl import app, flags

from actjax.config.overrides import split_flags

_CONFIG = flags.DEFINE_string("config", None, "Recipe or file of a recogniser, with an optional :argument.")
_CLIPS = flags.DEFINE_integer("clips", 8, "Clips of each device.")
_STEP_SECONDS = flags.DEFINE_float("step_seconds", None, "Of one device without others; default: measured here.")
_NODE = flags.DEFINE_integer("node", 8, "Devices of a node.")
_INSIDE = flags.DEFINE_float("inside_gb_s", 450.0, "GB/s that a device sends inside its node; NVLink 4: 450.")
_BETWEEN = flags.DEFINE_float("between_gb_s", 50.0, "GB/s that a device sends to other nodes; 400 Gbit/s: 50.")
_USED = flags.DEFINE_float("used", 0.8, "Share of these speeds that large messages reach.")
_INSIDE_US = flags.DEFINE_float("inside_us", 3.0, "Microseconds of a message's way to a neighbour in the node.")
_BETWEEN_US = flags.DEFINE_float("between_us", 10.0, "Microseconds of a message's way to another node.")
_MEASURE = flags.DEFINE_bool("measure", False, "Only measure, and print the seconds of a step.")
_CHANGES: dict = {}  # overrides of the config

NODES = (1, 2, 4, 8, 16, 32, 64, 128)
SMALL = 2**18  # bytes: below, statistics of batch norm, which the next layer waits for; above, gradients
BACKWARD = 2 / 3  # of a step: the time in which gradients can be on their way


def message_seconds(message, nodes: int) -> float:
    """Of one message among all devices of `nodes` nodes: inside the node, between nodes, inside again.

    A device sends (g - 1) / g of the message inside its node of g devices, and its own g-th part of it on to the other
    nodes, for each of the two halves of an all-reduce: summing up and handing out.
    """
    g, halves = message.group, 2 if message.kind == "all-reduce" else 1
    size = message.size * (g if message.kind == "reduce-scatter" else 1)
    inside = halves * size * (g - 1) / g / (_INSIDE.value * 1e9 * _USED.value)
    between = halves * size / g * (nodes - 1) / nodes / (_BETWEEN.value * 1e9 * _USED.value)
    hops = (g - 1) * _INSIDE_US.value + math.ceil(math.log2(nodes)) * _BETWEEN_US.value
    return inside + between + halves * hops * 1e-6


def step_seconds(compute: float, collectives, nodes: int) -> tuple[float, float]:
    """Of a step if gradients travel while the rest of them is computed, and if nothing overlaps."""
    total = lambda chosen: sum(message_seconds(m, nodes) * count for m, count in collectives.items() if chosen(m))
    waited, gradients = total(lambda m: m.size < SMALL), total(lambda m: m.size >= SMALL)
    return compute + waited + max(0.0, gradients - BACKWARD * compute), compute + waited + gradients


def measured(repeats: int = 3) -> float:
    """Seconds of a step on the devices of this machine, the median of `repeats`."""
    import jax
    import numpy as np

    from actjax.door import build
    from actjax.training import devices
    from actjax.training.program import make_program

    network = build(_CONFIG.value, **_CHANGES).network
    batch_size = _CLIPS.value * jax.device_count()
    program = make_program(network.task, network.optimizer, network.settings._replace(batch_size=batch_size))
    rows = {name: np.repeat(np.asarray(x)[None], batch_size, axis=0) for name, x in network.element_spec.items()}
    batch, state, seconds = devices.put(rows, devices.split(program.mesh)), program.start(), []
    for _ in range(repeats + 1):  # the first one compiles
        begun = time.perf_counter()
        state, numbers = jax.block_until_ready(program.update(state, batch))
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds[1:])


def step_messages() -> Counter:
    """How many there are of each message in a step on a node, which are shown."""
    import jax

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", _NODE.value)
    import messages

    from actjax.door import build

    experiment = build(_CONFIG.value, **_CHANGES)
    settings = experiment.network.settings._replace(batch_size=_CLIPS.value * _NODE.value, eval_batch_size=None)
    found = messages.of_step(
        experiment.network.task, experiment.network.optimizer, settings, experiment.network.element_spec
    )
    print(*messages.rows(found), sep="\n")
    return found


def main(argv: list[str]) -> None:
    if _MEASURE.value:
        return print(measured())
    compute = _STEP_SECONDS.value
    if compute is None:  # in a process with the real devices
        again = [sys.executable, *sys.argv, "--measure"]
        compute = float(subprocess.run(again, check=True, capture_output=True, text=True).stdout.split()[-1])
    print(f"a step of {_CLIPS.value} clips on one device: {compute:.4g} s")
    found = step_messages()
    if any(message.group != _NODE.value for message in found):
        raise SystemExit("error: run.bn='group:K' or run.fsdp below a node: not all messages go to all devices")
    print("\n| devices | step, overlapping | step, one after the other | efficiency | clips/s |")
    print("| --- | --- | --- | --- | --- |")
    for nodes in NODES:
        number = nodes * _NODE.value
        best, worst = step_seconds(compute, found, nodes)
        rates = " to ".join(f"{_CLIPS.value * number / seconds:,.0f}" for seconds in (worst, best))
        print(
            f"| {number:,} | {best * 1e3:.1f} ms | {worst * 1e3:.1f} ms "
            f"| {compute / worst:.1%} to {compute / best:.1%} | {rates} |"
        )


def _parse_flags(argv: list[str]) -> list[str]:
    rest, changes = split_flags(argv[1:])
    _CHANGES.update(changes)
    return flags.FLAGS([argv[0], *rest])


if __name__ == "__main__":
    app.run(main, flags_parser=_parse_flags)
