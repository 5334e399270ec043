"""Text of others: marks, encodings, line ends, packing, sizes; what is no text is one line that names the file."""

import bz2
import gzip
import io
import json
import lzma
import os
import zipfile

import numpy as np
import pytest

from actjax.array_files import read_array, read_arrays
from actjax.text_files import read_json, read_lines, read_rows, read_text, suffix_of

TEXT = "clips/läuft.mp4 0\nclips/winkt 2.mp4 1\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("packed", [False, True])
def test_every_form_of_a_text_is_the_same_text(tmp_path, encoding, end, packed):
    data = TEXT.replace("\n", end).encode(encoding)
    (tmp_path / "list.txt").write_bytes(gzip.compress(data) if packed else data)
    assert read_text(tmp_path / "list.txt") == TEXT
    assert list(read_lines(tmp_path / "list.txt")) == [(1, "clips/läuft.mp4 0"), (2, "clips/winkt 2.mp4 1")]


def test_a_line_ends_where_files_end_lines_and_nowhere_else(tmp_path):
    (tmp_path / "list.txt").write_text("\n\u2028a\x85b\x0cc 0\n\n d 1 \n", encoding="utf-8")
    assert [number for number, _ in read_lines(tmp_path / "list.txt")] == [2, 4]


def _zip(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("list.txt", data)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            TEXT.encode("latin-1"),
            "is not UTF-8 text, as a list must be: byte 7, in line 1, is 0xe4; save it as UTF-8",
        ),
        (TEXT.encode("utf-16-le"), "is not UTF-8 text, as a list must be: byte 14, in line 1, is 0xe4"),
        (b"a 0\n".decode().encode("utf-16-le"), "a zero byte in line 1; save it as UTF-8"),
        (b"\xff\xfea", "is not UTF-16-LE text, as a list must be"),
        (gzip.compress(TEXT.encode() * 99)[:-30], "its gzip data is damaged or cut short"),
        (gzip.compress(TEXT.encode() * 99)[:-9] + b"012345678", "its gzip data is damaged or cut short"),
        (_zip(b"a 0"), "is not text, as a list must be, but a zip archive, or a spreadsheet; unpack it, or export"),
        (gzip.compress(_zip(b"a 0")), "but a zip archive"),
        (bz2.compress(b"a 0"), "packed with bzip2; unpack it"),
        (lzma.compress(b"a 0"), "packed with xz; unpack it"),
        (b"\x80\x04K\x00.", "a pickle of Python"),
    ],
    ids=lambda value: value[-20:] if isinstance(value, str) else "data",  # gzip and zip hold the time
)
def test_what_is_no_text_is_refused_in_one_line(tmp_path, data, message):
    (tmp_path / "list.txt").write_bytes(data)
    with pytest.raises(ValueError) as caught:
        read_text(tmp_path / "list.txt", what="a list")
    assert message in str(caught.value) and str(caught.value).startswith(str(tmp_path / "list.txt"))
    assert "\n" not in str(caught.value)


def test_what_is_no_file_is_named_and_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name, message in (("pipe", "is a named pipe, not a list"), ("zero", "is a device"), (".", "is a folder")):
        with pytest.raises(ValueError, match=message):
            read_text(tmp_path / name, what="a list")
    with pytest.raises(FileNotFoundError, match="none.txt does not exist"):
        read_text(tmp_path / "none.txt")


def test_sizes_are_bounded_before_the_memory_is_taken(tmp_path, monkeypatch):
    with gzip.open(tmp_path / "list.gz", "wb") as file:
        for _ in range(20):
            file.write(bytes(2**20))
    with monkeypatch.context() as patch:
        patch.setenv("ACTJAX_MAX_TEXT_MB", "16")
        with pytest.raises(ValueError, match="list.gz is larger than a list may be: ACTJAX_MAX_TEXT_MB=16 MB; raise"):
            read_text(tmp_path / "list.gz", what="a list")
    (tmp_path / "list.json").write_text("[" + "{}," * 1000 + "{}]")
    assert len(read_json(tmp_path / "list.json")) == 1001
    for name, value in (("ACTJAX_MAX_VALUES", "1000"), ("ACTJAX_MAX_TEXT_MB", "0.001")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            with pytest.raises(ValueError, match=f"list.json.*{name}={value}"):
                read_json(tmp_path / "list.json")
    monkeypatch.setenv("ACTJAX_MAX_TEXT_MB", "much")
    with pytest.raises(ValueError, match="ACTJAX_MAX_TEXT_MB='much' in the environment; must be a positive number"):
        read_json(tmp_path / "list.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "file.json, line 1, column 2: not JSON: "),
        ('{"a": 1,\n"b": {"c": 1, "c": 2}}', "file.json: duplicate key 'c' in one object; keep one"),
        ("[" * 200_000, "nested too deeply"),
        ('{"a":' * 200_000, "nested too deeply"),
        ("", "file.json, line 1, column 1: not JSON"),
    ],
)
def test_json_that_does_not_parse_is_one_line(tmp_path, text, message):
    (tmp_path / "file.json").write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_json(tmp_path / "file.json")
    assert len(str(caught.value)) - len(str(tmp_path)) < 200


