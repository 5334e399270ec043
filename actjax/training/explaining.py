"""What a training step costs, read from the compiled program: operations, memory, bytes between devices."""

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np

from actjax.training import devices
from actjax.training.optimizers import Optimizer
from actjax.training.program import Settings, make_program


class Collective(NamedTuple):
    """A message among devices.

    kind: "all-reduce", "all-gather", "reduce-scatter", "all-to-all" or "collective-permute".
    size: bytes of its result on one device.
    group: devices that take part.
    """

    kind: str
    size: int
    group: int

    @property
    def sent(self) -> float:
        """Bytes that each device sends, by the algorithm with the least traffic (a ring)."""
        others = self.group - 1
        share = {"all-reduce": 2 * others / self.group, "reduce-scatter": others, "collective-permute": 1.0}
        return self.size * share.get(self.kind, others / self.group)


class Explanation(NamedTuple):
    """What one step of training costs.

    devices, batch_size: of the run. parameters: numbers that are parameters.
    flops: floating point operations for the whole batch, forward and backward, as XLA counts them.
    state, state_in_all: bytes of parameters, optimizer state and averages on one device, and in all without copies.
    memory: bytes of a device that the compiled step needs: its arguments, results and everything between.
    collectives: messages of a step, and how many there are of each.
    """

    devices: int
    batch_size: int
    parameters: int
    flops: float
    state: int
    state_in_all: int
    memory: int
    collectives: Counter

    @property
    def sent(self) -> float:
        """Bytes that each device sends in a step."""
        return sum(message.sent * count for message, count in self.collectives.items())

    def rows(self) -> list[tuple[str, str]]:
        """Name and value of each number, to be shown."""
        return [
            ("devices", f"{self.devices}"),
            ("batch", f"{self.batch_size}"),
            ("parameters", f"{self.parameters:,}"),
            ("operations of a step", f"{_si(self.flops)}FLOP, {_si(self.flops / self.batch_size)}FLOP a record"),
            ("state on a device", f"{_si(self.state)}B of {_si(self.state_in_all)}B"),
            ("memory of a device", f"{_si(self.memory)}B, of which state {self.state / self.memory:.0%}"),
            *self.messages(),
        ]

    def messages(self) -> Iterator[tuple[str, str]]:
        """The rows about what is sent: in all, and by kind."""
        yield "sent by a device", f"{_si(self.sent)}B a step, {sum(self.collectives.values())} messages"
        for kind in sorted({message.kind for message in self.collectives}):
            found = {message: count for message, count in self.collectives.items() if message.kind == kind}
            size = sum(message.size * count for message, count in found.items())
            groups = "/".join(str(group) for group in sorted({message.group for message in found}))
            yield f"  {kind}", f"{sum(found.values())} of {_si(size)}B in all, among {groups} devices"


def explain(task, optimizer: Optimizer, settings: Settings, item: dict) -> Explanation:
    """Compiles a training step for the devices that there are, without running it.

    Args:
      item: what of one record becomes part of a batch: arrays, or anything with `shape` and `dtype`.

    Raises:
      ValueError: the batch does not divide by the devices.
    """
    program = make_program(task, optimizer, settings).check_batches(settings)
    lowered = _lowered(program, settings, item)
    compiled = lowered.compile()
    needed = compiled.memory_analysis()
    # XLA counts but once what is inside a loop, or on each device: the whole batch in one piece tells all operations.
    whole = settings._replace(accumulate=1, bn="global", fsdp=1)
    counted = lowered if whole == settings else _lowered(make_program(task, optimizer, whole), whole, item)
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
        collectives=collectives(compiled.as_text(), num_devices=program.mesh.size),
    )


def _lowered(program, settings: Settings, item: dict):
    shape = lambda x: jax.ShapeDtypeStruct(
        (settings.batch_size, *np.shape(x)), x.dtype, sharding=devices.split(program.mesh)
    )
    return program.update.lower(program.shapes, jax.tree.map(shape, item))


_KINDS = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute"
_COLLECTIVE = re.compile(rf" = (.*?) ({_KINDS})(-start)?\(")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) \(.*\{$")
_CALLED = re.compile(r"(?:calls|to_apply|body|true_computation|false_computation)=%?([\w.-]+)")
_BRANCHES = re.compile(r"branch_computations=\{(.*?)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_ARRAY = re.compile(r"\b(pred|[a-z]+(\d+)\w*)\[([\d,]*)\]")


def collectives(hlo: str, *, num_devices: int) -> Counter:
    """The messages of a compiled program: how many there are of each `Collective`.

    Those inside a loop count as often as it runs; ValueError if that is not known. Those of one device to itself count
    not at all.

    Args:
      hlo: what `compiled.as_text()` gives.
      num_devices: of the program.
    """
    computations, entry = _computations(hlo)

    def count(name: str) -> Counter:
        total = Counter()
        for line in computations[name]:
            if found := _COLLECTIVE.search(line):
                total[_collective(line, *found.groups(), num_devices=num_devices)] += 1
            for inner in _called(line):
                messages = count(inner) if inner in computations else Counter()
                total.update({message: number * _trips(line, messages) for message, number in messages.items()})
        return total

    return Counter({message: number for message, number in count(entry).items() if message.group > 1})


def _computations(hlo: str) -> tuple[dict[str, list[str]], str]:
    """The lines of each computation of a program, and the name of the one it begins with."""
    computations, entry, lines = {}, "", []
    for line in hlo.splitlines():
        if found := _COMPUTATION.match(line):
            lines = computations[found[2]] = []
            entry = found[2] if found[1] else entry
        else:
            lines.append(line)
    return computations, entry


def _called(line: str) -> list[str]:
    branches = _BRANCHES.search(line)
    return _CALLED.findall(line) + (re.findall(r"[\w.-]+", branches[1]) if branches else [])


def _trips(line: str, messages: Counter) -> int:
    """How often what `line` calls is run."""
    if " while(" not in line:
        return 1
    found = _TRIPS.search(line)
    if found is None and messages:
        raise ValueError("a loop of unknown length sends messages: their number cannot be told")
    return int(found[1]) if found else 1


def _collective(line: str, result: str, kind: str, start: str | None, *, num_devices: int) -> Collective:
    size, group = sum(map(_bytes, _ARRAY.finditer(result))), _group(line, num_devices)
    if start and kind == "all-gather":  # its result holds the argument, too
        size = size * group // (group + 1)
    if start and kind == "collective-permute":
        size //= 2
    return Collective(kind, size, group)


def _bytes(array: re.Match) -> int:
    bits = 8 if array[1] == "pred" else int(array[2])
    return math.prod(int(n) for n in array[3].split(",") if n) * bits // 8


def _group(line: str, num_devices: int) -> int:
    """Devices of a group, in each of the forms in which XLA writes them."""
    if "collective-permute" in line:
        return num_devices
    if listed := re.search(r"replica_groups=\{\{([\d,]*)\}", line):
        return listed[1].count(",") + 1
    if iota := re.search(r"replica_groups=\[\d+,(\d+)\]<=", line):
        return int(iota[1])
    if mesh := re.search(r"replica_groups=mesh\[(.*?)\].*?\{(.*?)\}", line):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", mesh[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'(\w+)'", mesh[2]))
    return num_devices


def _si(value: float) -> str:
    """Three digits and a prefix, as 1.23 G."""
    thousands = 0
    while value >= 1000:
        value, thousands = value / 1000, thousands + 1
    return f"{value:.3g} {['', 'k', 'M', 'G', 'T', 'P'][thousands]}"
