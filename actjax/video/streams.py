"""A video file opened with PyAV: its video stream and the packets of that stream."""

import errno
import io
import itertools
import weakref
from collections.abc import Iterator

import numpy as np

from actjax.video.boxes import has_fragments
from actjax.video.containers import check_file, nameless, opened, options
from actjax.video.header_sizes import header_size, packet_size
from actjax.video.readers import FRAME_LIMIT, TooLarge, Unreadable, check_size, frame_limit

MP4 = "mov,mp4,m4a,3gp,3g2,mj2"  # FFmpeg's name for the family
FAR = 1000  # packets; reading past fewer is faster than seeking


class Unordered(Exception):
    """The timestamps do not give the order of the frames."""


class Stream:
    """The video stream of a file.

    Args:
      source: an absolute path, or the bytes of a file.
      threads: number of decoding threads.

    Raises:
      Unreadable: the file holds no video, or FFmpeg has no decoder for it. TooLarge: its frames are above the limit.
    """

    def __init__(self, source: str | io.BytesIO, threads: int = 1):
        self._source, self._threads = source, threads
        self.num_uses = 0  # how often `packets` was started; an earlier iterator must not be continued
        self._indexed = False
        self._decoding: np.ndarray | None = None  # decoding time of each packet, from the index
        self.sizes: dict[int, tuple[int, int]] = {}  # stream -> width and height, also of covers; (0, 0): not known
        check_file(source)
        self._open()

    def _open(self) -> None:
        import av

        if not isinstance(self._source, str):
            self._source.seek(0)
        given = options(self._source)
        try:
            self._container = self._opened(given)
        except av.FFmpegError as error:
            raise Unreadable(f"not a video file, or its header or index is missing ({error.strerror})") from error
        self.sizes = self.sizes or self._sizes()
        self.stream = _best(self._container, self.sizes)
        self.codec = self.stream.codec_context
        check_size(*self.sizes[self.stream.index])
        self.codec.thread_count = self._threads
        self._most = frame_limit()
        self.codec.options = {"max_pixels": given["max_pixels"]}
        self._demux, self._position = self._container.demux(self.stream), 0

    def _opened(self, given: dict[str, str]):
        import av

        try:
            return opened(self._source, given)
        except av.ArgumentError:  # of a picture's suffix or a "%" FFmpeg makes a series of pictures
            if not isinstance(self._source, str):
                raise
        self._source = nameless(self._source)
        weakref.finalize(self, self._source.close)
        return opened(self._source, given)

    def decode(self, packet) -> list:
        """The frames that a packet completes; None: those that the decoder still holds.

        Raises:
          TooLarge: they are above the limit. av.FFmpegError: the packet cannot be decoded.
        """
        import av

        try:
            frames = self.codec.decode(packet)
        except av.FFmpegError as error:
            check_size(self.codec.width, self.codec.height)
            check_size(*packet_size(packet, self.format))
            if not self.codec.width and error.errno == errno.EINVAL:  # the decoder refuses the size
                raise TooLarge(
                    f"a frame has no valid size, or exceeds {FRAME_LIMIT}={frame_limit() / 1e6:g} megapixels; "
                    "raise this environment variable"
                ) from error
            raise
        if self.codec.coded_width * self.codec.coded_height > self._most * 9 // 8:  # a part of each frame is shown
            check_size(self.codec.coded_width, self.codec.coded_height)
        for frame in frames:
            if frame.width * frame.height > self._most:
                check_size(frame.width, frame.height)
        return frames

    def close(self) -> None:
        """Closes the file."""
        self._container.close()

    def rewind(self) -> None:
        """Back to the beginning, with a fresh decoder."""
        if self._position:
            self._reopen()

    @property
    def container(self) -> str:
        """FFmpeg's name of the container format, such as "avi"."""
        return self._container.format.name

    @property
    def format(self) -> str:
        """FFmpeg's name of the codec, such as "mpeg4", whichever library decodes it."""
        return self.codec.codec.canonical_name

    @property
    def num_streams(self) -> int:
        """The number of streams that another library may choose from."""
        return len(_candidates(self._container))

    def _sizes(self) -> dict[int, tuple[int, int]]:
        streams = [(stream, stream.codec_context) for stream in self._container.streams.video]
        known = {stream.index: (codec.width, codec.height) if codec else (0, 0) for stream, codec in streams}
        return {index: size if any(size) else header_size(self._source, index) for index, size in known.items()}

    @property
    def num_bytes(self) -> int:
        """The size of the file."""
        return self._container.size

    def has_index(self) -> bool:
        """Whether this is an MP4 or MOV file whose index lists every packet."""
        return self.container == MP4 and not _has_fragments(self._source)

    def seek_by_index(self) -> None:
        """From now on, finds packets by the decoding times in the index."""
        self._indexed = True

    def count_packets(self) -> None:
        """From now on, finds packets by counting them."""
        self._indexed, self._decoding = False, None

    def _read_index(self) -> None:
        """Raises Unordered if the decoding times do not increase."""
        entries = self.stream.index_entries
        decoding = np.fromiter((entry.timestamp for entry in entries), np.int64, len(entries))
        if np.any(decoding[1:] <= decoding[:-1]):
            raise Unordered
        self._decoding = decoding

    def packets(self, first: int = 0, end: int | None = None) -> Iterator:
        """Packets `first` up to `end` in decoding order; None: up to the last.

        Raises:
          Unordered: a packet's decoding time differs from the index.
        """
        self.num_uses += 1
        if self._indexed and self._decoding is None:
            self._read_index()
        if self._decoding is not None and not 0 <= first - self._position <= FAR:
            self._seek(first)
        elif first < self._position:
            self._reopen()
        while end is None or self._position < end:
            packet = next(self._demux, None)
            if packet is None:
                return
            if not packet.size:
                continue
            position, self._position = self._position, self._position + 1
            if self._decoding is not None and (
                position >= len(self._decoding) or self._decoding[position] != packet.dts
            ):
                raise Unordered
            if position >= first:
                yield packet

    def _reopen(self) -> None:
        self.close()
        self._open()

    def _seek(self, position: int) -> None:
        """Seeks to a key frame at or before the packet at `position`, or to the beginning if there is none."""
        import av

        try:
            self._container.seek(int(self._decoding[position]), stream=self.stream)
        except av.FFmpegError:
            return self._reopen()
        demux = self._container.demux(self.stream)
        packet = next((packet for packet in demux if packet.size), None)
        found = len(self._decoding) if packet is None else np.searchsorted(self._decoding, packet.dts)
        if found > position:
            return self._reopen()
        self._demux, self._position = itertools.chain([packet], demux), int(found)


def _best(container, sizes: dict[int, tuple[int, int]]):
    """The stream that FFmpeg chooses: the default one, else the one with most pixels, else the first."""
    from av.stream import Disposition

    streams = _candidates(container)
    if not streams:
        raise Unreadable("no video in it")
    pixels = {index: width * height for index, (width, height) in sizes.items()}
    stream = max(streams, key=lambda stream: (bool(stream.disposition & Disposition.default), pixels[stream.index]))
    if stream.codec_context is None:
        raise Unreadable("FFmpeg has no decoder for its video stream")
    return stream


def _candidates(container) -> list:
    """The video streams, without attached pictures."""
    from av.stream import Disposition

    return [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]


def _has_fragments(source: str | io.BytesIO) -> bool:
    if isinstance(source, str):
        with open(source, "rb") as file:
            return has_fragments(file)
    position = source.tell()  # FFmpeg continues from here
    try:
        return has_fragments(source)
    finally:
        source.seek(position)
