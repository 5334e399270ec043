"""The boxes of MP4 and MOV files, as far as they must be known before FFmpeg reads them."""

import struct
from collections.abc import Collection, Iterator
from typing import BinaryIO

import numpy as np

from actjax.video.readers import Unreadable

_DEPTH = 10  # to which FFmpeg looks into boxes
_PARENTS = frozenset(b"moov trak mdia minf stbl moof traf mvex edts dinf udta tref".split())
_TABLES = frozenset(b"hdlr stsz stts stsc stco co64".split())  # of a track, as far as they are looked at
_PER_SAMPLE = 0xF00  # flags of a fragment's table: it has a row for each sample
_FRAME = 160  # samples; the fewest that FFmpeg keeps as one where it does not keep each


def has_fragments(file: BinaryIO) -> bool:
    """Whether an MP4 or MOV file has movie fragments: the index does not list their frames until they are read. Also
    True where there is something else between boxes."""
    return any(kind in (b"moof", b"") for kind, _, _ in _boxes(file))


def check_promises(file: BinaryIO) -> None:
    """Looks for the tables that need no space for each sample: FFmpeg takes memory for all when it opens the file.

    Raises:
      Unreadable: an MP4 or MOV file promises more samples than it has bytes.
    """
    promised, tracks = 0, [_Track()]
    for kind, inside, behind in _boxes(file, _PARENTS):
        if kind == b"trak":
            tracks.append(_Track())
        elif kind in _TABLES:  # as FFmpeg reads it, of the last track that began
            tracks[-1].add(kind, file, behind - inside)
        elif kind == b"trun":
            flags, count = _numbers(file.read(8), 2)
            promised += 0 if flags & _PER_SAMPLE else count
    promised += sum(track.promised() for track in tracks)
    size = file.seek(0, 2)
    if promised > size:
        raise Unreadable(f"its index promises {promised} frames or sounds, in {size} bytes")


class _Track:
    """What the tables of a track say of its samples."""

    def __init__(self):
        self._equal = 0  # samples of equal size, for which there are no rows
        self._is_sound, self._even = False, True  # whether each sample lasts one unit of time
        self._chunks, self._most = 0, 0  # number of chunks, and the most samples in one

    def add(self, kind: bytes, file: BinaryIO, size: int) -> None:
        """Reads a table from where the file is; `size` of its content, in bytes."""
        _, one, two, three = _numbers(file.read(min(size, 16)), 4)
        if kind == b"hdlr" and two in (_VIDEO, _SOUND):
            self._is_sound = two == _SOUND
        elif kind == b"stsz" and one:
            self._equal = max(self._equal, two)
        elif kind == b"stts":
            self._even = self._even and (one, three) == (1, 1)
        elif kind in (b"stco", b"co64"):
            self._chunks = max(self._chunks, one)
        elif kind == b"stsc":
            file.seek(-min(size, 16) + 8, 1)
            rows = np.frombuffer(file.read(max(size - 8, 0) // 12 * 12), ">u4").reshape(-1, 3)
            self._most = max(self._most, int(rows[:one, 1].max(initial=0)))

    def promised(self) -> int:
        """The most samples that FFmpeg keeps; of sound whose samples last one unit of time it keeps parts of chunks."""
        parts = self._chunks * self._most // _FRAME if self._even else 0
        return parts if self._is_sound and self._even else max(parts, self._equal)


_VIDEO, _SOUND = (int.from_bytes(name, "big") for name in (b"vide", b"soun"))


def _numbers(content: bytes, count: int) -> tuple[int, ...]:
    """The first numbers of 32 bits; 0 where the content ends before."""
    return struct.unpack(f">{count}I", content.ljust(4 * count, b"\0"))


def _boxes(file: BinaryIO, parents: Collection[bytes] = ()) -> Iterator[tuple[bytes, int, int]]:
    """Kind, begin and end of the content of each box, in the order of the file, also of those inside `parents`; the
    file is at the begin. A kind of b"": there is something else, up to the end of the box around it."""
    start, ends = 0, [file.seek(0, 2)]
    while ends:
        if start + 8 > ends[-1]:
            start = ends.pop()
            continue
        file.seek(start)
        size, kind = struct.unpack(">I4s", file.read(8))
        content = start + 8
        if size == 1:
            size, content = int.from_bytes(file.read(8), "big"), start + 16
        elif size == 0:  # the last box, up to the end
            size = ends[-1] - start
        if size < content - start:
            yield b"", start, ends[-1]
            start = ends.pop()
            continue
        behind = min(start + size, ends[-1])
        yield kind, content, behind
        if kind in parents and len(ends) < _DEPTH:
            ends.append(behind)
            start = content
        else:
            start = behind
