"""Decoded frames -> RGB as FFmpeg shows them: upright, converted with the file's own colour matrix and range."""

import fractions
import itertools
import math
import struct

import numpy as np

TICK = fractions.Fraction(1, 1000)  # the filters need a time base but do not use it


class Converter:
    """An FFmpeg filter chain, rebuilt whenever the frame's size, format, colours or display matrix change."""

    def __init__(self):
        self._kind = None

    def __call__(self, frame) -> np.ndarray:
        """A PyAV frame -> uint8 [h, w, 3]; do not write to it: it is FFmpeg's own buffer."""
        matrix = display_matrix(frame)
        kind = (frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range, matrix)
        if kind != self._kind:
            self._kind, self._filters = kind, _filters(frame, upright(matrix))
        source, *_, sink = self._filters
        source.push(frame)
        shown = sink.pull()
        rows = np.frombuffer(shown.planes[0], np.uint8).reshape(shown.height, -1)
        return rows[:, : 3 * shown.width].reshape(shown.height, shown.width, 3)


def _filters(frame, turns: list[tuple[str, str | None]]):
    """A filter chain that rotates frames upright and converts them to RGB -> first filter, graph, last filter."""
    import av

    graph = av.filter.Graph()
    graph.threads = 1
    kind = dict(width=frame.width, height=frame.height, format=frame.format)
    source = graph.add_buffer(**kind, time_base=TICK)
    # interl=0: interlaced frames are scaled as whole frames. bicubic: FFmpeg's default chroma interpolation.
    steps = [*turns, ("scale", "interl=0:flags=bicubic"), ("format", "rgb24"), ("buffersink", None)]
    chain = [source, *(graph.add(name, arguments) for name, arguments in steps)]
    for one, next_ in itertools.pairwise(chain):
        one.link_to(next_)
    graph.configure()
    return source, graph, chain[-1]  # keep the graph alive: filters crash without it


def display_matrix(frame) -> tuple[int, ...] | None:
    """The nine numbers that say how to rotate and mirror a frame for display; None: show it as it is."""
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV 18 fails on side data that it has no name for, such as a camera's EXIF
        turn = math.radians(frame.rotation)
        a, b = round(math.cos(turn) * 2**16), round(math.sin(turn) * 2**16)
        return (a, -b, 0, b, a, 0, 0, 0, 2**30) if frame.rotation else None
    return None if data is None else struct.unpack("=9i", bytes(data))


def upright(matrix: tuple[int, ...] | None) -> list[tuple[str, str | None]]:
    """The FFmpeg filters (name, arguments) that apply a display matrix.

    Source: the filters that FFmpeg itself chooses in `fftools/ffmpeg_filter.c`.
    """
    if matrix is None or not math.hypot(matrix[0], matrix[3]) or not math.hypot(matrix[1], matrix[4]):
        return []
    a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
    angle = round(math.degrees(math.atan2(b / math.hypot(b, d), a / math.hypot(a, c)))) % 360
    if angle == 90:
        return [("transpose", "cclock_flip" if c > 0 else "clock")]
    if angle == 270:
        return [("transpose", "clock_flip" if c < 0 else "cclock")]
    if angle == 180:
        return [("hflip", None)] * (a < 0) + [("vflip", None)] * (d < 0)
    if angle > 1:
        return [("rotate", f"{angle}*PI/180")]
    return [("vflip", None)] * (d < 0 and not angle)
