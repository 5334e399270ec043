"""PyTorch checkpoint files, read and written without torch.

They hold pickles, which are programs: `pickle.load` imports and calls whatever a file names. Here a pickle is read by
a small machine that knows tensors and plain values. Nothing that a file names is imported, called or given attributes:
names are looked up in the tables below, and what they lack is refused. How much a file may unfold to is bounded.
"""

import io
import math
import os
import pathlib
import pickletools
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass

import ml_dtypes
import numpy as np

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
MOST_VALUES = 5_000_000  # in one file, counted where they are used; checkpoints of large models have some 100_000
DEEPEST = 100  # containers in containers

_STORAGES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
_DTYPES = {f"{module}.{name}": dtype for module in ("torch", "torch.storage") for name, dtype in _STORAGES.items()}
_KEYS = (str, int, float, bool, type(None))  # what a dict may have as keys
_LEAVES = {*_KEYS, bytes, np.ndarray}
_AGAIN = "copy or download it again"
_SAVE_LESS = "load it where it was made and save only its state_dict"
# What bytes in disorder raise; the warning is about escapes in texts, where warnings are errors.
_DAMAGE = (ValueError, OverflowError, EOFError, struct.error, RuntimeError, zipfile.BadZipFile, DeprecationWarning)


def load_torch(path: str | os.PathLike) -> object:
    """What `torch.save` wrote, with every tensor and parameter as an array; tensors that shared memory still do.

    Reads the zip format and the older stream. Ordered dicts come as dicts, `torch.Size` as tuple.

    Raises:
      FileNotFoundError: no such file. ValueError: the file is damaged, of another format, or holds something that is
      neither a tensor nor a plain value.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: {'a folder, not a checkpoint' if path.is_dir() else 'no such file'}")
    data = path.read_bytes()
    try:
        return _load_zip(data) if data.startswith(b"PK\x03\x04") else _load_stream(data)
    except _Refused as refusal:
        raise ValueError(f"{path}: {refusal}") from None
    except _DAMAGE as damage:
        raise ValueError(f"{path}: damaged or cut short ({str(damage)[:200]}); {_AGAIN}") from None


def save_torch(path: str | os.PathLike, arrays: dict[str, np.ndarray], *, meta: dict | None = None) -> None:
    """Writes `{"meta": meta, "state_dict": arrays}` as `torch.save` does, for `torch.load(path, weights_only=True)`.

    `meta` holds str, int, float, bool, None, lists and dicts. The file is there completely or not at all.

    Raises:
      ValueError: a name, an array or a value of `meta` that cannot be written.
    """
    pickled, storages = _pickled(arrays, meta or {})
    members = {"data.pkl": pickled, "byteorder": b"little"}
    members |= {f"data/{key}": array for key, array in enumerate(storages)} | {"version": b"3\n"}
    path = pathlib.Path(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as file:
            for name, content in members.items():
                data = content if isinstance(content, bytes) else content.tobytes()
                file.writestr(zipfile.ZipInfo(f"archive/{name}"), data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


class _Refused(ValueError):
    """The bytes are in order, but not what is read here; says what to do."""


@dataclass(frozen=True)
class _Global:
    """A name in a file. Stands for nothing but itself."""

    name: str


@dataclass(frozen=True, eq=False)
class _Storage:
    """The memory of tensors."""

    dtype: np.dtype
    count: int
    memory: bytearray

    def fill(self, content: bytes) -> None:
        """Takes over what the file holds, of the size claimed."""
        self.memory[:] = content
        if self.dtype == np.bool_:
            values = np.frombuffer(self.memory, np.uint8)
            values[:] = values != 0

    def view(self, size: tuple, stride: tuple, offset: int) -> np.ndarray:
        """A tensor; all numbers count elements."""
        fits = len(size) == len(stride) <= 64
        if not fits or not all(type(n) is int and 0 <= n < 1 << 63 for n in (offset, *size, *stride)):
            raise ValueError("the size, stride or offset of a tensor is malformed or negative")
        count, steps = math.prod(size), list(zip(size, stride, strict=True))
        end = offset + (1 + sum((n - 1) * step for n, step in steps) if count else 0)
        if max(count, end) > self.count:
            raise ValueError(
                f"a tensor of size {size}, stride {stride} and offset {offset} in a storage of {self.count} elements"
            )
        if not count:
            return np.empty(size, self.dtype)
        width = self.dtype.itemsize
        strides = [step * width if n > 1 else width for n, step in steps]
        return np.ndarray(size, self.dtype, self.memory, offset * width, strides)


def _load_zip(data: bytes) -> object:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        members, folder = _members(file, len(data))
        order = members.get(f"{folder}byteorder")
        _check_order(order is None or file.read(order) == b"little")

        def claim(key: str, size: int) -> None:
            record = members.get(f"{folder}data/{key}")
            if record is None:
                raise ValueError(f"no record for the storage {key[:40]!r}")
            if record.file_size != size:
                raise ValueError(f"{record.file_size} bytes in the record of the storage {key[:40]!r}, not {size}")

        machine = _Machine(claim)
        value = machine.run(io.BytesIO(file.read(members[f"{folder}data.pkl"])))
        for key, storage in machine.storages.items():
            storage.fill(file.read(members[f"{folder}data/{key}"]))
    return value


def _members(file: zipfile.ZipFile, size: int) -> tuple[dict[str, zipfile.ZipInfo], str]:
    """The members of an archive, and the folder they are in with its slash."""
    infos = file.infolist()
    members = {info.filename: info for info in infos}
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in members):
        raise _Refused("a TorchScript archive, which holds a program; load it with torch and save its state_dict()")
    pickles = [info.filename for info in infos if info.filename.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise _Refused(f"a zip archive with {len(pickles) or 'no'} data.pkl; torch.save writes one")
    if len(members) != len(infos):
        raise ValueError("several members of the archive have one name")
    if any(info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size for info in infos):
        raise _Refused("a compressed zip archive, as torch.save writes none; unpack it and zip it without compression")
    if sum(info.file_size for info in infos) > size:
        raise ValueError("the members of the archive overlap")
    return members, pickles[0].removesuffix("data.pkl")


def _load_stream(data: bytes) -> object:
    """A sequence of pickles: magic number, protocol, system, the value, keys of storages; then the storages."""
    if not data:
        raise _Refused(f"empty; {_AGAIN}")
    if data[257:262] == b"ustar":
        raise _Refused("a tar archive, as torch before 0.1.10 wrote; load it with torch and save its state_dict()")
    stream, claimed = io.BytesIO(data), 0

    def claim(key: str, size: int) -> None:
        nonlocal claimed
        claimed += size
        if claimed > len(data):
            raise ValueError(f"a file of {len(data)} bytes for storages of {claimed}")

    machine = _Machine(claim)
    try:
        magic = machine.run(stream)
    except ValueError:
        magic = None
    if type(magic) is not int or magic != MAGIC:
        head = data[:40]
        text = "text, maybe a saved web page; " if head.isascii() and 0 not in head else ""
        raise _Refused(f"no file of torch.save: it begins with {head!r}; {text}{_AGAIN}")
    protocol, system = machine.run(stream), machine.run(stream)
    if type(protocol) is not int or protocol != PROTOCOL:
        raise ValueError("unknown protocol of the stream")
    if type(system) is not dict or type(system.get("little_endian")) is not bool:
        raise ValueError("the stream does not say its byte order")
    _check_order(system["little_endian"])
    value, keys = machine.run(stream), machine.run(stream)
    if type(keys) is not list or any(type(key) is not str for key in keys) or sorted(keys) != sorted(machine.storages):
        raise ValueError("the list of storages is not that of the tensors")
    for key in keys:
        _read_storage(stream, machine.storages[key])
    return value


def _read_storage(stream: io.BytesIO, storage: _Storage) -> None:
    (count,) = struct.unpack("<q", stream.read(8))
    if count != storage.count:
        raise ValueError(f"{count} elements for a storage of {storage.count}")
    content = stream.read(len(storage.memory))
    if len(content) != len(storage.memory):
        raise EOFError(f"the file ends in a storage, {len(storage.memory) - len(content)} bytes early")
    storage.fill(content)


def _check_order(little: bool) -> None:
    if not little:
        raise _Refused("written on a big-endian machine; load it with torch and save it again on a little-endian one")


class _Machine:
    """Runs the pickles of one file; `claim(key, bytes)` raises unless the file can hold such a storage.

    `storages` are the storages met so far, zero until filled.
    """

    def __init__(self, claim: Callable[[str, int], None]):
        self.storages: dict[str, _Storage] = {}
        self._claim, self._left = claim, MOST_VALUES

    def run(self, stream: io.BytesIO) -> object:
        """The value of the next pickle."""
        self._stack, self._marked, self._memo, self._ordered = [], [], {}, {}
        for opcode, argument, _ in pickletools.genops(stream):
            self._spend(1)
            step = _STEPS.get(opcode.name)
            if step is None:
                raise _Refused(f"its pickle uses {opcode.name}, which tensors and plain values do not need")
            step(self, argument)
        value = self._pop()
        self._check(value)
        return value

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise _Refused(f"it unfolds to more than {MOST_VALUES} values, as no checkpoint does")

    def _check(self, value: object) -> None:
        """Refuses what is not plain, and containers that hold themselves or repeat without end."""
        rest = [(value, 0)]
        while rest:
            value, depth = rest.pop()
            if type(value) in _LEAVES:
                continue
            if type(value) not in (list, tuple, dict):
                raise _foreign(value.name if type(value) is _Global else "a storage without a tensor")
            if depth == DEEPEST:
                raise _Refused(f"it nests more than {DEEPEST} deep, or holds itself, as no checkpoint does")
            inside = value.values() if type(value) is dict else value
            self._spend(len(inside))
            rest.extend((item, depth + 1) for item in inside)

    # The stack. Items since the last mark are in `_stack`, those before it in `_marked`.

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _pop(self) -> object:
        return self._take(1)[0]

    def _take(self, count: int) -> list:
        """The last items, off the stack."""
        start = len(self._stack) - count
        if start < 0:
            raise ValueError("its pickle takes more than it made")
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _mark(self) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def _unmark(self) -> list:
        """The items since the last mark, off the stack."""
        if not self._marked:
            raise ValueError("its pickle lacks a mark")
        items, self._stack = self._stack, self._marked.pop()
        return items

    def _top(self, kind: type) -> object:
        if not self._stack or type(self._stack[-1]) is not kind:
            raise ValueError(f"its pickle lacks a {kind.__name__}")
        return self._stack[-1]

    def _drop(self) -> None:
        if self._stack:
            del self._stack[-1]
        else:
            self._unmark()

    def _repeat(self) -> None:
        value = self._pop()
        self._stack += [value, value]

    def _put(self, place: int) -> None:
        value = self._pop()
        self._memo[place] = value
        self._push(value)

    def _get(self, place: int) -> None:
        if place not in self._memo:
            raise ValueError("its pickle recalls what it did not store")
        self._push(self._memo[place])

    # Containers.

    def _extend(self, items: list) -> None:
        self._top(list).extend(items)

    def _set(self, items: list) -> None:
        _update(self._top(dict), items)

    # Names, calls and storages.

    def _name(self, module: object, name: object) -> None:
        name = f"{module}.{name}" if type(module) is type(name) is str else "a name that is no text"
        if name not in _DTYPES and name not in _MAKERS:
            raise _foreign(name)
        self._push(_Global(name))

    def _call(self) -> None:
        function, arguments = self._take(2)
        if type(function) is not _Global or function.name not in _MAKERS or type(arguments) is not tuple:
            raise ValueError("its pickle calls what cannot be called")
        make, least, kinds = _MAKERS[function.name]
        if not least <= len(arguments) <= len(kinds) or not all(map(isinstance, arguments, kinds)):
            raise ValueError(f"{function.name} is called with the wrong arguments")
        self._push(make(self, *arguments))

    def _build(self) -> None:
        """Attributes of an ordered dict are dropped; nothing else may have some."""
        self._pop()
        if not self._stack or id(self._stack[-1]) not in self._ordered:
            raise _Refused(f"it gives attributes to what is no ordered dict; {_SAVE_LESS}")

    def _storage(self) -> None:
        match self._pop():
            case (str(word), _Global(kind), str(key), str(), int(count), *view) if word == "storage":
                if len(view) > 1 or any(part is not None for part in view):
                    raise _Refused("it holds a storage that views another; load it with torch and save it again")
                self._push(self._stored(key, kind, count))
            case _:
                raise _Refused(f"it refers to something that is no storage; {_SAVE_LESS}")

    def _stored(self, key: str, kind: str, count: int) -> _Storage:
        if kind not in _DTYPES or not 0 <= count < 1 << 63:
            raise ValueError("a storage of no known type or size")
        dtype = _DTYPES[kind]
        if key not in self.storages:
            size = count * dtype.itemsize
            self._claim(key, size)
            self.storages[key] = _Storage(dtype, count, bytearray(size))
        storage = self.storages[key]
        if (storage.dtype, storage.count) != (dtype, count):
            raise ValueError("one storage of two types or sizes")
        return storage

    # What may be called.

    def _ordered_dict(self, pairs: list = ()) -> dict:
        self._spend(len(pairs))
        if any(type(pair) not in (list, tuple) or len(pair) != 2 for pair in pairs):
            raise ValueError("an ordered dict is not made of pairs")
        made = _update({}, [part for pair in pairs for part in pair])
        self._ordered[id(made)] = made  # kept, lest another dict gets its id
        return made

    def _tensor(self, storage: _Storage, offset: int, size: tuple, stride: tuple, *rest: object) -> np.ndarray:
        """`rest` is whether it has a gradient, its hooks, and bits that change what the values mean."""
        if rest[2:] and rest[2]:
            raise _Refused("a tensor with its conjugate or negative bit set; save tensor.resolve_neg() instead")
        return storage.view(size, stride, offset)

    def _bytes(self, text: str = "", encoding: str = "latin1") -> bytes:
        """Protocol 2 writes bytes as a text of one character a byte."""
        if encoding != "latin1":
            raise ValueError("bytes that are not written as latin1")
        self._spend(len(text))
        return text.encode("latin-1")


def _update(target: dict, items: list) -> dict:
    """Sets keys and values, which alternate in `items`."""
    if len(items) % 2:
        raise ValueError("a key of a dict lacks its value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if type(key) not in _KEYS:
            raise _Refused(f"it holds a dict with a {type(key).__name__} as key; {_SAVE_LESS}")
        target[key] = value
    return target


def _foreign(name: str) -> _Refused:
    return _Refused(f"it holds `{repr(name)[1:-1][:200]}`, which is neither a tensor nor a plain value; {_SAVE_LESS}")


def _utf8(text: str) -> str:
    """The text of Python 2, which comes with one character a byte."""
    return text.encode("latin-1").decode("utf-8")


# What may be called: by which method, with how many arguments at least, of which types.
_MAKERS = {
    "collections.OrderedDict": (_Machine._ordered_dict, 0, (list,)),
    "torch._utils._rebuild_tensor": (_Machine._tensor, 4, (_Storage, int, tuple, tuple)),
    "torch._utils._rebuild_tensor_v2": (_Machine._tensor, 6, (_Storage, int, tuple, tuple, object, object, object)),
    "torch._utils._rebuild_parameter": (lambda machine, array, *_: array, 3, (np.ndarray, object, object)),
    "torch.Size": (lambda machine, size=(): size, 0, (tuple,)),
    "_codecs.encode": (_Machine._bytes, 2, (str, str)),
    "__builtin__.bytes": (_Machine._bytes, 0, ()),
}

# The opcodes known, and what each does with the machine and its argument.
_STEPS = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "STOP": lambda machine, _: None,
    "NONE": lambda machine, _: machine._push(None),
    "NEWTRUE": lambda machine, _: machine._push(True),
    "NEWFALSE": lambda machine, _: machine._push(False),
    "MARK": lambda machine, _: machine._mark(),
    "POP": lambda machine, _: machine._drop(),
    "POP_MARK": lambda machine, _: machine._unmark(),
    "DUP": lambda machine, _: machine._repeat(),
    "MEMOIZE": lambda machine, _: machine._put(len(machine._memo)),
    "EMPTY_LIST": lambda machine, _: machine._push([]),
    "EMPTY_DICT": lambda machine, _: machine._push({}),
    "EMPTY_TUPLE": lambda machine, _: machine._push(()),
    "LIST": lambda machine, _: machine._push(machine._unmark()),
    "DICT": lambda machine, _: machine._push(_update({}, machine._unmark())),
    "TUPLE": lambda machine, _: machine._push(tuple(machine._unmark())),
    "TUPLE1": lambda machine, _: machine._push(tuple(machine._take(1))),
    "TUPLE2": lambda machine, _: machine._push(tuple(machine._take(2))),
    "TUPLE3": lambda machine, _: machine._push(tuple(machine._take(3))),
    "APPEND": lambda machine, _: machine._extend(machine._take(1)),
    "APPENDS": lambda machine, _: machine._extend(machine._unmark()),
    "SETITEM": lambda machine, _: machine._set(machine._take(2)),
    "SETITEMS": lambda machine, _: machine._set(machine._unmark()),
    "GLOBAL": lambda machine, names: machine._name(*names.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: machine._name(*machine._take(2)),
    "REDUCE": lambda machine, _: machine._call(),
    "BUILD": lambda machine, _: machine._build(),
    "BINPERSID": lambda machine, _: machine._storage(),
}
_STEPS |= dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine._put)
_STEPS |= dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine._get)
_STEPS |= dict.fromkeys(("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"), _Machine._push)
_STEPS |= dict.fromkeys(("FLOAT", "BINFLOAT", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8"), _Machine._push)
_STEPS |= dict.fromkeys(("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"), _Machine._push)
_STEPS |= dict.fromkeys(("STRING", "SHORT_BINSTRING", "BINSTRING"), lambda machine, text: machine._push(_utf8(text)))


# The pickle written, opcode by opcode of protocol 2.

_NAMES = {dtype: name for name, dtype in _STORAGES.items()}
_ORDERED = b"ccollections\nOrderedDict\n)R"


def _pickled(arrays: dict, meta: dict) -> tuple[bytes, list[np.ndarray]]:
    """The pickle of a checkpoint, and the arrays it refers to by number."""
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
        raise ValueError(f"save_torch: meta nests more than {DEEPEST} deep, or holds itself")
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
        f"save_torch: meta holds a {type(value).__name__}, not a str, int, float, bool, None, list or dict"
    )


def _key(key: object) -> bytes:
    if type(key) not in _KEYS:
        raise ValueError(
            f"save_torch: meta has a {type(key).__name__} as key; choose from str, int, float, bool and None"
        )
    return _plain(key)


def _text(text: str) -> bytes:
    if not isinstance(text, str):
        raise ValueError(f"save_torch: the name {text!r} is no str")
    encoded = text.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def _integers(numbers: tuple | list) -> bytes:
    return b"(" + b"".join(map(_integer, numbers)) + b"t"


def _integer(number: int) -> bytes:
    if -(1 << 31) <= number < 1 << 31:
        return b"J" + struct.pack("<i", number)
    encoded = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    if len(encoded) > 255:
        raise ValueError("save_torch: meta holds an int of more than 255 bytes")
    return b"\x8a" + bytes([len(encoded)]) + encoded
