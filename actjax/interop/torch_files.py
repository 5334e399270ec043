"""PyTorch checkpoint files, read and written without torch: an archive or a stream of pickles and storages.

`unpickling` runs the pickles; nothing that a file names is imported or called.
"""

import io
import os
import pathlib
import struct
import zipfile

import numpy as np

from actjax.interop.pickling import pickled_checkpoint
from actjax.interop.unpickling import Machine, Refused, Storage
from actjax.paths import replace

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_AGAIN = "copy or download it again"
# Exceptions from damaged files. DeprecationWarning: bad escapes in strings, where warnings are errors.
_DAMAGE = (ValueError, OverflowError, EOFError, struct.error, RuntimeError, zipfile.BadZipFile, DeprecationWarning)


def load_torch(path: str | os.PathLike) -> object:
    """Reads a file of `torch.save`; tensors and parameters become arrays. Tensors that share memory still do.

    Reads the zip format and the older stream. Ordered dicts become dicts, `torch.Size` a tuple, and objects of a few
    classes that training programs save beside the weights a `Placeholder`.

    Raises:
      FileNotFoundError: no such file. ValueError: the file is damaged, has another format, or contains anything but
      tensors, plain values and such objects.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: {'a folder, not a checkpoint' if path.is_dir() else 'no such file'}")
    data = path.read_bytes()
    try:
        return _load_zip(data) if data.startswith(b"PK\x03\x04") else _load_stream(data)
    except Refused as refusal:
        raise ValueError(f"{path}: {refusal}") from None
    except _DAMAGE as damage:
        raise ValueError(f"{path}: damaged or cut short ({str(damage)[:200]}); {_AGAIN}") from None


def save_torch(path: str | os.PathLike, arrays: dict[str, np.ndarray], *, meta: dict | None = None) -> None:
    """Writes `{"meta": meta, "state_dict": arrays}` as `torch.save` does, for `torch.load(path, weights_only=True)`.

    `meta` may have str, int, float, bool, None, lists and dicts. The write is atomic.

    Raises:
      ValueError: a name, an array or a value of `meta` that cannot be written.
    """
    pickled, storages = pickled_checkpoint(arrays, meta or {})
    members = {"data.pkl": pickled, "byteorder": b"little"}
    members |= {f"data/{key}": array for key, array in enumerate(storages)} | {"version": b"3\n"}

    def write(file) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, content in members.items():
                data = content if isinstance(content, bytes) else content.tobytes()
                archive.writestr(zipfile.ZipInfo(f"archive/{name}"), data)

    replace(pathlib.Path(path), write)


def _load_zip(data: bytes) -> object:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        members, folder = _members(file, len(data))
        order = members.get(f"{folder}byteorder")
        _check_order(order is None or file.read(order) == b"little")

        def claim(key: str, size: int) -> None:
            record = members.get(f"{folder}data/{key}")
            if record is None:
                raise ValueError(f"no record for storage {key[:40]!r}")
            if record.file_size != size:
                raise ValueError(f"the record of storage {key[:40]!r} has {record.file_size} bytes, not {size}")

        machine = Machine(claim)
        value = machine.run(io.BytesIO(file.read(members[f"{folder}data.pkl"])))
        for key, storage in machine.storages.items():
            storage.fill(file.read(members[f"{folder}data/{key}"]))
    return value


def _members(file: zipfile.ZipFile, size: int) -> tuple[dict[str, zipfile.ZipInfo], str]:
    """The members of an archive, and their folder with a trailing slash."""
    infos = file.infolist()
    members = {info.filename: info for info in infos}
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in members):
        raise Refused("a TorchScript archive, which contains code; load it with torch and save its state_dict()")
    pickles = [info.filename for info in infos if info.filename.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise Refused(f"a zip archive with {len(pickles) or 'no'} data.pkl; torch.save writes one")
    if len(members) != len(infos):
        raise ValueError("several members of the archive have the same name")
    if any(info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size for info in infos):
        raise Refused("a compressed zip archive; torch.save does not compress. Unpack it and zip it uncompressed")
    if sum(info.file_size for info in infos) > size:
        raise ValueError("the members of the archive overlap")
    return members, pickles[0].removesuffix("data.pkl")


def _load_stream(data: bytes) -> object:
    """Reads a sequence of pickles: magic number, protocol, system, value, keys of storages; then the storages."""
    if not data:
        raise Refused(f"empty; {_AGAIN}")
    if data[257:262] == b"ustar":
        raise Refused("a tar archive, from torch before 0.1.10; load it with torch and save its state_dict()")
    stream, claimed = io.BytesIO(data), 0

    def claim(key: str, size: int) -> None:
        nonlocal claimed
        claimed += size
        if claimed > len(data):
            raise ValueError(f"the file has {len(data)} bytes, its storages {claimed}")

    machine = Machine(claim)
    try:
        magic = machine.run(stream)
    except ValueError:
        magic = None
    if type(magic) is not int or magic != MAGIC:
        head = data[:40]
        text = "text, perhaps a saved web page; " if head.isascii() and 0 not in head else ""
        raise Refused(f"not a file of torch.save: it begins with {head!r}; {text}{_AGAIN}")
    protocol, system = machine.run(stream), machine.run(stream)
    if type(protocol) is not int or protocol != PROTOCOL:
        raise ValueError("the stream has an unknown protocol")
    if type(system) is not dict or type(system.get("little_endian")) is not bool:
        raise ValueError("the stream does not state its byte order")
    _check_order(system["little_endian"])
    value, keys = machine.run(stream), machine.run(stream)
    if type(keys) is not list or any(type(key) is not str for key in keys) or sorted(keys) != sorted(machine.storages):
        raise ValueError("the list of storages does not match the tensors")
    for key in keys:
        _read_storage(stream, machine.storages[key])
    return value


def _read_storage(stream: io.BytesIO, storage: Storage) -> None:
    (count,) = struct.unpack("<q", stream.read(8))
    if count != storage.count:
        raise ValueError(f"{count} elements in a storage of {storage.count}")
    content = stream.read(len(storage.memory))
    if len(content) != len(storage.memory):
        raise EOFError(f"the file ends inside a storage, {len(storage.memory) - len(content)} bytes early")
    storage.fill(content)


def _check_order(little: bool) -> None:
    if not little:
        raise Refused("written on a big-endian machine; load it with torch and save it again on a little-endian one")
