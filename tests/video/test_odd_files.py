"""Files that are unlike what an encoder writes: cut, edited, packed, interlaced, turned, damaged, of many streams."""

import functools
import struct

import numbered
import numpy as np
import pytest

from actjax.video.decoding import open_video
from actjax.video.errors import BackendError, VideoError

UNIT = 512  # MP4's time stamps of a frame, at 25 a second


def check(path, truth, *, times=None, backends=("opencv", "decord")):
    """PyAV gives these frames, whole and in part; the others the same or a refusal."""
    video = open_video(path)
    assert numbered.numbers(video.frames(range(video.num_frames))) == [*truth]
    rng = np.random.default_rng(0)
    for _ in range(5):
        indices = rng.integers(len(truth), size=5)
        assert numbered.numbers(open_video(path).frames(indices)) == [truth[k] for k in indices]
    if times is not None:
        np.testing.assert_allclose(video.times(range(len(truth))), times, atol=6e-4)  # Matroska counts milliseconds
    for backend in backends:
        try:
            other = open_video(path, backend=backend)
            frames = other.frames([len(truth) - 1, 0])
        except (BackendError, ImportError):
            continue
        assert other.num_frames == len(truth)
        assert numbered.numbers(frames) == [truth[-1], truth[0]]


def shifted(packets, by: int):
    for packet in packets:
        packet.pts, packet.dts = packet.pts + by, packet.dts + by
        yield packet


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return numbered.write(tmp_path_factory.mktemp("clip") / "clip.mp4", "libx264", b_frames=2)


def test_an_edit_list_begins_in_the_middle_of_a_group(tmp_path, clip):
    options = {"avoid_negative_ts": "disabled"}
    path = numbered.copy(clip, tmp_path / "edited.mp4", functools.partial(shifted, by=-18 * UNIT), options=options)
    check(path, range(18, 60), times=np.arange(42) / 25)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts", "flv"])
def test_a_late_start(tmp_path, clip, ending):
    late = functools.partial(shifted, by=70 * UNIT)
    container = {"ts": "mpegts"}.get(ending, ending if ending != "mkv" else "matroska")
    check(
        numbered.copy(clip, tmp_path / f"late.{ending}", late, container=container),
        range(60),
        times=2.8 + np.arange(60) / 25,
    )


def test_a_negative_start(tmp_path, clip):
    early = functools.partial(shifted, by=-18 * UNIT)
    path = numbered.copy(clip, tmp_path / "early.mkv", early, options={"avoid_negative_ts": "disabled"})
    check(path, range(60))


@pytest.mark.parametrize(
    "flags", ["frag_keyframe+empty_moov", "frag_keyframe", "frag_keyframe+delay_moov", "dash", "faststart"]
)
def test_fragments(tmp_path, clip, flags):
    check(numbered.copy(clip, tmp_path / "fragments.mp4", options={"movflags": flags}), range(60))


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize(
    ("codec", "params"), [("libx264", "open-gop=1"), ("libx265", "open-gop=1"), ("mpeg2video", "")]
)
def test_cut_where_frames_refer_to_what_is_gone(tmp_path, codec, params, ending):
    """FFmpeg shows no frame whose references were cut off, although their packets are there."""
    whole = numbered.write(tmp_path / "whole.mp4", codec, b_frames=2, params=params)
    for skipped in (5, "key"):

        def cut(packets, skipped=skipped):
            keys = [k for k, packet in enumerate(packets) if packet.is_keyframe]
            return packets[skipped if skipped != "key" else keys[1] if len(keys) > 1 else 14 :]

        path = numbered.copy(whole, tmp_path / f"cut.{ending}", cut, container={"ts": "mpegts"}.get(ending))
        truth = numbered.in_order(path)
        if truth:  # FFmpeg makes nothing of some of them
            assert len(truth) < 60
            check(path, truth)
        else:
            with pytest.raises(VideoError, match="no frames"):
                open_video(path)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_variable_rates(tmp_path, ending):
    shown = np.cumsum(np.random.default_rng(0).integers(5, 120, 60))
    container = {"ts": "mpegts"}.get(ending)
    path = numbered.write(tmp_path / f"variable.{ending}", "libx264", b_frames=2, times=shown, container=container)
    first = open_video(path).times([0])[0]
    check(path, range(60), times=first + (shown - shown[0]) / 1000)
    if ending != "ts":  # which begins as late as the decoder needs
        np.testing.assert_allclose(first, shown[0] / 1000)


