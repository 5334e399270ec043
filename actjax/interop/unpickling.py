"""A small, safe machine for the pickles of checkpoints.

Pickles are programs: `pickle.load` imports and calls whatever a file names. This machine knows only tensors and plain
values. It never imports a name, calls it or sets its attributes: names are looked up in the tables below, objects of a
few known classes become `Placeholder`s without content, and other names are refused. The number of values that a file
may expand to is bounded.
"""

import io
import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from actjax.interop.placeholders import GETATTR, Placeholder, is_harmless
from actjax.interop.unread_types import DTYPE, fix_for

MOST_VALUES = 5_000_000  # per file, counting each use of a shared value; large models' checkpoints have some 100_000
DEEPEST = 100  # nesting of containers

STORAGES = {
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
_DTYPES = {
    f"{module}.{name}": dtype
    for module in ("torch", "torch.storage")
    for name, dtype in (STORAGES | {"UntypedStorage": np.dtype("u1")}).items()
}
KEYS = (str, int, float, bool, type(None))  # types of a dict's keys
_LEAVES = {*KEYS, bytes, np.ndarray}
_NUMBERS = ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1")  # NumPy's type codes
_SAVE_LESS = "load it where it was made and save only its state_dict"


class Refused(ValueError):
    """Well-formed but unsupported; the message says how to convert the file."""


@dataclass(frozen=True)
class _Global:
    """A name in a file; never resolved."""

    name: str


@dataclass(frozen=True)
class _NumberType:
    """A NumPy dtype in a file, e.g. of a score in `meta`."""

    name: str


@dataclass(frozen=True, eq=False)
class Storage:
    """Memory of one or more tensors."""

    dtype: np.dtype
    count: int
    memory: bytearray

    def fill(self, content: bytes) -> None:
        """Copies the file's bytes, which have the claimed size."""
        self.memory[:] = content
        if self.dtype == np.bool_:
            values = np.frombuffer(self.memory, np.uint8)
            values[:] = values != 0

    def view(self, size: tuple, stride: tuple, offset: int) -> np.ndarray:
        """A tensor; size, stride and offset are in elements."""
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


class Machine:
    """Runs the pickles of one file; `claim(key, bytes)` raises if the file is too small for this storage.

    `storages`: the storages seen so far, zero until filled.
    """

    def __init__(self, claim: Callable[[str, int], None]):
        self.storages: dict[str, Storage] = {}
        self._claim, self._left = claim, MOST_VALUES

    def run(self, stream: io.BytesIO) -> object:
        """The value of the next pickle."""
        self._stack, self._marked, self._memo, self._ordered = [], [], {}, {}
        for opcode, argument, _ in pickletools.genops(stream):
            self._spend(1)
            step = _STEPS.get(opcode.name)
            if step is None:
                raise Refused(f"its pickle uses {opcode.name}, which tensors and plain values do not need")
            step(self, argument)
        value = self._pop()
        self._check(value)
        return value

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise Refused(f"it expands to more than {MOST_VALUES} values, far more than any checkpoint")

    def _check(self, value: object) -> None:
        """Refuses values that are not plain, and containers that contain themselves or expand without bound."""
        rest = [(value, 0)]
        while rest:
            value, depth = rest.pop()
            if type(value) in _LEAVES or type(value) is Placeholder and depth:
                continue
            if type(value) not in (list, tuple, dict):
                raise _foreign(getattr(value, "name", "a storage without a tensor"))
            if depth == DEEPEST:
                raise Refused(f"it nests more than {DEEPEST} deep, or contains itself, unlike any checkpoint")
            inside = value.values() if type(value) is dict else value
            self._spend(len(inside))
            rest.extend((item, depth + 1) for item in inside)

    # The stack. Items since the last mark are in `_stack`, earlier items in `_marked`.

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _pop(self) -> object:
        return self._take(1)[0]

    def _take(self, count: int) -> list:
        """Pops the last `count` items."""
        start = len(self._stack) - count
        if start < 0:
            raise ValueError("its pickle pops more than it pushed")
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _mark(self) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def _unmark(self) -> list:
        """Pops the items since the last mark."""
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
            raise ValueError("its pickle reads a memo entry that it did not write")
        self._push(self._memo[place])

    # Containers.

    def _extend(self, items: list) -> None:
        if not self._on_placeholder():
            self._top(list).extend(items)

    def _set(self, items: list) -> None:
        if not self._on_placeholder():
            _update(self._top(dict), items)

    def _on_placeholder(self) -> bool:
        """Whether the last value is one; it takes no items and no attributes."""
        return bool(self._stack) and type(self._stack[-1]) is Placeholder

    # Names, calls and storages.

    def _name(self, module: object, name: object) -> None:
        name = f"{module}.{name}" if type(module) is type(name) is str else "a name that is not text"
        if is_harmless(name):
            self._push(Placeholder(name))
        elif name in _DTYPES or name in _MAKERS or name in GETATTR or DTYPE.fullmatch(name):
            self._push(_Global(name))
        else:
            raise self._unread(name)

    def _unread(self, name: str) -> Refused:
        """The error for a name that is not known; of a tensor it tells the key."""
        if (fix := fix_for(name)) is None:
            return _foreign(name)
        frames = (self._stack, *reversed(self._marked))
        keys = (item for frame in frames for item in reversed(frame) if type(item) is str and item != "storage")
        return Refused(
            f"it contains `{name[:80]}`, in the tensor {next(keys, '')[:60]!r}, a type that is not read; in torch, "
            f"save tensor.{fix} instead"
        )

    def _call(self) -> None:
        function, arguments = self._take(2)
        if type(function) is Placeholder and type(arguments) is tuple:
            self._push(function)
            return
        if type(function) is _Global and function.name in GETATTR:
            self._push(_attribute(function.name, arguments))
            return
        if type(function) is not _Global or function.name not in _MAKERS or type(arguments) is not tuple:
            raise ValueError("its pickle calls something that cannot be called")
        make, least, kinds = _MAKERS[function.name]
        if not least <= len(arguments) <= len(kinds) or not all(map(isinstance, arguments, kinds)):
            raise ValueError(f"its pickle calls {function.name} with the wrong arguments")
        self._push(make(self, *arguments))

    def _new(self) -> None:
        """An object of a class; refused but for placeholders."""
        kind, arguments = self._take(2)
        if type(kind) is not Placeholder or type(arguments) is not tuple:
            raise Refused("its pickle uses NEWOBJ, which tensors and plain values do not need")
        self._push(kind)

    def _build(self) -> None:
        """Drops attributes of ordered dicts and of placeholders, and checks the byte order of NumPy types; refuses
        everything else."""
        state = self._pop()
        if self._on_placeholder():
            return
        if self._stack and type(self._stack[-1]) is _NumberType:
            if type(state) is not tuple or len(state) < 2 or state[1] not in ("<", "|"):
                raise Refused(f"it contains a NumPy number that is not little-endian; {_SAVE_LESS}")
        elif not self._stack or id(self._stack[-1]) not in self._ordered:
            raise Refused(f"it sets attributes of something other than an ordered dict; {_SAVE_LESS}")

    def _storage(self) -> None:
        match self._pop():
            case (str(word), _Global(kind), str(key), str(), int(count), *view) if word == "storage":
                if len(view) > 1 or any(part is not None for part in view):
                    raise Refused("it contains a storage that views another; load it with torch and save it again")
                self._push(self._stored(key, kind, count))
            case _:
                raise Refused(f"it refers to something that is not a storage; {_SAVE_LESS}")

    def _stored(self, key: str, kind: str, count: int) -> Storage:
        if kind not in _DTYPES or not 0 <= count < 1 << 63:
            raise ValueError("a storage of unknown type or size")
        dtype = _DTYPES[kind]
        if key not in self.storages:
            size = count * dtype.itemsize
            self._claim(key, size)
            self.storages[key] = Storage(dtype, count, bytearray(size))
        storage = self.storages[key]
        if (storage.dtype, storage.count) != (dtype, count):
            raise ValueError("one storage with two types or sizes")
        return storage

    # Functions that a pickle may call.

    def _ordered_dict(self, pairs: list = ()) -> dict:
        self._spend(len(pairs))
        if any(type(pair) not in (list, tuple) or len(pair) != 2 for pair in pairs):
            raise ValueError("an ordered dict is not made of pairs")
        made = _update({}, [part for pair in pairs for part in pair])
        self._ordered[id(made)] = made  # kept alive, so that no other dict gets its id
        return made

    def _tensor(self, storage: Storage, offset: int, size: tuple, stride: tuple, *rest: object) -> np.ndarray:
        """`rest`: requires_grad, hooks, and flags that change the meaning of the values."""
        if rest[2:] and rest[2]:
            raise Refused("a tensor with its conjugate or negative bit set; save tensor.resolve_neg() instead")
        return storage.view(size, stride, offset)

    def _tensor_of_new_type(self, *arguments: object) -> np.ndarray:
        raise self._unread(arguments[6].name)

    def _bytes(self, text: str = "", encoding: str = "latin1") -> bytes:
        """Protocol 2 writes bytes as latin-1 text."""
        if encoding != "latin1":
            raise ValueError("bytes that are not encoded as latin1")
        self._spend(len(text))
        return text.encode("latin-1")

    def _number_type(self, code: str, *_: object) -> _NumberType:
        if code not in _NUMBERS:
            raise _foreign(f"a NumPy value of type {code}")
        return _NumberType(code)

    def _number(self, kind: _NumberType, content: bytes) -> int | float | bool:
        """A NumPy scalar as a Python number."""
        dtype = np.dtype(kind.name).newbyteorder("<")
        if len(content) != dtype.itemsize:
            raise ValueError(f"{len(content)} bytes in a number of type {kind.name}")
        return np.frombuffer(content, dtype)[0].item()


def _update(target: dict, items: list) -> dict:
    """Sets keys and values, which alternate in `items`."""
    if len(items) % 2:
        raise ValueError("a key of a dict has no value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if type(key) not in KEYS:
            raise Refused(f"it contains a dict with a {type(key).__name__} as key; {_SAVE_LESS}")
        target[key] = value
    return target


def _attribute(getattr_: str, arguments: object) -> Placeholder:
    """What `getattr` gives: of a placeholder another one; refused of anything else."""
    match arguments:
        case (Placeholder(owner), str(name)):
            return Placeholder(f"{owner[:100]}.{name[:100]}")
    raise _foreign(getattr_)


def _foreign(name: str) -> Refused:
    return Refused(f"it contains `{repr(name)[1:-1][:200]}`, which is neither a tensor nor a plain value; {_SAVE_LESS}")


def _utf8(text: str) -> str:
    """Decodes a Python 2 string, which pickletools reads as latin-1."""
    return text.encode("latin-1").decode("utf-8")


# Functions that a pickle may call: our implementation, minimum number of arguments, types of the arguments.
_MAKERS = {
    "collections.OrderedDict": (Machine._ordered_dict, 0, (list,)),
    "torch._utils._rebuild_tensor": (Machine._tensor, 4, (Storage, int, tuple, tuple)),
    "torch._utils._rebuild_tensor_v2": (Machine._tensor, 6, (Storage, int, tuple, tuple, object, object, object)),
    "torch._utils._rebuild_tensor_v3": (
        Machine._tensor_of_new_type,
        7,
        (Storage, int, tuple, tuple, object, object, _Global, object),
    ),
    "torch._utils._rebuild_parameter": (lambda machine, array, *_: array, 3, (np.ndarray, object, object)),
    "torch.Size": (lambda machine, size=(): size, 0, (tuple,)),
    "_codecs.encode": (Machine._bytes, 2, (str, str)),
    "__builtin__.bytes": (Machine._bytes, 0, ()),
    "numpy.dtype": (Machine._number_type, 1, (str, int, int)),
    "numpy.core.multiarray.scalar": (Machine._number, 2, (_NumberType, bytes)),
    "numpy._core.multiarray.scalar": (Machine._number, 2, (_NumberType, bytes)),
}

# Known opcodes: their effect on the machine, given the opcode's argument.
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
    "NEWOBJ": lambda machine, _: machine._new(),
    "BUILD": lambda machine, _: machine._build(),
    "BINPERSID": lambda machine, _: machine._storage(),
}
_STEPS |= dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), Machine._put)
_STEPS |= dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), Machine._get)
_STEPS |= dict.fromkeys(("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"), Machine._push)
_STEPS |= dict.fromkeys(("FLOAT", "BINFLOAT", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8"), Machine._push)
_STEPS |= dict.fromkeys(("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"), Machine._push)
_STEPS |= dict.fromkeys(("STRING", "SHORT_BINSTRING", "BINSTRING"), lambda machine, text: machine._push(_utf8(text)))