def test_long_numbers_are_numbers(tmp_path):
    (tmp_path / "file.json").write_text(f"[{'9' * 18}, {'9' * 400}, {'9' * 5000}, 1e400]")
    exact, *infinite = read_json(tmp_path / "file.json")
    assert exact == 10**18 - 1 and infinite == [float("inf")] * 3


def test_tables_of_spreadsheets(tmp_path):
    for mark in ",;\t":
        (tmp_path / "a.csv").write_bytes(
            f"\ufeffpath{mark}label{mark}\r\na b.mp4{mark}1{mark}\r\n{mark}{mark}\r\n".encode()
        )
        assert list(read_rows(tmp_path / "a.csv")) == [(2, {"path": "a b.mp4", "label": "1"})]
    for text, message in (
        ("path,path\na,1\n", "a.csv, line 1: several columns have the same name"),
        ('path,label\n"a"b,1\n', "a.csv, line 2: not CSV"),
        ('path,label\n"a,1\n', "a.csv, line 2: not CSV"),
        (f"path,label\n{'a' * 200_000},1\n", "a.csv, line 2: not CSV: field larger than field limit"),
        ("path,label\na,1,2\n", "a.csv, line 2: 3 fields"),
    ):
        (tmp_path / "a.csv").write_text(text)
        with pytest.raises(ValueError, match=message) as caught:
            list(read_rows(tmp_path / "a.csv"))
        assert len(str(caught.value)) - len(str(tmp_path)) < 300


def test_rows_of_excel_may_lack_their_last_fields(tmp_path):
    for first in ("sep=;\n", '"sep=;"\n'):
        (tmp_path / "a.csv").write_text(f"{first}path;label;note\na;1;x\nb;2\n")
        assert list(read_rows(tmp_path / "a.csv")) == [
            (3, {"path": "a", "label": "1", "note": "x"}),
            (4, {"path": "b", "label": "2", "note": None}),
        ]


def test_lines_and_infinite_limits(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("a 0\n" * 20)
    monkeypatch.setenv("ACTJAX_MAX_TEXT_LINES", "10")
    with pytest.raises(ValueError, match="a.txt has too many lines: 20 is more than ACTJAX_MAX_TEXT_LINES=10 allows"):
        read_text(tmp_path / "a.txt")
    for value in ("inf", "10,000"):
        monkeypatch.setenv("ACTJAX_MAX_TEXT_LINES", value)
        monkeypatch.setenv("ACTJAX_MAX_TEXT_MB", value)
        assert len(list(read_lines(tmp_path / "a.txt"))) == 20


def test_kinds_of_files_in_any_case():
    assert [suffix_of(name) for name in ("a.JSON", "b.tar.GZ", "c.Csv.gz", "v1.0_d")] == [
        ".json",
        ".tar",
        ".csv",
        ".0_d",
    ]


@pytest.mark.parametrize(
    ("save", "message"),
    [
        (lambda path: np.savez(path.open("wb"), a=np.zeros(3)), "is not an array .*: a zip archive, as .npz files are"),
        (lambda path: path.write_bytes(b"\x93NUMPY\x01\x00"), "or damaged"),
        (lambda path: path.write_bytes(b"hello"), "it begins with b'hello'"),
        (lambda path: np.save(path, np.array([{}])), "objects of Python"),
    ],
)
def test_arrays_that_are_none(tmp_path, save, message):
    save(tmp_path / "a.npy")
    with pytest.raises(ValueError, match=f"a.npy.*{message}"):
        read_array(tmp_path / "a.npy")


def test_a_header_that_promises_more_than_the_file_holds(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 3)))
    data = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(data.replace(b"(2, 3), }         ", b"(2, 3000000000), }"))
    with pytest.raises(ValueError, match="or damaged"):
        read_array(tmp_path / "a.npy")


def test_arrays_that_unpack_to_more_than_the_limit(tmp_path, monkeypatch):
    monkeypatch.setenv("ACTJAX_MAX_ARRAY_MB", "16")
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as file:
        for _ in range(20):
            file.write(bytes(2**20))
    with pytest.raises(ValueError, match="a.npz is too large .*20 is more than ACTJAX_MAX_ARRAY_MB=16 allows"):
        read_arrays(tmp_path / "a.npz")


def test_names_of_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", one=np.arange(3), two=np.array(["a"]))
    found = read_arrays(tmp_path / "a.npz")
    assert found["one"].tolist() == [0, 1, 2] and found["two"].tolist() == ["a"]
    assert json.dumps(sorted(found)) == '["one", "two"]'
