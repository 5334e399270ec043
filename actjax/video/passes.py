"""Decoding passes: over a whole stream, or over a run of packets."""

import itertools
from collections.abc import Container, Iterator
from typing import NamedTuple

from actjax.video.groups import NOTHING, Run
from actjax.video.readers import Unreadable
from actjax.video.streams import Stream, Unordered

INTRA = 1  # FFmpeg's AV_PICTURE_TYPE_I


class Survey(NamedTuple):
    """The result of decoding a whole file.

    stamps: presentation timestamp of each frame. turns: decoding timestamp of each packet. damaged: indices of damaged
    frames. sizes: all (height, width). kept: the decoded frames, or None if they need too much memory.
    """

    stamps: list[int | None]
    turns: list[int | None]
    damaged: list[int]
    sizes: set[tuple[int, int]]
    kept: list | None

    @property
    def num_frames(self) -> int:
        return len(self.stamps)


def survey(stream: Stream, *, keep: int = 0) -> Survey:
    """Decodes the whole file. keep: bytes; decoded frames are kept if all of them fit."""
    stamps, turns, damaged, sizes, kept, size = [], [], [], set(), [], 0
    for k, frame in enumerate(in_order(stream, turns=turns)):
        stamps.append(frame.pts)
        sizes.add((frame.height, frame.width))
        if frame.is_corrupt:
            damaged.append(k)
        size += sum(plane.buffer_size for plane in frame.planes)
        if size <= keep:
            kept.append(frame)
        else:
            kept.clear()
    return Survey(stamps, turns, damaged, sizes, kept or None)


def in_order(stream: Stream, *, turns: list | None = None) -> Iterator:
    """Every frame of a stream, as FFmpeg shows them; each packet's decoding timestamp is appended to `turns`.

    Skips packets before the first frame that cannot be decoded, and the packets by which MPEG-4 says "no frame".

    Raises:
      Unreadable: a later packet cannot be decoded.
    """
    import av

    stream.rewind()
    count = 0
    for packet in itertools.chain(stream.packets(), [None]):
        if packet is not None and turns is not None:
            turns.append(packet.dts)
        try:
            frames = stream.decode(packet)
        except av.FFmpegError as error:
            mark = packet is not None and packet.size <= NOTHING and stream.format == "mpeg4"
            if count and not mark:
                raise Unreadable(f"decoding fails after {count} frames: {error.strerror}") from error
            continue
        count += len(frames)
        yield from frames


def decoded(stream: Stream, run: Run, wanted: Container[int]) -> Iterator:
    """The frames of a run. Frames that are neither wanted nor referenced may be missing.

    Raises:
      Unordered: timestamps do not increase, or differ from those of the packets; a packet is damaged or cannot be
        decoded; the run does not begin with a key frame.
    """
    import av

    codec, last = stream.codec, None
    codec.flush_buffers()
    for packet in itertools.chain(stream.packets(run.first, run.end), [None]):
        if packet is not None:
            codec.skip_frame = "NONREF" if run.reordered and packet.pts not in wanted else "DEFAULT"
        try:
            frames = stream.decode(packet)
        except av.FFmpegError:
            raise Unordered from None
        for frame in frames:
            if frame.pts not in run.stamps or (last is not None and frame.pts <= last):
                raise Unordered
            if frame.pts == run.key and frame.pict_type != INTRA:
                raise Unordered  # the file marks a frame as a key frame that refers to other frames
            if frame.is_corrupt:
                raise Unordered  # frames that refer to it may be damaged too, or its references precede the key frame
            last = frame.pts
            yield frame
