"""Mutations of a good file, as accidents and strangers make them, and what a reader may answer."""

import gzip
import random
import re
import time

VALUES = ("nan", "inf", "-inf", "1e400", "-1", "0.7", "9" * 400, "1e30", "", '""', "[/x]", "../x", "null", "{}",
          "\u2028", "\x1b[31m", "true", "1_0", "a" * 5000)  # fmt: skip
ERRORS = (ValueError, TypeError, KeyError, OSError)


def same_meaning(text: str) -> dict[str, bytes]:
    """Forms of a text that say the same, by name."""
    lines = text.encode()
    return {
        "as it is": lines,
        "byte order mark": b"\xef\xbb\xbf" + lines,
        "utf-16": text.encode("utf-16"),
        "utf-32": text.encode("utf-32"),
        "windows": lines.replace(b"\n", b"\r\n"),
        "old mac": lines.replace(b"\n", b"\r"),
        "no last line end": lines.rstrip(b"\n"),
        "gzip": gzip.compress(lines, mtime=0),
        "gzip of utf-16": gzip.compress(text.encode("utf-16"), mtime=0),
    }


def mutated(data: bytes, draw: random.Random) -> bytes:
    """The data with one to three accidents: of bytes, of tokens, of lines, or of its length."""
    for _ in range(draw.choice((1, 1, 2, 3))):
        data = draw.choice((_flip, _cut, _insert, _token, _token, _line, _line, _swap))(data, draw)
    return data


def _flip(data, draw):
    place = draw.randrange(len(data) + 1)
    return data[:place] + bytes([draw.randrange(256)]) + data[place + 1 :]


def _cut(data, draw):
    return data[: draw.randrange(len(data) + 1)]


def _insert(data, draw):
    place = draw.randrange(len(data) + 1)
    return data[:place] + draw.choice((b"\0", b"\xff", b"\n", b'"', b",", b" ", b"[", b"{", data[:100])) + data[place:]


def _token(data, draw):
    found = list(re.finditer(rb"[\w.+-]+", data))
    if not found:
        return data
    token = draw.choice(found)
    return data[: token.start()] + draw.choice(VALUES).encode() + data[token.end() :]


def _line(data, draw):
    lines = data.split(b"\n")
    place = draw.randrange(len(lines))
    change = draw.choice(("double", "remove", "shuffle"))
    if change == "shuffle":
        draw.shuffle(lines)
    else:
        lines[place : place + 1] = lines[place : place + 1] * (2 if change == "double" else 0)
    return b"\n".join(lines)


def _swap(data, draw):
    a, b = sorted(draw.randrange(len(data) + 1) for _ in range(2))
    return data[b:] + data[a:b] + data[:a]


def answer(read, path) -> str:
    """Reads a file -> the error, or "" if it is read.

    Raises:
      AssertionError: the error is none of `ERRORS`, has several lines or 400 characters, does not name the file, or
        took two seconds of the processor.
    """
    started = time.process_time()
    try:
        read(path)
        told = ""
    except ERRORS as error:
        told = str(error.args[0]) if isinstance(error, KeyError) else str(error)
        assert told and "\n" not in told and len(told.replace(str(path.parent), "")) < 400, told
        assert path.name in told or str(path.parent) in told, told
    assert time.process_time() - started < 2
    return told