@pytest.mark.parametrize("ending", ["avi", "mp4", "mkv"])
def test_packed_frames(tmp_path, ending):
    check(numbered.packed(tmp_path / f"packed.{ending}"), range(61), times=np.arange(61) / 25)


@pytest.mark.parametrize("ending", ["avi", "mp4", "mkv"])
def test_packets_without_a_frame(tmp_path, ending):
    import av

    def without(packets):
        for k, packet in enumerate(packets):
            if k % 7 != 5:
                yield packet
                continue
            nothing = av.Packet(numbered.nothing(bytes(packet)))
            nothing.pts, nothing.dts, nothing.time_base = packet.pts, packet.dts, packet.time_base
            yield nothing

    draw = lambda k, *size: numbered.picture(k - (k % 7 == 5), *size)  # nothing new at these times
    whole = numbered.write(tmp_path / "whole.mp4", "mpeg4", gop=250, draw=draw)
    there = np.array([k for k in range(60) if k % 7 != 5])
    check(numbered.copy(whole, tmp_path / f"without.{ending}", without), there, times=there / 25)


@pytest.mark.parametrize(
    ("codec", "params", "flags"), [("libx264", "interlaced=1", ""), ("mpeg2video", "", "+ildct+ilme")]
)
@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_interlaced(tmp_path, codec, params, flags, ending):
    def change(stream):
        if flags:
            stream.options = {"flags": flags}

    path = numbered.write(tmp_path / f"interlaced.{ending}", codec, b_frames=2, params=params, change=change)
    check(path, range(60))
    with pytest.raises(BackendError, match="interlaced videos; use backend='pyav'"):
        open_video(path, backend="opencv")


def test_titles_that_are_no_utf8(tmp_path, clip):
    path = numbered.copy(clip, tmp_path / "titled.mp4", tags={"title": "cafe nouveau"})
    content = path.read_bytes()
    assert content.count(b"cafe nouveau") == 1
    path.write_bytes(content.replace(b"cafe nouveau", b"caf\xe9 \x8couv\xff\xfe\xe9"))
    check(path, range(60))


# Name, display matrix (a, b, c, d as 16.16 fixed point), and how the picture as it is stored is shown.
MATRICES = {
    "hflip": ((-1, 0, 0, 1), lambda x: x[:, ::-1]),
    "vflip": ((1, 0, 0, -1), lambda x: x[::-1]),
    "half": ((-1, 0, 0, -1), lambda x: x[::-1, ::-1]),
    "clockwise": ((0, 1, -1, 0), lambda x: np.rot90(x, -1)),
    "counter-clockwise": ((0, -1, 1, 0), lambda x: np.rot90(x)),
    "transpose": ((0, 1, 1, 0), lambda x: x.swapaxes(0, 1)),
    "anti-transpose": ((0, -1, -1, 0), lambda x: x[::-1, ::-1].swapaxes(0, 1)),
    "large": ((2, 0, 0, 2), lambda x: x),
}


