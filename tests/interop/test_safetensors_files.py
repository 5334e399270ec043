"""Safetensors files are read whole, or refused in one line: types, headers, offsets, and mutations of a file."""

import json

import ml_dtypes
import numpy as np
import pytest
from mutating import WORDS, mutated

from actjax.interop.importing import read_tensors

VALUES = np.arange(6, dtype="<f4")


def entry(dtype="F32", shape=(2, 3), offsets=(0, 24)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def file_of(header, values=VALUES.tobytes()) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + values


def load(tmp_path, content: bytes, name="a.safetensors"):
    (tmp_path / name).write_bytes(content)
    return read_tensors(tmp_path / name)


def test_every_type_that_the_library_writes(tmp_path):
    from safetensors.numpy import save_file

    names = [
        "float64",
        "float32",
        "float16",
        "int64",
        "int32",
        "int16",
        "int8",
        "uint64",
        "uint32",
        "uint16",
        "uint8",
        "bool",
    ]
    arrays = {name: np.arange(6).reshape(2, 3).astype(name) for name in names}
    arrays |= {"bfloat16": np.ones((3, 1), ml_dtypes.bfloat16), "zero_dim": np.float32(2.5), "empty": np.zeros((0, 3))}
    arrays = {name: np.asarray(value) for name, value in arrays.items()}
    save_file(arrays, tmp_path / "a.safetensors", metadata={"format": "pt"})
    found = read_tensors(tmp_path / "a.safetensors")
    assert {*found} == {*arrays}
    for name, value in arrays.items():
        assert found[name].dtype == value.dtype and found[name].shape == value.shape
        assert found[name].tobytes() == value.tobytes()
    found["float32"] += 1  # may be written to


@pytest.mark.parametrize("name", ["a.safetensors", "a.SafeTensors", "a.pth", "a"])
def test_a_file_is_known_by_its_content(tmp_path, name):
    np.testing.assert_array_equal(load(tmp_path, file_of({"w": entry()}), name)["w"], VALUES.reshape(2, 3))


def test_a_file_of_torch_is_known_whatever_its_suffix(tmp_path):
    from actjax.interop.torch_files import save_torch

    for name in ("a.safetensors", "a.PTH", "a.npz"):
        save_torch(tmp_path / name, {"w": VALUES})
        np.testing.assert_array_equal(read_tensors(tmp_path / name)["w"], VALUES)


TYPES = ["F8_E4M3", "F8_E5M2", "F8_E8M0", "F4", "F6_E2M3", "C64", "I4", "U4", "Q8_0"]


@pytest.mark.parametrize("kind", TYPES)
def test_types_that_no_array_holds_are_named_with_the_fix(tmp_path, kind):
    match = rf"a.safetensors: tensor 'layer.w' is of type '{kind}', which is not read; convert it to float32"
    with pytest.raises(ValueError, match=match) as error:
        load(tmp_path, file_of({"layer.w": entry(kind, offsets=(0, 6))}, bytes(6)))
    assert len(str(error.value)) < 400


TWO = {"a": entry(shape=(3,), offsets=(0, 12)), "b": entry(shape=(3,), offsets=(12, 24))}
TWICE = b'{"w": %s, "w": %s}' % ((json.dumps(entry()).encode(),) * 2)
LIBRARY = "not a readable safetensors file: .*; copy or download it again"
REFUSED = {
    "empty": (b"", "begins with b''"),
    "page": (b"<!DOCTYPE html><html><title>404</title>", "begins with b'<!DOCTYPE html>"),
    "pointer of git": (b"version https://git-lfs.github.com/spec/v1\n", "begins with b'version https"),
    "header of terabytes": ((2**42).to_bytes(8, "little") + b"{}", "promises a header of 4398046511104 bytes"),
    "cut header": (file_of({"w": entry()})[:40], "promises a header of [0-9]+ bytes"),
    "deep": (file_of(b"[" * 200_000), "nests too deep|Expecting"),
    "deep inside": (file_of(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), "nests too deep"),
    "a list": (file_of(b"[]"), "no JSON object"),
    "no JSON": (file_of(b"{nothing}"), "Expecting property name"),
    "no UTF-8": (file_of(b'{"\xff": 1}'), "codec can't decode"),
    "long number": (file_of(b'{"w": ' + b"9" * 10_000 + b"}"), "Exceeds the limit"),
    "no entry": (file_of({"w": 3}), LIBRARY),
    "part of an entry": (file_of({"w": {"dtype": "F32"}}), LIBRARY),
    "key of an entry twice": (file_of(b'{"w": {"dtype": "F32", "dtype": "F16"}}'), "duplicate key 'dtype'"),
    "name twice": (file_of(TWICE), "duplicate key 'w'"),
    "overlap": (file_of(TWO | {"b": entry(shape=(3,), offsets=(8, 20))}), LIBRARY),
    "same place": (file_of({"a": entry(), "b": entry()}), LIBRARY),
    "gap": (file_of({"a": TWO["a"], "b": entry(shape=(2,), offsets=(16, 24))}), LIBRARY),
    "gap at the start": (file_of({"b": TWO["b"]}), LIBRARY),
    "rest": (file_of({"a": TWO["a"]}), LIBRARY),
    "beyond the end": (file_of({"w": entry(shape=(7,), offsets=(0, 28))}), LIBRARY),
    "other size": (file_of({"w": entry(shape=(5,))}), LIBRARY),
    "giant shape": (file_of({"w": entry(shape=(2**62, 2**62))}), LIBRARY),
    "giant and empty": (file_of({"w": entry(shape=(2**62, 0, 2**62), offsets=(0, 0))}, b""), LIBRARY),
    "beyond any shape": (file_of({"w": entry(shape=(2**70,))}), LIBRARY),
    "many dimensions": (file_of({"w": entry(shape=(1,) * 65, offsets=(0, 4))}, bytes(4)), LIBRARY),
    "negative": (file_of({"w": entry(shape=(-2, -3))}), LIBRARY),
    "fraction": (file_of({"w": entry(shape=(2.0, 3))}), LIBRARY),
    "truth": (file_of({"w": entry(shape=(True, 6))}), LIBRARY),
    "negative place": (file_of({"w": entry(offsets=(-24, 0))}), LIBRARY),
    "no tensors": (file_of({"__metadata__": {"a": "b"}}, b""), r"contains the keys \[\]"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_are_refused(tmp_path, name):
    content, match = REFUSED[name]
    with pytest.raises(ValueError, match=rf"^{tmp_path}/a\.safetensors: .*({match})") as error:
        load(tmp_path, content)
    assert type(error.value) is ValueError
    assert len(str(error.value)) < 400 + len(str(tmp_path)) and "\n" not in str(error.value)


def test_mutations_are_read_or_refused(tmp_path):
    """There is no checksum: other values, names and types of the same size are another file."""
    header = TWO | {
        "c": entry("F64", (1,), (24, 32)),
        "e": entry("U8", (0, 7), (32, 32)),
        "__metadata__": {"format": "pt"},
    }
    good, rng, refused = file_of(header, bytes(range(32))), np.random.default_rng(0), 0
    text = json.dumps(header).encode()
    for _ in range(2000):
        words = file_of(mutated(text, rng, words=[*WORDS, "F16", "U8", "24", "12"]), bytes(range(32)))
        content = words if rng.integers(2) else mutated(good, rng)
        try:
            found = load(tmp_path, content)
        except ValueError as error:
            refused += 1
            assert type(error) is ValueError and len(str(error)) < 400 + len(str(tmp_path)) and "\n" not in str(error)
        else:
            size = int.from_bytes(content[:8], "little")
            assert sum(array.nbytes for array in found.values()) == len(content) - 8 - size
    assert 1000 < refused < 2000
