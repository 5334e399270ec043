"""Checkpoints -> pickles in protocol 2, written opcode by opcode as torch.save does."""

import math
import struct

import numpy as np

from actjax.interop.unpickling import DEEPEST, KEYS, STORAGES

_NAMES = {dtype: name for name, dtype in STORAGES.items()}
_ORDERED = b"ccollections\nOrderedDict\n)R"


def pickled_checkpoint(arrays: dict, meta: dict) -> tuple[bytes, list[np.ndarray]]:
    """The pickle of a checkpoint, and the arrays that it refers to by index."""
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    tensors = [_text(name) + _tensor(name, str(key), array) for key, (name, array) in enumerate(arrays.items())]
    state = _ORDERED + b"(" + b"".join(tensors) + b"u"
    return b"\x80\x02}(" + _text("meta") + _plain(meta) + _text("state_dict") + state + b"u.", list(arrays.values())


def _tensor(name: str, key: str, array: np.ndarray) -> bytes:
    if array.dtype not in _NAMES:
        raise ValueError(f"save_torch: {name!r} is {array.dtype}; choose from {[str(dtype) for dtype in _NAMES]}")
    kind = f"ctorch\n{_NAMES[array.dtype]}\n".encode()
    storage = b"(" + _text("storage") + kind + _text(key) + _text("cpu") + _integer(array.size) + b"tQ"
    strides = [math.prod(max(side, 1) for side in array.shape[axis + 1 :]) for axis in range(array.ndim)]
    place = _integer(0) + _integers(array.shape) + _integers(strides)
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + place + b"\x89" + _ORDERED + b"tR"


def _plain(value: object, depth: int = 0) -> bytes:
    if depth > DEEPEST:
        raise ValueError(f"save_torch: meta nests more than {DEEPEST} deep, or contains itself")
    match value:
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            return _integer(value)
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return _text(value)
        case list():
            return b"](" + b"".join(_plain(item, depth + 1) for item in value) + b"e"
        case dict():
            pairs = (_key(key) + _plain(item, depth + 1) for key, item in value.items())
            return b"}(" + b"".join(pairs) + b"u"
    raise ValueError(
        f"save_torch: meta has a {type(value).__name__}; choose from str, int, float, bool, None, list and dict"
    )


def _key(key: object) -> bytes:
    if type(key) not in KEYS:
        raise ValueError(
            f"save_torch: meta has a {type(key).__name__} as key; choose from str, int, float, bool and None"
        )
    return _plain(key)


def _text(text: str) -> bytes:
    if not isinstance(text, str):
        raise ValueError(f"save_torch: the name {text!r} is not a str")
    encoded = text.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def _integers(numbers: tuple | list) -> bytes:
    return b"(" + b"".join(map(_integer, numbers)) + b"t"


def _integer(number: int) -> bytes:
    if -(1 << 31) <= number < 1 << 31:
        return b"J" + struct.pack("<i", number)
    encoded = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    if len(encoded) > 255:
        raise ValueError("save_torch: meta has an int of more than 255 bytes")
    return b"\x8a" + bytes([len(encoded)]) + encoded
