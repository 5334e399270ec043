"""The boxes of MP4 and MOV files, as far as they must be known before FFmpeg reads them."""

import contextlib
from collections.abc import Iterator
from typing import BinaryIO

from actjax.video.readers import Unreadable

_MANY = 200_000  # boxes; more are no file of an encoder
_DEPTH = 10  # to which FFmpeg looks into boxes
_PARENTS = frozenset(b"moov trak mdia minf stbl moof traf mvex edts dinf udta tref".split())
_PER_SAMPLE = 0xF00  # flags of a fragment's table: it has a row for each sample


def has_fragments(file: BinaryIO) -> bool:
    """Whether an MP4 or MOV file has movie fragments: the index does not list their frames until they are read. Also
    True where there is something else between boxes."""
    try:
        return any(kind == b"moof" for kind, _, _ in _boxes(file, 0, file.seek(0, 2)))
    except _NotBoxes:
        return True


def check_promises(file: BinaryIO) -> None:
    """Looks for the tables that need no space for each sample: FFmpeg takes memory for all when it opens the file.

    Raises:
      Unreadable: an MP4 or MOV file promises more samples than it has bytes, or has more boxes than can be looked at.
    """
    size = file.seek(0, 2)
    parts, num_boxes, promised = [(0, size, 1)], 0, 0
    while parts:
        start, end, depth = parts.pop()
        with contextlib.suppress(_NotBoxes):
            for kind, inside, behind in _boxes(file, start, end):
                num_boxes += 1
                if num_boxes > _MANY:
                    raise Unreadable(f"it has more than {_MANY} boxes")
                if kind in _PARENTS and depth < _DEPTH:
                    parts.append((inside, behind, depth + 1))
                promised += _promised(kind, file.read(12)) if kind in (b"stsz", b"trun") else 0
    if promised > size:
        raise Unreadable(f"its index promises {promised} frames or sounds, in {size} bytes")


def _promised(kind: bytes, table: bytes) -> int:
    """The number of samples in a table without rows for them."""
    flags, one, two = (int.from_bytes(table[k : k + 4], "big") for k in (0, 4, 8))
    if kind == b"stsz":
        return two if one else 0
    return 0 if flags & _PER_SAMPLE else one


class _NotBoxes(Exception):
    """There is something else where a box must begin."""


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, begin and end of the content of each box; the file is at the begin. _NotBoxes: here is none."""
    while start + 8 <= end:
        file.seek(start)
        size, kind, content = int.from_bytes(file.read(4), "big"), file.read(4), start + 8
        if size == 1:
            size, content = int.from_bytes(file.read(8), "big"), start + 16
        elif size == 0:  # the last box, up to the end
            size = end - start
        if size < content - start:
            raise _NotBoxes
        yield kind, content, min(start + size, end)
        start += size
