"""The size of a picture by the header of its file, before there is memory for the pixels."""

import re
import struct

_PORTABLE = re.compile(rb"P[1-6](?:\s|#[^\r\n]*[\r\n])+(\d{1,9})(?:\s|#[^\r\n]*[\r\n])+(\d{1,9})\s")
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # JPEG's markers of a frame: SOF0 to SOF15
_END = 0xD9  # JPEG's marker at the end of the picture
_INTEGERS = {3: "H", 4: "I", 16: "Q"}  # TIFF's numbers of its types
_ALONE = {0x01, *range(0xD0, 0xD9)}  # JPEG's markers without a length


def picture_size(content: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG, PNG, BMP, TIFF, WebP or portable (PBM, PGM, PPM) file, as OpenCV reads it; None if
    its header says none, or it is of another kind.

    >>> picture_size(b"P5 640 480 255 ...")
    (640, 480)
    """
    try:
        for start, size in _KINDS.items():
            if content.startswith(start):
                return size(content)
    except (struct.error, IndexError):  # cut off
        return None
    return None


def _jpeg(content: bytes) -> tuple[int, int] | None:
    place = 2
    while True:
        place = content.find(b"\xff", place)  # between segments, anything else is passed over
        kind = content[place + 1] if place >= 0 else _END
        if kind == _END:
            return None
        if kind in (0x00, 0xFF) or kind in _ALONE:
            place += 1 if kind == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", content, place + 2)
        if kind in _FRAMES:
            height, width = struct.unpack_from(">HH", content, place + 5)
            return width, height
        place += 2 + max(length, 2)


def _png(content: bytes) -> tuple[int, int]:
    return struct.unpack_from(">II", content, 16)


def _bmp(content: bytes) -> tuple[int, int]:
    (header,) = struct.unpack_from("<I", content, 14)
    width, height = struct.unpack_from("<HH" if header == 12 else "<ii", content, 18)
    return abs(width), abs(height)


def _webp(content: bytes) -> tuple[int, int] | None:
    kind = content[8:16]
    if kind == b"WEBPVP8X":
        width, height = content[24:27], content[27:30]
        return 1 + int.from_bytes(width, "little"), 1 + int.from_bytes(height, "little")
    if kind == b"WEBPVP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"WEBPVP8 ":
        width, height = struct.unpack_from("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _tiff(content: bytes) -> tuple[int, int] | None:
    """Of BigTIFF too, whose offsets and counts have 64 bits."""
    order = "<" if content.startswith(b"II") else ">"
    big = struct.unpack_from(f"{order}H", content, 2) == (43,)
    word, head, row = ("Q", "Q", 20) if big else ("I", "H", 12)
    (place,) = struct.unpack_from(order + word, content, 8 if big else 4)
    (count,) = struct.unpack_from(order + head, content, place)
    start, sides = place + struct.calcsize(order + head), {}
    for entry in range(start, start + row * count, row):
        tag, kind = struct.unpack_from(f"{order}HH", content, entry)
        (sides[tag],) = struct.unpack_from(
            order + _INTEGERS.get(kind, "I"), content, entry + row - struct.calcsize(word)
        )
    return (sides[256], sides[257]) if {256, 257} <= sides.keys() else None


def _portable(content: bytes) -> tuple[int, int] | None:
    found = _PORTABLE.match(content)
    return found and (int(found[1]), int(found[2]))


_KINDS = {b"\xff\xd8": _jpeg, b"\x89PNG\r\n\x1a\n": _png, b"BM": _bmp, b"RIFF": _webp}
_KINDS |= {b"II*\0": _tiff, b"MM\0*": _tiff, b"II+\0": _tiff, b"MM\0+": _tiff}
_KINDS |= {b"P%d" % k: _portable for k in range(1, 7)}
