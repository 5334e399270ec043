"""Safetensors files -> arrays. The library reads them; what it lets pass in a header is looked for here before."""

import json
import os
import pathlib

from actjax.errors import shown
from actjax.text_files import unique_keys

LONGEST_HEADER = 10_000_000  # bytes; a thousand tensors take 0.1 million
_KINDS = {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"}


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


def load_safetensors(path: str | os.PathLike) -> dict:
    """The tensors of a safetensors file by name.

    Raises:
      ValueError: the file is damaged, or has a tensor of a type that NumPy does not have, such as float8.
    """
    from safetensors.numpy import load_file

    try:
        header = _header(path)
        if not (unknown := _unknown_type(header)):
            return load_file(path)
    except Exception as error:  # the library has its own, and NumPy's
        told = "its header nests too deep" if isinstance(error, RecursionError) else str(error)[:200]
        raise ValueError(f"{path}: not a readable safetensors file: {told}; copy or download it again") from None
    raise ValueError(f"{path}: {unknown}")


def _header(path: str | os.PathLike) -> dict:
    with open(path, "rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        text = file.read(min(length, LONGEST_HEADER))
    if len(text) < length or len(start) < 8:
        raise ValueError(f"it begins with {shown((start + text)[:16])}, and promises a header of {length} bytes")
    header = json.loads(text.decode(), object_pairs_hook=unique_keys)
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    return header


def _unknown_type(header: dict) -> str | None:
    for name, entry in header.items():
        kind = entry.get("dtype") if isinstance(entry, dict) else None
        if name != "__metadata__" and isinstance(kind, str) and kind not in _KINDS:
            return (
                f"tensor {shown(name)} is of type {shown(kind)}, which is not read; convert it to float32 (a quantized "
                "network: dequantize it) and save the file again"
            )
    return None
