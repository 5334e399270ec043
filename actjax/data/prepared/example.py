"""Values -> a serialized `tf.train.Example`, and the position of each value in it.

A protocol buffer library does not report where it puts the values, so the few bytes around them are written here.
"""

import numpy as np


def encode_example(values: dict[str, list[bytes] | np.ndarray]) -> tuple[bytes, dict[str, list[tuple[int, int]]]]:
    """A serialized `tf.train.Example`, and (offset, length) in it of the payloads of each feature.

    A list of bytes has one payload per item, an array one in all: int64 for non-negative integers, float32 for floats.
    """
    body, spans, place = [], {}, 0
    for name, value in values.items():
        kind, payloads = _payloads(value)
        heads = [_head(1, len(payload)) for payload in payloads]
        size = sum(map(len, heads)) + sum(map(len, payloads))
        entry = _head(1, len(name)) + name.encode() + _nested(size, 2, kind)
        body.append(_head(1, len(entry) + size) + entry)
        place += len(body[-1])
        spans[name] = []
        for head, payload in zip(heads, payloads, strict=True):
            body += [head, payload]
            spans[name].append((place + len(head), len(payload)))
            place += len(head) + len(payload)
    start = _head(1, place)
    moved = {name: [(len(start) + at, length) for at, length in places] for name, places in spans.items()}
    return b"".join([start, *body]), moved


def _payloads(value) -> tuple[int, list[bytes]]:
    """The field number in `tf.train.Feature` for a value, and its payloads."""
    if isinstance(value, list):
        return 1, value
    if value.dtype.kind == "f":
        return 2, [value.astype("<f4").tobytes()]
    return 3, [b"".join(map(_varint, value.tolist()))]


def _nested(size: int, outer: int, inner: int) -> bytes:
    head = _head(inner, size)
    return _head(outer, len(head) + size) + head


def _head(field: int, size: int) -> bytes:
    return bytes([field << 3 | 2]) + _varint(size)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])
