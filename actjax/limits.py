"""Limits on what one file may take, so that a small file cannot fill the memory.

Each is generous for the largest public data sets. An environment variable of the same name replaces it.
"""

import os
from collections.abc import Callable

from actjax.paths import does_not_exist, not_a_file, to_path

LIMITS = {
    "ACTJAX_MAX_TEXT_MB": 512,  # a list, table, annotation or result file, unpacked
    "ACTJAX_MAX_TEXT_LINES": 2_000_000,  # of such a file
    "ACTJAX_MAX_VALUES": 30_000_000,  # in a JSON file or a table; each takes about 70 bytes of memory
    "ACTJAX_MAX_ARRAY_MB": 2048,  # the arrays of one .npy or .npz file, unpacked
    "ACTJAX_MAX_FRAME_MPIXELS": 40,  # one frame of a video or one picture; 8K has 35 million pixels
    "ACTJAX_MAX_PICTURE_MB": 128,  # the file of one picture
    "ACTJAX_MAX_DOWNLOAD_MB": 2048,  # a video at a URL, which is held in memory
}


_CHUNK = 2**20  # bytes; a request for more is taken from the memory, whether the file has them or not
_RAISE = "raise this environment variable"


def limit(name: str) -> float:
    """The value of a limit of `LIMITS`. ValueError: the environment variable holds no positive number."""
    given = os.environ.get(name)
    if not given:
        return LIMITS[name]
    try:
        value = float(given.replace(",", ""))
    except ValueError:
        value = 0.0
    if not value > 0:
        raise ValueError(
            f"{name}={given!r} in the environment; must be a positive number, such as {LIMITS[name]}, or not set"
        )
    return value


def too_large(found: float, name: str) -> str | None:
    """The words for an error if `found`, in the limit's unit, is above the limit of this name; else None.

    >>> too_large(900, "ACTJAX_MAX_FRAME_MPIXELS")
    '900 is more than ACTJAX_MAX_FRAME_MPIXELS=40 allows; raise this environment variable'
    """
    if found <= limit(name):
        return None
    shown = f"{found:.0f}" if found >= 10 else f"{found:.3g}"
    return f"{shown} is more than {name}={limit(name):.9g} allows; {_RAISE}"


def read_bytes(path: str | os.PathLike, what: str, name: str, *, opened: Callable = lambda file: file) -> bytes:
    """The bytes of a file of at most the limit of this name, in MB.

    Args:
      what: what the file should be, for errors.
      opened: (file) -> the file to read from, such as one that unpacks it.

    Raises:
      FileNotFoundError: no such file. ValueError: a folder, a device or a pipe, or too large.
    """
    path, most = to_path(path), limit(name) * 2**20
    if kind := not_a_file(path):
        raise ValueError(f"{path} {kind}, not {what}")
    if not path.exists():
        raise FileNotFoundError(does_not_exist(path))
    parts, size = [], 0
    with path.open("rb") as file:
        stream = opened(file)
        while part := stream.read(_CHUNK):
            parts.append(part)
            if (size := size + len(part)) > most:
                raise ValueError(f"{path} is larger than {what} may be: {name}={limit(name):g} MB; {_RAISE}")
    return b"".join(parts)
