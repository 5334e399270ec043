"""Arrays in .npy and .npz files of others: numbers and text, never pickled objects, within a limit of `limits`."""

import io
import os
import threading
import zipfile

import numpy as np

from actjax.errors import shown
from actjax.limits import read_bytes, too_large

_LIMIT = "ACTJAX_MAX_ARRAY_MB"
# NumPy parses headers with Python's own parser, which is not always thread-safe in 3.11 (CPython gh-106905).
_HEADER = threading.Lock()


def read_array(path: str | os.PathLike, *, what: str = "an array in a .npy file") -> np.ndarray:
    """The array of a .npy file. FileNotFoundError: no such file. ValueError: it is damaged, too large or another."""
    data = read_bytes(path, what, _LIMIT)
    if not data.startswith(b"\x93NUMPY"):
        other = "a zip archive, as .npz files are" if data.startswith(b"PK") else f"it begins with {shown(data[:16])}"
        raise ValueError(f"{path} is not {what}: {other}")
    return _array(data, path, what)


def read_arrays(path: str | os.PathLike, *, what: str = "an .npz file") -> dict[str, np.ndarray]:
    """The arrays of a .npz file by name; errors as `read_array`."""
    data = read_bytes(path, what, _LIMIT)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            members = {info.filename.removesuffix(".npy"): info for info in file.infolist()}
            told = too_large(sum(info.file_size for info in file.infolist()) / 2**20, _LIMIT)
            content = {} if told else {name: file.read(info) for name, info in members.items()}
    except Exception as error:  # zipfile's and zlib's, and those of a directory that makes no sense
        raise ValueError(f"{path} is not {what}, or damaged: {shown(str(error), most=160)}") from None
    if told:
        raise ValueError(f"{path} is too large when it is unpacked: MB, {told}")
    return {name: _array(content[name], path, what) for name in content}


def _array(data: bytes, path, what: str) -> np.ndarray:
    try:
        with _HEADER:
            return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # also those of Python's parser, which reads the header
        if "allow_pickle" in str(error):
            raise ValueError(f"{path}: holds objects of Python, which are not read; save numbers or text") from None
        raise ValueError(f"{path} is not {what}, or damaged: {shown(str(error), most=160)}") from None
