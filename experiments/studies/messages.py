"""Counts the messages between devices in a training step, from the program that XLA compiled.

XLA combines messages differently on CPUs and GPUs: their number may differ, but not their total size. (One exception:
a reduce-scatter on a GPU is an all-reduce on a CPU, which sends twice as much.)
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from actjax.training.explaining import lower
from actjax.training.program import make_program


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


def of_step(task, optimizer, settings, item: dict) -> Counter:
    """How many there are of each `Collective` in a training step on the devices there are.

    Args:
      task, optimizer, settings, item: as of `actjax.training.explain`.

    Raises:
      ValueError: the batch does not divide by the devices.
    """
    program = make_program(task, optimizer, settings).check_batches(settings)
    hlo = lower(program, settings, item).compile().as_text()
    return collectives(hlo, num_devices=program.mesh.size)


def sent(messages: Counter) -> float:
    """Bytes that each device sends in a step."""
    return sum(message.sent * count for message, count in messages.items())


def rows(messages: Counter) -> Iterator[str]:
    """Lines that tell what is sent: in all, and by kind."""
    yield f"sent by a device: {sent(messages) / 1e6:.4g} MB a step, {sum(messages.values())} messages"
    for kind in sorted({message.kind for message in messages}):
        found = {message: count for message, count in messages.items() if message.kind == kind}
        size = sum(message.size * count for message, count in found.items())
        groups = "/".join(str(group) for group in sorted({message.group for message in found}))
        yield f"{kind}: {sum(found.values())} of {size / 1e6:.4g} MB in all, among {groups} devices"


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
