"""A video file that is written frame by frame, with the times of another and its sound."""

import contextlib
import fractions
import io
import logging
from collections.abc import Iterator

import numpy as np

from actjax.video.containers import nameless, opened, options

log = logging.getLogger(__name__)

CONTAINERS = {".mp4": "mp4", ".mkv": "matroska"}
# Codecs of sound that players expect in MP4; Matroska takes all that FFmpeg says it takes.
SOUND_OF_MP4 = ("aac", "ac3", "alac", "eac3", "mp2", "mp3", "opus")
_BT709 = 1  # number of the standard for colour, transfer and matrix
_LIMITED = 1  # of the range 16 to 235


def check_encoder() -> None:
    """ImportError: PyAV, or the encoder of H.264 in it, is missing."""
    try:
        import av
    except ImportError as error:
        raise ImportError("labelled videos need PyAV: pip install av") from error
    if "libx264" not in av.codecs_available:
        raise ImportError(
            f"labelled videos need an FFmpeg with libx264, the encoder of H.264; PyAV {av.__version__} here has none: "
            "pip install --force-reinstall --only-binary=av av"
        )


class LabelledFile:
    """An H.264 video that is being written. Use it as a context: leaving it completes the file.

    Args:
      file: a binary file to write to. suffix: a key of `CONTAINERS`.
      size: height and width, both even. time_base: the unit of the times; Matroska rounds them to milliseconds.
      rate: average frames a second. aspect: of a pixel, None: square. sound: packets to copy, or None.
    """

    def __init__(
        self,
        file,
        suffix: str,
        *,
        size: tuple[int, int],
        time_base: fractions.Fraction,
        rate: fractions.Fraction,
        aspect: fractions.Fraction | None = None,
        sound: "Sound | None" = None,
    ):
        import av

        # The movie's own unit, too: MP4 says with it when the first frame is shown.
        given = {"movie_timescale": str(time_base.denominator)} if suffix == ".mp4" else {}
        self._file = av.open(file, "w", format=CONTAINERS[suffix], options=given)
        self._time_base, self._sound = time_base, sound
        self._stream = self._file.add_stream("libx264", rate=rate.limit_denominator(10**6))
        self._stream.height, self._stream.width = size
        self._stream.pix_fmt = "yuv420p"
        # Without B-frames no decoding time is before the first frame, which would move all.
        self._stream.options = {"preset": "veryfast", "crf": "20", "bf": "0"}
        codec = self._stream.codec_context
        codec.time_base = time_base
        codec.color_primaries = codec.color_trc = codec.colorspace = _BT709
        codec.color_range = _LIMITED
        if aspect:
            codec.sample_aspect_ratio = aspect
        if sound:
            sound.add_to(self._file)

    def __enter__(self):
        return self

    def add(self, picture: np.ndarray, stamp: int, duration: int) -> None:
        """Appends a frame uint8 [h, w, 3], and the sound up to its time."""
        import av
        from av.video.reformatter import ColorRange, Colorspace

        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
        frame.pts, frame.time_base, frame.duration = stamp, self._time_base, duration
        if self._sound:
            self._sound.copy_until(self._file, float(stamp * self._time_base))
        self._file.mux(self._stream.encode(frame))

    def finish(self, *, sound_until: float) -> None:
        """Writes what the encoder holds, and the sound up to a second."""
        self._file.mux(self._stream.encode(None))
        if self._sound:
            self._sound.copy_until(self._file, sound_until)

    def __exit__(self, kind, error, trace) -> None:
        import av

        with contextlib.suppress(*((av.FFmpegError, OSError) if error else ())):  # the first error is the one to tell
            self._file.close()


class Sound:
    """The sound of a file, copied packet by packet as it is.

    Args:
      source: a path or the bytes of a file. name: of the file, for messages.

    shift: seconds to add to its times; may be set before the first packet is copied.
    """

    def __init__(self, source: str | io.BytesIO, *, name: str):
        import av

        self._name, self.shift = name, fractions.Fraction(0)
        self._bytes = nameless(source) if isinstance(source, str) else io.BytesIO(source.getvalue())
        try:
            self._container = opened(self._bytes, options(self._bytes))
        except av.FFmpegError:  # a format that is known by the name of the file alone
            self._container = self._stream = None
        else:
            self._stream = self._container.streams.best("audio")
        self._packets: Iterator = iter(())
        self._waiting = None  # the packet that comes next, if it has been read

    def fits(self, suffix: str) -> bool:
        """Whether there is sound, and a file of this suffix can hold it; if it cannot, the log says so."""
        import av

        if self._stream is None or self._stream.codec_context is None:
            return False
        codec = self._stream.codec_context.codec.canonical_name
        known = SOUND_OF_MP4
        if suffix == ".mkv":
            with av.open(io.BytesIO(), "w", format=CONTAINERS[suffix]) as file:
                known = file.supported_codecs
        if codec not in known:
            log.warning("%s: its sound (%s) does not fit into %s and is left out", self._name, codec, suffix)
        return codec in known

    def add_to(self, file) -> None:
        """Adds a stream for the sound to an open file."""
        self._target = file.add_stream_from_template(self._stream)
        self._packets = self._readable()

    def copy_until(self, file, seconds: float) -> None:
        """Writes the packets whose time is before this second."""
        while (packet := self._waiting or next(self._packets, None)) is not None:
            if float(packet.dts * packet.time_base) >= seconds:
                self._waiting = packet
                return
            self._waiting, packet.stream = None, self._target
            file.mux(packet)

    def _readable(self) -> Iterator:
        """The packets with increasing times, up to where the file breaks."""
        import av

        last = None
        try:
            for packet in self._container.demux(self._stream):
                if packet.size and packet.dts is not None and (last is None or packet.dts > last):
                    last = packet.dts
                    ticks = round(self.shift / packet.time_base)
                    packet.pts, packet.dts = (last if packet.pts is None else packet.pts) + ticks, last + ticks
                    yield packet
        except av.FFmpegError as error:
            log.warning("%s: its sound cannot be read to its end (%s)", self._name, error.strerror)

    def close(self) -> None:
        """Closes the file."""
        if self._container is not None:
            self._container.close()
        self._bytes.close()
