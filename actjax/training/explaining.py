"""What a training step costs, read from the compiled program: operations and memory."""

import math
from typing import NamedTuple

import jax
import numpy as np

from actjax.training import devices
from actjax.training.optimizers import Optimizer
from actjax.training.program import Program, Settings, make_program


class Explanation(NamedTuple):
    """What one step of training costs.

    devices, batch_size: of the run. parameters: numbers that are parameters.
    flops: floating point operations for the whole batch, forward and backward, as XLA counts them.
    state, state_in_all: bytes of parameters, optimizer state and averages on one device, and in all without copies.
    memory: bytes of a device that the compiled step needs: its arguments, results and everything between.
    """

    devices: int
    batch_size: int
    parameters: int
    flops: float
    state: int
    state_in_all: int
    memory: int

    def rows(self) -> list[tuple[str, str]]:
        """Name and value of each number, to be shown."""
        return [
            ("devices", f"{self.devices}"),
            ("batch", f"{self.batch_size}"),
            ("parameters", f"{self.parameters:,}"),
            ("operations of a step", f"{_si(self.flops)}FLOP, {_si(self.flops / self.batch_size)}FLOP a record"),
            ("state on a device", f"{_si(self.state)}B of {_si(self.state_in_all)}B"),
            ("memory of a device", f"{_si(self.memory)}B, of which state {self.state / self.memory:.0%}"),
        ]


def explain(task, optimizer: Optimizer, settings: Settings, item: dict) -> Explanation:
    """Compiles a training step for the devices that there are, without running it.

    Args:
      item: what of one record becomes part of a batch: arrays, or anything with `shape` and `dtype`.

    Raises:
      ValueError: the batch does not divide by the devices.
    """
    program = make_program(task, optimizer, settings).check_batches(settings)
    lowered = lower(program, settings, item)
    needed = lowered.compile().memory_analysis()
    # XLA counts but once what is inside a loop, or on each device: the whole batch in one piece tells all operations.
    whole = settings._replace(accumulate=1, bn="global", fsdp=1)
    counted = lowered if whole == settings else lower(make_program(task, optimizer, whole), whole, item)
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


def lower(program: Program, settings: Settings, item: dict) -> jax.stages.Lowered:
    """The training step of `program`, to be compiled; arguments as of `explain`."""
    shape = lambda x: jax.ShapeDtypeStruct(
        (settings.batch_size, *np.shape(x)), x.dtype, sharding=devices.split(program.mesh)
    )
    return program.update.lower(program.shapes, jax.tree.map(shape, item))


def _si(value: float) -> str:
    """Three digits and a prefix, as 1.23 G."""
    thousands = 0
    while value >= 1000:
        value, thousands = value / 1000, thousands + 1
    return f"{value:.3g} {['', 'k', 'M', 'G', 'T', 'P'][thousands]}"
