"""Safetensors files -> arrays: the length of a JSON header, the header, the values of all tensors one after another."""

import collections
import json
import math
import os
import pathlib

import ml_dtypes
import numpy as np

LONGEST_HEADER = 10_000_000  # bytes; a thousand tensors take 0.1 million
_DTYPES = {
    **{f"F{8 * size}": np.dtype(f"<f{size}") for size in (2, 4, 8)},
    **{f"I{8 * size}": np.dtype(f"<i{size}") for size in (1, 2, 4, 8)},
    **{f"U{8 * size}": np.dtype(f"<u{size}") for size in (1, 2, 4, 8)},
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "BOOL": np.dtype("?"),
}


def is_safetensors(path: str | os.PathLike) -> bool:
    """Whether a file is to be read as safetensors, by its first bytes; by its suffix if these do not tell."""
    path = pathlib.Path(path)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(9)
    if head[:4] == b"PK\x03\x04" or head[:1] == b"\x80":  # as torch.save writes them
        return False
    return head[8:] == b"{" or path.suffix.lower() == ".safetensors"


def load_safetensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file by name.

    Raises:
      ValueError: the file is damaged, or has a tensor of a type that NumPy does not have, such as float8.
    """
    try:
        return _arrays(np.fromfile(path, np.uint8))
    except _UnknownType as error:
        raise ValueError(f"{path}: {error}") from None
    except (ValueError, RecursionError) as error:
        told = "its header nests too deep" if isinstance(error, RecursionError) else str(error)[:200]
        raise ValueError(f"{path}: not a readable safetensors file: {told}; copy or download it again") from None


class _UnknownType(ValueError):
    """Well-formed, but of a type that is not read."""


def _arrays(data: np.ndarray) -> dict[str, np.ndarray]:
    start = 8 + int.from_bytes(data[:8].tobytes(), "little")
    if start > min(len(data), 8 + LONGEST_HEADER):
        raise ValueError(
            f"a header of {start - 8} bytes in a file of {len(data)} that begins with {bytes(data[:20])!r}"
        )
    entries, values = _header(data[8:start].tobytes()), data[start:]
    end, arrays = 0, {}
    for name, (dtype, shape, begin, stop) in sorted(entries.items(), key=lambda entry: entry[1][2:]):
        if begin != end or stop > len(values):
            raise ValueError(
                f"tensor {name[:60]!r} takes bytes {begin} to {stop} of {len(values)}; expected {end} as the first"
            )
        arrays[name], end = _array(values[begin:stop], dtype, shape), stop
    if end != len(values):
        raise ValueError(f"its tensors end at byte {end} of {len(values)}")
    return {name: arrays[name] for name in entries}


def _array(values: np.ndarray, dtype: np.dtype, shape: list[int]) -> np.ndarray:
    return (values != 0 if dtype == np.bool_ else values.view(dtype)).reshape(shape)


def _header(text: bytes) -> dict[str, tuple[np.dtype, list[int], int, int]]:
    """{name: (dtype, shape, first byte, end)}, checked one by one."""
    header = json.loads(text.decode(), object_pairs_hook=_unique)
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    header.pop("__metadata__", None)
    return {name: _entry(name, entry) for name, entry in header.items()}


def _unique(pairs: list[tuple]) -> dict:
    made = dict(pairs)
    if len(made) < len(pairs):
        ((twice, _),) = collections.Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"its header has {twice[:60]!r} twice")
    return made


def _entry(name: str, entry: object) -> tuple[np.dtype, list[int], int, int]:
    shown = repr(name[:60])
    match entry:
        case {"dtype": str(kind), "shape": list(shape), "data_offsets": [int(begin), int(end)], **rest} if not rest:
            pass
        case _:
            raise ValueError(f"the header's entry for {shown} has no dtype, shape and data_offsets alone")
    if kind not in _DTYPES:
        raise _UnknownType(
            f"tensor {shown} is of type {kind[:30]!r}, which is not read; convert it to float32 (a quantized network: "
            "dequantize it) and save the file again"
        )
    if len(shape) > 64 or not all(type(side) is int and 0 <= side < 1 << 63 for side in shape):
        raise ValueError(f"the shape of tensor {shown} is malformed or negative")
    size = math.prod(shape) * _DTYPES[kind].itemsize
    if not 0 <= begin <= end or end - begin != size:
        raise ValueError(f"tensor {shown} takes {size} bytes by its shape, {end - begin} by its data_offsets")
    return _DTYPES[kind], shape, begin, end
