"""The size of frames by the headers of a file. FFmpeg says zero where its decoder refused them as too large."""

import contextlib
from typing import BinaryIO

from actjax.video.containers import opened, options
from actjax.video.picture_sizes import picture_size

_PICTURES = ("apng", "bmp", "mjpeg", "pbm", "pgm", "png", "ppm", "tiff", "webp")  # codecs whose packets are such files


def header_size(source: str | BinaryIO, index: int) -> tuple[int, int]:
    """Width and height of the frames of stream `index`, as its container or its first picture says; (0, 0): neither
    does. No decoder is opened."""
    import av

    given = options(source) | {"codec_whitelist": "none"}
    del given["max_pixels"]
    position = None if isinstance(source, str) else source.tell()  # where FFmpeg goes on reading
    if position is not None:
        source.seek(0)
    try:
        with contextlib.suppress(av.FFmpegError), opened(source, given) as container:
            stream = container.streams[index]
            if (codec := stream.codec_context) is None or codec.width:
                return (codec.width, codec.height) if codec else (0, 0)
            packet = next((packet for packet in container.demux(stream) if packet.size), None)
            return packet_size(packet, codec.codec.canonical_name)
    finally:
        if position is not None:
            source.seek(position)
    return 0, 0


def packet_size(packet, codec: str) -> tuple[int, int]:
    """Width and height that a packet says if it is a whole picture file; (0, 0): it says none."""
    return (packet and codec in _PICTURES and picture_size(bytes(packet))) or (0, 0)
