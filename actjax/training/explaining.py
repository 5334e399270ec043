"""The cost of a training step, from the compiled program: FLOPs and memory."""

import math
from typing import NamedTuple

import jax
import numpy as np

from actjax.training import devices
from actjax.training.optimizers import Optimizer
from actjax.training.program import Program, Settings, make_program


class Explanation(NamedTuple):
    """The cost of one training step.

    devices: number of devices. batch_size: of the run. parameters: number of parameter values.
    flops: floating point operations for the whole batch, forward and backward, as XLA counts them.
    state: bytes of parameters, optimizer state and averages on one device. state_in_all: in total, without copies.
    memory: bytes that the compiled step needs on one device, for arguments, results and temporaries.
    """

    devices: int
    batch_size: int
    parameters: int
    flops: float
    state: int
    state_in_all: int
    memory: int

    def rows(self) -> list[tuple[str, str]]:
        """(name, formatted value) of each number, for display."""
        return [
            ("devices", f"{self.devices}"),
            ("batch", f"{self.batch_size}"),
            ("parameters", f"{self.parameters:,}"),
            ("FLOPs per step", f"{_si(self.flops)}FLOP, {_si(self.flops / self.batch_size)}FLOP per record"),
            ("state per device", f"{_si(self.state)}B of {_si(self.state_in_all)}B"),
            ("memory per device", f"{_si(self.memory)}B, of which the state is {self.state / self.memory:.0%}"),
        ]


def explain(task, optimizer: Optimizer, settings: Settings, element_spec: dict) -> Explanation:
    """Compiles a training step for the available devices, without running it.

    Args:
      element_spec: one record's part of a batch: arrays, or anything with `shape` and `dtype`.

    Raises:
      ValueError: the batch size is not divisible by the number of devices.
    """
    program = make_program(task, optimizer, settings).check_batches(settings)
    lowered = lower(program, settings, element_spec)
    needed = lowered.compile().memory_analysis()
    # XLA counts a loop body once, and with shard_map one device's work: count the whole batch in one piece instead.
    whole = settings._replace(accumulate=1, bn="global", fsdp=1)
    counted = lowered if whole == settings else lower(make_program(task, optimizer, whole), whole, element_spec)
    state, state_in_all = devices.bytes_of(program.shapes)
    return Explanation(
        devices=program.mesh.size,
        batch_size=settings.batch_size,
        parameters=sum(math.prod(x.shape) for x in jax.tree.leaves(program.shapes.variables["params"])),
        flops=counted.cost_analysis()["flops"],
        state=state,
        state_in_all=state_in_all,
        memory=needed.argument_size_in_bytes
        + needed.output_size_in_bytes
        - needed.alias_size_in_bytes
        + needed.temp_size_in_bytes,
    )


def lower(program: Program, settings: Settings, element_spec: dict) -> jax.stages.Lowered:
    """The lowered training step of `program`; arguments as for `explain`."""
    shape = lambda x: jax.ShapeDtypeStruct(
        (settings.batch_size, *np.shape(x)), x.dtype, sharding=devices.split(program.mesh)
    )
    return program.update.lower(program.shapes, jax.tree.map(shape, element_spec))


def _si(value: float) -> str:
    """Three digits and an SI prefix, for example 1.23 G."""
    thousands = 0
    while value >= 1000:
        value, thousands = value / 1000, thousands + 1
    return f"{value:.3g} {['', 'k', 'M', 'G', 'T', 'P'][thousands]}"
