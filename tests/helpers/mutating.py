"""Mutated copies of files, what a reader may answer, and a process that reads many: it must not crash, hang, or take
much memory."""

import functools
import gzip
import importlib
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np

EXTREMES = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


WORDS = ("nan", "inf", "-inf", "1e400", "-1", "0.7", "9" * 400, "1e30", "", '""', "[/x]", "../x", "null", "{}",
         "\u2028", "\x1b[31m", "true", "1_0", "a" * 5000, '"', "[", "{", ",", " ", "\n", "\0")  # fmt: skip
ERRORS = (ValueError, TypeError, KeyError, OSError)


def mutated(content: bytes, rng: np.random.Generator, *, words: Sequence[str] = ()) -> bytes:
    """A copy with a few bits, bytes or 32-bit numbers changed, or parts cut, zeroed, repeated, moved or left out.

    Args:
      words: for text, of which most copies have one in place of an own word, or lines doubled, missing or shuffled.
    """
    if words and rng.integers(3):
        return (_with_word if rng.integers(2) else _with_lines)(content, rng, words)
    data, kind = bytearray(content), rng.integers(9)
    reach = len(data) if rng.integers(2) else min(len(data), 600)  # half of them in the header
    place, other = sorted(int(k) for k in rng.integers(max(reach, 1), size=2))
    if kind == 0:
        del data[place:]
    elif kind == 1:
        for k in rng.integers(reach, size=rng.integers(1, 20)) if reach else ():
            data[k] ^= 1 << rng.integers(8)
    elif kind == 2:
        data[place : place + 8] = rng.bytes(8)
    elif kind == 3:
        number = struct.pack(rng.choice(["<I", ">I"]), int(rng.choice(EXTREMES)))
        data[place : place + 4] = number
    elif kind == 4:
        data[place:other] = bytes(other - place)
    elif kind == 5:
        data[place:place] = data[place:other]
    elif kind == 6:
        data[place:other] = data[place:other][::-1]
    elif kind == 7:
        del data[place : min(other, place + 64)]
    elif data:
        _swap_boxes(data, rng)
    return bytes(data)


def _with_word(content: bytes, rng: np.random.Generator, words: Sequence[str]) -> bytes:
    """With one of the words in place of one of its own."""
    own = list(re.finditer(rb"[\w.+-]+", content))
    if not own:
        return content
    found = own[rng.integers(len(own))]
    return content[: found.start()] + words[rng.integers(len(words))].encode() + content[found.end() :]


def _with_lines(content: bytes, rng: np.random.Generator, words: Sequence[str]) -> bytes:
    """With a line twice, without one, or with all in another order."""
    lines = content.split(b"\n")
    place, change = rng.integers(len(lines)), rng.integers(3)
    if change == 2:
        return b"\n".join(lines[k] for k in rng.permutation(len(lines)))
    return b"\n".join([*lines[:place], *lines[place : place + 1] * (2 * int(change)), *lines[place + 1 :]])


def _swap_boxes(data: bytearray, rng: np.random.Generator) -> None:
    """Exchanges two boxes of an MP4 file, or two equal pieces of another one."""
    boxes = "ftyp moov mdat trak mdia minf stbl stsd stts stsc stsz stco tkhd mdhd hdlr edts avcC"
    names = [name for name in boxes.encode().split() if name in data]
    if len(names) < 2:
        names = [bytes(data[k : k + 4]) for k in rng.integers(len(data), size=2)]
    one, two = (data.index(names[k]) for k in rng.choice(len(names), 2, replace=False))
    data[one : one + 4], data[two : two + 4] = data[two : two + 4], data[one : one + 4]


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


def in_process(call: str, *, timeout: float = 500) -> str:
    """Runs Python in a process of its own -> what it printed. A crash, or an error in it, is an AssertionError."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", call], capture_output=True, text=True, timeout=timeout, env=environment
    )
    assert done.returncode == 0, f"status {done.returncode}: {done.stdout[-300:]} {done.stderr[-3000:]}"
    return done.stdout


def read_all(paths: list[str], num: int, *, folder: str = "", seconds: int = 20, megabytes: int = 1000, **options):
    """Reads `num` mutated copies of each of some files, and prints how many were read, and how many refused.

    A copy is read whole, its frames of one size, or refused in one line. `seconds` without an answer end the process.
    folder: for pictures, where a copy is written to be read.
    """
    from actjax.video.errors import VideoError

    found = {"read": 0, "refused": 0}
    for path in paths:
        with open(path, "rb") as file:
            content = file.read()
        read = functools.partial(_read, folder=folder, **options)
        read(content)
        before = _peak()
        for seed in range(num):
            signal.alarm(seconds)
            copy = mutated(content, np.random.default_rng(seed))
            try:
                read(copy)
                found["read"] += 1
            except VideoError as error:
                text = str(error)
                assert "\n" not in text and len(text) < 400, (path, seed, text)
                found["refused"] += 1
            except BaseException:
                print(path, seed, flush=True)
                raise
            assert _peak() - before < megabytes, (path, seed, _peak() - before)
    print(*found.values())


def _read(content: bytes, *, folder: str, **options) -> None:
    from actjax.video.decoding import open_video

    if folder:
        with open(os.path.join(folder, "1"), "wb") as file:
            file.write(content)
    video = open_video(folder or content, **options)
    many = min(video.num_frames, 100)
    frames = video.frames(range(many))
    assert frames.dtype == np.uint8 and frames.shape[::3] == (many, 3), frames.shape


def refuse(path: str, megabytes: int, **options) -> None:
    """Prints why a file is refused, which must not take more memory."""
    from actjax.video.decoding import check_backend, open_video
    from actjax.video.errors import VideoError

    check_backend(options["backend"])
    for module in ("av", "cv2", options["backend"].replace("opencv", "cv2").replace("pyav", "av")):
        importlib.import_module(module)
    before = _peak()
    try:
        open_video(path, **options).frames(range(3))
    except VideoError as error:
        print(error)
    assert _peak() - before < megabytes, _peak() - before


def _peak() -> float:
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