def turn(path, matrix) -> None:
    """Writes a display matrix into the track header of an MP4 file."""
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4 + 40  # version 0: after the times, the track, the duration, layer and volume
    a, b, c, d = (x << 16 for x in matrix)
    content[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


@pytest.mark.parametrize("name", MATRICES)
def test_turned_and_mirrored(tmp_path, clip, name):
    matrix, shown = MATRICES[name]
    path = tmp_path / "turned.mp4"
    path.write_bytes(clip.read_bytes())
    turn(path, matrix)
    plain = open_video(clip).frames([0, 30, 59])
    expected = np.stack([shown(frame) for frame in plain])
    for backend in ("pyav", "opencv", "decord"):
        try:
            video = open_video(path, backend=backend)
        except (BackendError, ImportError):
            assert backend == "decord"
            continue
        np.testing.assert_array_equal(video.frames([0, 30, 59]), expected)
        assert video.size == expected.shape[1:3]


def streams(path, parts):
    """A file of several video streams: (codec, size, disposition, first number) each."""
    import av
    from av.stream import Disposition

    with av.open(str(path), "w") as file:
        out = []
        for codec, size, disposition, _ in parts:
            stream = file.add_stream(codec, rate=25)
            stream.width, stream.height = size
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            stream.disposition = Disposition[disposition] if disposition else Disposition(0)
            out.append(stream)
        for stream, (_, size, disposition, first) in zip(out, parts, strict=True):
            for k in range(1 if disposition == "attached_pic" else 20):
                picture = numbered.picture(first + k, *size)
                file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            file.mux(stream.encode(None))
    return path


SMALL, LARGE = (128, 96), (256, 192)
STREAMS = {
    "default": ([("libx264", LARGE, "", 100), ("libx264", SMALL, "default", 0)], 0),
    "largest": ([("libx264", SMALL, "default", 100), ("libx264", LARGE, "default", 0)], 0),
    "first": ([("libx264", SMALL, "default", 0), ("libx264", SMALL, "default", 100)], 0),
    "cover": ([("mjpeg", LARGE, "attached_pic", 100), ("libx264", SMALL, "default", 0)], 0),
}


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_which_of_several_streams(tmp_path, name, ending):
    parts, first = STREAMS[name]
    check(streams(tmp_path / f"{name}.{ending}", parts), range(first, first + 20))


def test_a_song_with_a_cover_is_no_video(tmp_path):
    import av
    from av.stream import Disposition

    with av.open(str(tmp_path / "song.mp4"), "w") as file:
        song, cover = file.add_stream("aac", rate=44100), file.add_stream("mjpeg", rate=25)
        cover.width, cover.height, cover.pix_fmt, cover.disposition = 128, 96, "yuvj420p", Disposition.attached_pic
        file.mux(cover.encode(av.VideoFrame.from_ndarray(numbered.picture(7), format="rgb24")))
        file.mux(cover.encode(None))
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 44100
        file.mux([*song.encode(sound), *song.encode(None)])
    for backend in ("pyav", "opencv"):
        with pytest.raises(VideoError, match="song.mp4: no video in it"):
            open_video(tmp_path / "song.mp4", backend=backend)


def test_damage_is_an_error_where_it_is_asked_for(tmp_path):
    """Two groups of frames; the second one is overwritten."""
    path = numbered.write(tmp_path / "damaged.mp4", "libx264", num=48, gop=24)
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat")
    begin, end = start + (len(content) - start) // 2, content.index(b"moov") - 4
    content[begin + 1000 : end] = bytes(end - begin - 1000)
    path.write_bytes(content)
    video = open_video(path)
    assert video.num_frames == 48
    assert numbered.numbers(video.frames([0, 10])) == [0, 10]
    with pytest.raises(VideoError, match="damaged.mp4: "):
        video.frames([47])
    with pytest.raises(VideoError, match="damaged.mp4: "):
        open_video(path).check()


def test_frames_of_a_damaged_packet_count_and_are_refused(tmp_path):
    """MPEG-4 conceals what it cannot decode, and says so: the frame has its number, and is not handed out."""

    def damage(packets):
        import av

        for k, packet in enumerate(packets):
            if k == 30:
                data = bytes(packet)
                broken = av.Packet(data[: len(data) // 2] + bytes(8))
                broken.pts, broken.dts, broken.time_base = packet.pts, packet.dts, packet.time_base
                packet = broken
            yield packet

    noise = lambda k, w, h: np.random.default_rng(k).integers(0, 255, (h, w, 3), np.uint8)
    whole = numbered.write(tmp_path / "whole.mp4", "mpeg4", draw=noise)
    for ending in ("avi", "mp4"):
        path = numbered.copy(whole, tmp_path / f"damaged.{ending}", damage)
        video = open_video(path)
        assert video.num_frames == 60
        assert video.frames([0, 29]).shape == (2, 96, 128, 3)
        for backend in ("pyav", "opencv"):
            with pytest.raises(VideoError, match="frame 30 is damaged"):
                open_video(path, backend=backend).frames([30])
        with pytest.raises(VideoError, match="frame 30 is damaged"):
            open_video(path).check()


def one_by_one(path, truth):
    """As `check`, with every frame read alone from a freshly opened file."""
    check(path, truth)
    assert [numbered.number(open_video(path).frames([k])[0]) for k in range(len(truth))] == [*truth]


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_stamps_that_say_when_to_decode(tmp_path, codec, ending):
    """As of muxers that know no other: every packet has the stamp at which it is decoded."""

    def forget(packets):
        first = packets[0].dts
        for packet in packets:
            packet.pts = packet.dts = packet.dts - first
            yield packet

    whole = numbered.write(tmp_path / "whole.mp4", codec, b_frames=3, num=40)
    path = numbered.copy(whole, tmp_path / f"forgot.{ending}", forget, container={"ts": "mpegts"}.get(ending))
    one_by_one(path, range(40))


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_joined_pieces_of_open_groups(tmp_path, codec, ending):
    """Pieces cut at key frames whose neighbours refer to frames that were cut off, one behind the other."""
    params = "open-gop=1" if codec == "libx264" else ""
    whole = numbered.write(tmp_path / "whole.mp4", codec, b_frames=2, params=params)

    def join(packets):
        keys = [k for k, packet in enumerate(packets) if packet.is_keyframe]
        first, second = packets[keys[1] : keys[3]], [copied(packet) for packet in packets[keys[2] : keys[4]]]
        return [*first, *shifted(second, by=first[-1].dts + UNIT - second[0].dts)]

    path = numbered.copy(whole, tmp_path / f"joined.{ending}", join)
    one_by_one(path, numbered.in_order(path))


def copied(packet):
    import av

    out = av.Packet(bytes(packet))
    out.pts, out.dts, out.time_base, out.is_keyframe = packet.pts, packet.dts, packet.time_base, packet.is_keyframe
    return out


def test_marks_of_no_frame(tmp_path):
    """DivX writes a packet of one byte where there is no frame."""
    import av

    def mark(packets):
        for k, packet in enumerate(packets):
            if k % 7 == 5:
                packet, content = av.Packet(b"\x7f"), packet
                packet.pts, packet.dts, packet.time_base = content.pts, content.dts, content.time_base
            yield packet

    draw = lambda k, *size: numbered.picture(k - (k % 7 == 5), *size)
    whole = numbered.write(tmp_path / "whole.mp4", "mpeg4", gop=250, draw=draw)
    there = np.array([k for k in range(60) if k % 7 != 5])
    one_by_one(numbered.copy(whole, tmp_path / "marked.avi", mark), there)


def test_avi_with_empty_places_between_frames(tmp_path):
    """Copied from a container with a finer time base: AVI counts places, and every second one is empty."""

    def spread(packets):
        for packet in packets:
            packet.pts, packet.dts = 2 * packet.pts, 2 * packet.dts
            yield packet

    whole = numbered.write(tmp_path / "whole.avi", "libx264", b_frames=2)
    path = numbered.copy(whole, tmp_path / "spread.avi", spread)
    check(path, range(60), times=np.arange(60) * 2 / 25)


def test_pictures_with_a_cameras_data(tmp_path):
    """Motion JPEG with EXIF in every picture."""
    import av

    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, 0x0112, 3, 1, 1, 0)
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif

    def add(packets):
        for packet in packets:
            data = bytes(packet)
            out = av.Packet(data[:2] + segment + data[2:])
            out.pts, out.dts, out.time_base, out.is_keyframe = packet.pts, packet.dts, packet.time_base, True
            out.duration = packet.duration
            yield out

    whole = numbered.write(tmp_path / "whole.mov", "mjpeg", num=8, pix_fmt="yuvj420p")
    check(numbered.copy(whole, tmp_path / "camera.mov", add), range(8))


@pytest.mark.parametrize("codec", ["h263", "mpeg4", "mpeg2video", "libx264"])
def test_p_frames_that_are_called_key_frames(tmp_path, codec):
    whole = numbered.write(tmp_path / "whole.mov", codec, num=30, size=(176, 144))

    def call(packets):
        for packet in packets:
            packet.is_keyframe = True
            yield packet

    one_by_one(numbered.copy(whole, tmp_path / "called.mov", call), range(30))


def test_a_header_that_promises_a_billion_frames(tmp_path):
    """As of an AVI that was written to a pipe; decord would take memory for all of them, and end the process."""
    path = numbered.write(tmp_path / "piped.avi", "mpeg4")
    content = bytearray(path.read_bytes())
    length = content.index(b"strh") + 40
    content[length : length + 4] = (1 << 30).to_bytes(4, "little")
    path.write_bytes(content)
    check(path, range(60), times=np.arange(60) / 25)
    assert open_video(path).check() == "its header promises 1073741824 frames; 60 can be decoded"
