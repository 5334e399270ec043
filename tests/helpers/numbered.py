"""Videos whose frames bear their number, made by PyAV: which frame did a reader really return?"""

import fractions
import io
from collections.abc import Callable

import numpy as np

SIZE = WIDTH, HEIGHT = 128, 96


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """uint8 [h, w, 3]: block b of eight in the upper third is white if bit b of the number is set, below is colour."""
    y, x = np.mgrid[:height, :width]
    ramps = x * 200 // width + 20, y * 200 // height + 20, 0 * x + number % 7 * 30 + 30
    out = np.stack(ramps, -1).astype(np.uint8)
    for bit in range(8):
        out[: height // 3, bit * width // 8 : (bit + 1) * width // 8] = 235 if number >> bit & 1 else 20
    return out


def number(frame: np.ndarray) -> int:
    """The number of a picture."""
    height, width = frame.shape[:2]
    side = width // 8
    blocks = [frame[2 : height // 3 - 2, b * side + 2 : (b + 1) * side - 2].mean() > 127 for b in range(8)]
    return sum(1 << b for b, bright in enumerate(blocks) if bright)


def numbers(frames) -> list[int]:
    return [number(frame) for frame in frames]


def write(
    target,
    codec: str,
    *,
    container: str | None = None,
    num: int = 60,
    gop: int = 12,
    b_frames: int = 0,
    times=None,
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = SIZE,
    params: str = "",
    options: dict | None = None,
    change: Callable = lambda stream: None,
    draw: Callable = picture,
):
    """Writes frames 0, 1, ..., num - 1 -> `target`, a path or a buffer.

    Args:
      times: when frames are shown, in milliseconds; None: 25 a second.
      params: of x264 or x265, "a=1:b=2". options: of the container.
      change: what else is set of PyAV's stream. draw: (number, width, height) -> the picture.
    """
    import av

    unit = fractions.Fraction(1, 25 if times is None else 1000)
    with av.open(
        target if isinstance(target, io.BytesIO) else str(target), "w", format=container, options=options or {}
    ) as file:
        stream = file.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = gop, b_frames
        stream.codec_context.time_base = unit
        if codec in ("libx264", "libx265"):
            own = f"keyint={gop}:min-keyint={gop}:scenecut=0:bframes={b_frames}"
            quiet = "log-level=error" if codec == "libx265" else ""
            stream.options = {f"{codec[3:]}-params": ":".join(filter(None, (own, quiet, params))), "preset": "veryfast"}
        change(stream)
        for k in range(num):
            frame = av.VideoFrame.from_ndarray(draw(k, *size), format="rgb24")
            frame.pts, frame.time_base = k if times is None else int(times[k]), unit
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return target


def copy(source, target, change: Callable = lambda packets: packets, *, container=None, options=None, tags=None):
    """Writes the packets of a video's first stream into another file, as `change`d in between, and returns it."""
    import av

    with av.open(str(source)) as read, av.open(str(target), "w", format=container, options=options or {}) as file:
        stream = file.add_stream_from_template(read.streams.video[0])
        file.metadata.update(tags or {})
        packets = [packet for packet in read.demux(video=0) if packet.size]
        for packet in change(packets):
            packet.stream = stream
            file.mux(packet)
    return target


def in_order(path) -> list[int]:
    """The numbers of all frames as FFmpeg shows them: a plain loop over the first video stream, which passes over what
    cannot be decoded before the first frame."""
    import av

    found = []
    with av.open(str(path)) as file:
        for packet in file.demux(video=0):
            try:
                found += [number(frame.to_ndarray(format="rgb24")) for frame in packet.decode()]
            except av.FFmpegError:
                assert not found
    return found


def packed(target, *, num: int = 61, gop: int = 12, container: str | None = None):
    """MPEG-4 with packed B-frames, as DivX 5 wrote it: a P-frame and the B-frame before it share a packet, and the next
    packet says that there is no frame."""
    import av

    source = write(io.BytesIO(), "mpeg4", container="avi", num=num, gop=gop, b_frames=1, change=_strictly_alternating)
    source.seek(0)
    mark = b"\x00\x00\x01\xb2DivX503b1393p"
    with av.open(source) as read, av.open(str(target), "w", format=container) as file:
        stream = file.add_stream_from_template(read.streams.video[0])
        content = [bytes(packet) for packet in read.demux(video=0) if packet.size]
        for k, data in enumerate(_pack(content, mark)):
            packet = av.Packet(data)
            packet.stream, packet.pts, packet.dts = stream, k, k
            packet.time_base = fractions.Fraction(1, 25)
            packet.is_keyframe = _coding_type(data) == 0
            file.mux(packet)
    return target


def _strictly_alternating(stream) -> None:
    stream.options = {"b_strategy": "0"}


def _coding_type(data: bytes) -> int:
    """0, 1, 2: I, P, B."""
    return data[data.index(b"\x00\x00\x01\xb6") + 4] >> 6


def _pack(content: list[bytes], mark: bytes):
    place = content[0].index(b"\x00\x00\x01\xb6")
    content = [content[0][:place] + mark + content[0][place:], *content[1:]]
    k = 0
    while k < len(content):
        if k + 1 < len(content) and _coding_type(content[k + 1]) == 2:
            yield content[k] + content[k + 1]
            yield nothing(content[k])
            k += 2
        else:
            yield content[k]
            k += 1


def nothing(data: bytes) -> bytes:
    """An MPEG-4 frame that says that it holds none, at the time of `data`."""
    start = data.index(b"\x00\x00\x01\xb6")
    bits = "".join(f"{byte:08b}" for byte in data[start + 4 : start + 10])
    end = bits.index("0", 2) + 1 + 1 + 5 + 1  # modulo_time_base, marker, vop_time_increment of 25 a second, marker
    bits = "01" + bits[2:end] + "0" + "0"  # a P-frame that is not coded, and the stuffing's 0
    bits += "1" * (-len(bits) % 8)
    return b"\x00\x00\x01\xb6" + bytes(int(bits[k : k + 8], 2) for k in range(0, len(bits), 8))
