"""Files of strangers: what names other files, is no file, or takes too much memory is refused by every reader."""

import contextlib
import importlib.util
import io
import os
import re
import socket
import socketserver
import struct
import threading
from fractions import Fraction

import av
import cv2
import mutating
import numbered
import numpy as np
import pytest

from actjax.video.decoding import open_video
from actjax.video.errors import VideoError

BACKENDS = ("pyav", "opencv", *(["decord"] if importlib.util.find_spec("decord") else []))  # it has few wheels
TOO_LARGE = "frames of 640x480 (0.3072 megapixels) exceed ACTJAX_MAX_FRAME_MPIXELS=0.3; raise this environment variable"
MARK = b"\xef\xbb\xbf"


class Listener(socketserver.TCPServer):
    """Counts connections; answers none."""

    seen = 0

    def verify_request(self, request, client_address):
        self.seen += 1
        return False


@pytest.fixture(scope="module")
def listener():
    with Listener(("127.0.0.1", 0), socketserver.BaseRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def playlists(target: str, port: int) -> dict[str, bytes]:
    """Files that make FFmpeg open `target`, by their kind."""
    m3u = f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n".encode()
    dash = f"""<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"
profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" mediaPresentationDuration="PT2S"><Period><AdaptationSet
mimeType="video/mp4"><Representation id="1" bandwidth="9"><BaseURL>{target}</BaseURL></Representation></AdaptationSet>
</Period></MPD>""".encode()
    sdp = f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} TCP/RTP/AVP 96\n".encode()
    return {
        "m3u": m3u,
        "m3u with mark": MARK + m3u,
        "m3u behind lines": b"\n\n  \r\n" + m3u,
        "m3u utf16": m3u.decode().encode("utf-16"),
        "ffconcat": f"ffconcat version 1.0\nfile '{target}'\n".encode(),
        "dash": dash,
        "sdp": sdp + b"a=rtpmap:96 H264/90000\n",
        "sdp behind lines": b"hello\n" + sdp,
        "asx": f'<asx version="3.0"><entry><ref href="{target}"/></entry></asx>'.encode(),
        "pls": f"[playlist]\nFile1={target}\n".encode(),
        "imf": b'<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016">',
        "page": b"<!DOCTYPE html><html><body>404</body></html>",
        "lines": f"{target}\n".encode(),
    }


KINDS = [*playlists("", 0)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_names_other_files_is_no_video(tmp_path, listener, kind, backend):
    """Neither a server nor a file beside it is opened: a pipe would never answer, a video would show."""
    numbered.write(tmp_path / "other.mp4", "libx264", num=3)
    os.mkfifo(tmp_path / "pipe.ts")
    port = listener.server_address[1]
    for target in ("other.mp4", "pipe.ts", str(tmp_path / "pipe.ts"), f"http://127.0.0.1:{port}/a.ts"):
        content = playlists(target, port)[kind]
        for name in ("video.mp4", "video.m3u8", "video"):
            (tmp_path / name).write_bytes(content)
            for source in (tmp_path / name, content):
                with pytest.raises(VideoError, match="not a video file: (a playl|a sess|XML|a web|it is)") as e:
                    open_video(source, backend=backend)
                assert "\n" not in str(e.value) and len(str(e.value)) < 400
    assert not listener.seen


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_names_other_files_is_no_video_at_a_url(listener, backend):
    fsspec = pytest.importorskip("fsspec")
    port = listener.server_address[1]
    for kind, content in playlists(f"http://127.0.0.1:{port}/a.ts", port).items():
        fsspec.filesystem("memory").pipe(f"/strangers/{kind}.mp4", content)
        with pytest.raises(VideoError, match="not a video file: "):
            open_video(f"memory://strangers/{kind}.mp4", backend=backend)
    assert not listener.seen


def test_a_first_number_that_is_a_letter_of_xml():
    """FLIC begins with the size of the file."""
    flic = struct.pack("<IHHHHHHI", 0x413C, 0xAF12, 1, 64, 48, 8, 3, 100) + bytes(108)
    chunk = struct.pack("<IH", 6 + 64 * 48, 16) + bytes(range(1, 65)) * 48  # each pixel as it is
    palette = struct.pack("<IHHBB", 6 + 4 + 768, 4, 1, 0, 0) + bytes(k // 3 for k in range(768))
    frame = struct.pack("<IHH", 16 + len(palette) + len(chunk), 0xF1FA, 2) + bytes(8) + palette + chunk
    content = (flic + frame).ljust(0x413C, b"\0")
    assert content.startswith(b"<A\0") and open_video(content).size == (48, 64)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["playlist", "concat", "session"])
def test_playlists_in_the_middle_of_text(tmp_path, name, backend):
    """Where the first bytes say nothing, FFmpeg's list of formats does."""
    text = {"playlist": "#EXTM3U\n#EXT-X-STREAM-INF:\na.ts\n", "concat": "ffconcat version 1.0\nfile a.ts\n",
            "session": "v=0\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n"}[name]  # fmt: skip
    for content in (b"\xff" * 8 + b"\n" + text.encode(), b"\xe9t\xe9\n" * 900 + text.encode()):
        (tmp_path / "video.mp4").write_bytes(content)
        for source in (tmp_path / "video.mp4", content):
            with pytest.raises(VideoError):
                open_video(source, backend=backend)


def test_ffmpeg_itself_opens_nothing_else(tmp_path, listener, monkeypatch):
    """The fence behind the look at the first bytes."""
    from actjax.video import streams

    monkeypatch.setattr(streams, "check_file", lambda source: None)
    port = listener.server_address[1]
    os.mkfifo(tmp_path / "pipe.ts")
    for kind in KINDS:
        for target in ("pipe.ts", f"http://127.0.0.1:{port}/a.ts"):
            content = playlists(target, port)[kind]
            (tmp_path / "video.m3u8").write_bytes(content)
            for source in (tmp_path / "video.m3u8", content):
                with pytest.raises(VideoError, match="not a video file"):
                    open_video(source)
    assert not listener.seen


def test_opencv_keeps_to_the_same_files(tmp_path, listener, monkeypatch):
    from actjax.video.decord_opencv import OpenCV

    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "threads;1")
    for content in playlists(f"http://127.0.0.1:{listener.server_address[1]}/a.ts", 9).values():
        (tmp_path / "video.m3u8").write_bytes(content)
        with pytest.raises(Exception, match="OpenCV cannot open it"):
            OpenCV(str(tmp_path / "video.m3u8"))._start()
    assert not listener.seen and os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] == "threads;1"
    assert cv2.VideoCapture(str(numbered.write(tmp_path / "a.mp4", "libx264", num=2)), cv2.CAP_FFMPEG).isOpened()


def with_alias(content: bytes, path: str) -> bytes:
    """A MOV file whose data reference is an alias of another file."""
    where = path.encode() + bytes(len(path) % 2)
    record = bytes(10) + bytes(1 + 27) + bytes(12) + bytes([len("pipe")]) + b"pipe".ljust(63, b"\0") + bytes(16)
    record += struct.pack(">HH", 1, 1) + bytes(16) + struct.pack(">HH", 2, len(where)) + where
    alias = record + b"\xff\xff\0\0" + bytes(100)
    entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    out, place = bytearray(content), content.rindex(b"url ") - 4
    out[place : place + 12] = entry
    for name in (b"dref", b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        start = content.index(name) - 4
        (size,) = struct.unpack_from(">I", content, start)
        struct.pack_into(">I", out, start, size + len(entry) - 12)
    return bytes(out)


@pytest.mark.parametrize("backend", BACKENDS)
def test_data_in_another_file_is_not_looked_for(tmp_path, backend):
    """Nobody answers at the other end of the pipe."""
    os.mkfifo(tmp_path / "pipe")
    path = numbered.write(tmp_path / "alias.mov", "libx264", num=4)
    path.write_bytes(with_alias(path.read_bytes(), str(tmp_path / "pipe")))
    for source in (path, path.read_bytes()):
        with pytest.raises(VideoError):
            open_video(source, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "name",
    ["concat:a|b", "pipe:0", "-i.mp4", "-", "http:a.mp4", "data:,a", "file:a", "a:b.mp4", "%05d.mp4", "[ab]?.mp4"],
)
def test_a_name_is_that_of_a_local_file(tmp_path, monkeypatch, name, backend):
    monkeypatch.chdir(tmp_path)
    numbered.write(tmp_path / name, "libx264", container="mp4", num=4)
    numbered.write(tmp_path / "00001.mp4", "libx264", num=9)
    numbered.write(tmp_path / "a", "libx264", container="mp4", num=9)
    video = open_video(name, backend=backend)
    assert video.num_frames == 4 and numbered.numbers(video.frames([0, 3])) == [0, 3]


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.jpeg", "[1]?.png", "%03d.png", "a.mjpeg", "a.tiff", "a.ico"])
def test_a_pictures_name_is_no_pattern(tmp_path, name):
    """By a suffix or a pattern FFmpeg takes it for one of a series of pictures."""
    kind = {"jpeg": "jpg", "mjpeg": "jpg"}.get(name.split(".")[1], name.split(".")[1])
    for num in (1, 3) if kind == "jpg" else (1,):
        content = picture(kind, 64, 48) * num
        (tmp_path / name).write_bytes(content)
        (tmp_path / "001.png").write_bytes(picture("png", 8, 8))
        for source in (tmp_path / name, content):
            video = open_video(source)
            assert video.frames(range(num)).shape == (num, 48, 64, 3) and video.check() is None
        assert video.num_frames == num


@pytest.mark.parametrize("backend", [*BACKENDS, "rawframes"])
def test_pipes_devices_and_sockets_are_named(tmp_path, backend):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "linked").symlink_to(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(tmp_path):
        server.bind("socket")
    for name, kind in {"pipe": "pipe", "linked": "pipe", "device": "device", "socket": "socket"}.items():
        with pytest.raises(VideoError, match=f"{name}: is a (named )?{kind}"):
            open_video(tmp_path / name, backend=backend)
    if backend != "rawframes":
        with pytest.raises(VideoError, match="is a folder, not a video$"):
            open_video(tmp_path, backend=backend)
        (tmp_path / "empty").touch()
        for source in (tmp_path / "empty", b""):
            with pytest.raises(VideoError, match="the file is empty"):
                open_video(source, backend=backend)


def test_a_file_is_no_folder_of_pictures(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(VideoError, match="file: is a file; backend 'rawframes' reads a folder of pictures"):
        open_video(tmp_path / "file", backend="rawframes")


def change(path, codec="libx264", sizes=((128, 96), (640, 480)), **options):
    """A file whose frames change their size, by joining streams."""
    parts = []
    for size in sizes:
        part = numbered.write(io.BytesIO(), codec, container="h264", num=40, size=size, **options)
        parts.append(part.getvalue())
    (path.parent / "joined.h264").write_bytes(b"".join(parts))
    return numbered.copy(path.parent / "joined.h264", path, container={"mkv": "matroska"}.get(path.suffix[1:]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_large_frames_are_refused(tmp_path, monkeypatch, backend):
    path = numbered.write(tmp_path / "large.mp4", "libx264", num=3, size=(640, 480))
    monkeypatch.setenv("ACTJAX_MAX_FRAME_MPIXELS", "0.3")
    for source in (path, path.read_bytes()):
        with pytest.raises(VideoError, match=re.escape(TOO_LARGE)):
            open_video(source, backend=backend)
    monkeypatch.setenv("ACTJAX_MAX_FRAME_MPIXELS", "0.3072")
    assert open_video(path, backend=backend).size == (480, 640)
    monkeypatch.setenv("ACTJAX_MAX_FRAME_MPIXELS", "inf")
    assert open_video(path, backend=backend).size == (480, 640)


LARGE = {  # codec -> container, pixel format
    "ffv1": "mkv yuv420p", "huffyuv": "avi yuv422p", "rawvideo": "avi yuv420p", "mjpeg": "avi yuvj420p",
    "png": "mov rgb24", "gif": "gif rgb8", "libvpx-vp9": "webm yuv420p", "prores_ks": "mov yuv422p10le",
    "libx265": "mp4 yuv420p", "qtrle": "mov rgb24",
}  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("codec", LARGE)
def test_large_frames_are_the_reason_whatever_the_codec(tmp_path, monkeypatch, codec, backend):
    """Some decoders say nothing of a size that they refuse, and some frames are no whole number of blocks."""
    ending, pixels = LARGE[codec].split()
    path = numbered.write(tmp_path / f"large.{ending}", codec, num=3, size=(640, 480), pix_fmt=pixels)
    for given in ("0.3", "0.001"):
        monkeypatch.setenv("ACTJAX_MAX_FRAME_MPIXELS", given)
        for source in (path, path.read_bytes()):
            with pytest.raises(VideoError, match=re.escape(TOO_LARGE.replace("0.3;", f"{given};"))):
                open_video(source, backend=backend)
    monkeypatch.setenv("ACTJAX_MAX_FRAME_MPIXELS", "0.3072")
    assert open_video(path).check() is None


@pytest.mark.parametrize("kind", ["jpg", "png", "bmp", "tiff", "webp", "ppm", "sgi"])
def test_large_pictures_are_refused_as_videos(tmp_path, monkeypatch, kind):
    """The size is in the picture, if it is anywhere that can be read without a decoder."""
    content = picture(kind, 640, 480)
    (tmp_path / f"large.{kind}").write_bytes(content)
    for source in (content, tmp_path / f"large.{kind}"):
        assert open_video(source).size == (480, 640)
    monkeypatch.setenv("ACTJAX_MAX_FRAME_MPIXELS", "0.3")
    for source in (content, tmp_path / f"large.{kind}"):
        with pytest.raises(VideoError, match="exceeds? ACTJAX_MAX_FRAME_MPIXELS=0.3"):
            open_video(source)


@pytest.mark.parametrize("ending", ["mjpeg", "avi", "mkv"])
def test_large_frames_at_the_beginning_are_not_left_out(tmp_path, monkeypatch, ending):
    """The frames after them would get their numbers."""
    packets = [*[picture("jpg", 640, 480)] * 2, *[picture("jpg", 64, 48)] * 3]
    path = tmp_path / f"first.{ending}"
    if ending == "mjpeg":
        path.write_bytes(b"".join(packets))
    else:
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mjpeg", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
            for k, content in enumerate(packets):
                packet = av.Packet(content)
                packet.pts, packet.dts, packet.time_base, packet.stream = k, k, Fraction(1, 10), stream
                packet.is_keyframe = True
                container.mux(packet)
    assert open_video(path).num_frames == 5
    monkeypatch.setenv("ACTJAX_MAX_FRAME_MPIXELS", "0.3")
    for source in (path, path.read_bytes()):
        with pytest.raises(VideoError, match=re.escape(TOO_LARGE)):
            open_video(source).frames([0])


def picture(kind: str, width: int, height: int) -> bytes:
    """A file of one picture."""
    pixels = np.full((height, width, 3), 90, np.uint8)
    if kind == "ico":
        png = picture("png", width, height)
        return struct.pack("<3H4B2H2I", 0, 1, 1, width, height, 0, 0, 1, 32, len(png), 22) + png
    if kind != "sgi":
        return cv2.imencode(f".{kind}", pixels)[1].tobytes()
    codec = av.CodecContext.create("sgi", "w")
    codec.width, codec.height, codec.pix_fmt, codec.time_base = width, height, "rgb24", Fraction(1, 25)
    (packet,) = [*codec.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")), *codec.encode(None)]
    return bytes(packet)


def test_any_name_is_one_line(tmp_path):
    (tmp_path / "two\nlines.mp4").write_text("#EXTM3U")
    for name in ("two\nlines.mp4", "x" * 5000, "a\0b"):
        with pytest.raises(VideoError) as caught:
            open_video(tmp_path / name)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_a_wrong_limit_is_no_fault_of_a_video(monkeypatch):
    monkeypatch.setenv("ACTJAX_MAX_FRAME_MPIXELS", "lots")
    for source, backend in ((b"x", "pyav"), (b"x", "opencv"), ("/", "rawframes")):
        with pytest.raises(ValueError, match="ACTJAX_MAX_FRAME_MPIXELS='lots' in the environment; must be a positive"):
            open_video(source, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_frames_that_become_large_are_refused(tmp_path, monkeypatch, ending, backend):
    path = change(tmp_path / f"grows.{ending}")
    monkeypatch.setenv("ACTJAX_MAX_FRAME_MPIXELS", "0.2")
    for wanted in ([0, 79], [3, 4]):
        if backend == "pyav" and wanted == [3, 4]:
            assert open_video(path).frames(wanted).shape == (2, 96, 128, 3)  # the large frames are not decoded
            continue
        with pytest.raises(VideoError, match="exceeds? ACTJAX_MAX_FRAME_MPIXELS=0.2"):
            open_video(path, backend=backend).frames(wanted)


@pytest.mark.parametrize("backend", BACKENDS)
def test_large_frames_of_which_a_part_is_shown_are_refused(tmp_path, monkeypatch, backend):
    path = numbered.write(tmp_path / "a.mp4", "libx264", num=3, size=(640, 480), params="crop-rect=0,0,512,384")
    assert open_video(path).size == (96, 128)
    monkeypatch.setenv("ACTJAX_MAX_FRAME_MPIXELS", "0.2")
    with pytest.raises(VideoError, match="frames of 640x480 .* exceed ACTJAX_MAX_FRAME"):
        open_video(path, backend=backend).frames([0])


@pytest.fixture(scope="module")
def giant(tmp_path_factory):
    """A file of 0.02 MB whose frames take 100 MB each."""
    path = tmp_path_factory.mktemp("giant") / "giant.mp4"
    numbered.write(path, "libx264", num=3, size=(8192, 8192), draw=lambda k, w, h: np.zeros((h, w, 3), np.uint8))
    assert path.stat().st_size < 50_000
    return path


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_small_file_of_large_frames_takes_little_memory(giant, backend):
    said = mutating.in_process(f"import mutating; mutating.refuse({str(giant)!r}, 150, backend={backend!r})")
    assert "frames of 8192x8192 (67.11 megapixels) exceed ACTJAX_MAX_FRAME_MPIXELS=40" in said


@pytest.mark.parametrize("table", ["stsz", "trun"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_index_of_more_frames_than_bytes_takes_little_memory(tmp_path, table, backend):
    """Two kinds of tables need no space for each frame: a header of 2 kB would take 2 GB."""
    options = {"movflags": "frag_keyframe+empty_moov"} if table == "trun" else {}
    path = numbered.write(tmp_path / "promises.mp4", "libx264", num=5, size=(64, 48), options=options)
    content, many = bytearray(path.read_bytes()), 40_000_000
    place = content.index(table.encode()) + 4
    struct.pack_into(">III", content, place, 0, *((10, many) if table == "stsz" else (many, 0)))
    if table == "stsz":
        for name, further in {b"stsc": 12, b"stts": 8}.items():
            struct.pack_into(">I", content, content.index(name) + 4 + further, many)
    path.write_bytes(content)
    said = mutating.in_process(f"import mutating; mutating.refuse({str(path)!r}, 150, backend={backend!r})")
    assert f"its index promises {many} frames or sounds, in {len(content)} bytes" in said


def with_sound(path):
    """A MOV file of five frames, with 3 s of compressed sound in 30 chunks."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("adpcm_ima_qt", rate=44100, layout="mono")
        for k in range(30):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), k, np.uint8), format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, 10)
            container.mux(stream.encode(frame))
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 4410), np.int16), format="s16", layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = 44100, 4410 * k, Fraction(1, 44100)
            container.mux(sound.encode(samples))
        container.mux(stream.encode(None))
        container.mux(sound.encode(None))
    return path


def with_samples_of_sound(content: bytes, factor: int, *, lasting: int = 1) -> bytes:
    """Counts the samples of the last track as QuickTime does: one each, of size 1, whatever they are packed in."""
    out, start = bytearray(content), content.rindex(b"soun")
    place = content.index(b"stsz", start) + 8
    (count,) = struct.unpack_from(">I", content, place + 4)
    struct.pack_into(">II", out, place, 1, min(count * factor, 2**31))
    place = content.index(b"stts", start) + 8
    struct.pack_into(">III", out, place, 1, min(count * factor, 2**31), lasting)
    place = content.index(b"stsc", start) + 8
    for row in range(place + 4, place + 4 + 12 * struct.unpack_from(">I", content, place)[0], 12):
        struct.pack_into(">I", out, row + 4, struct.unpack_from(">I", content, row + 4)[0] * factor)
    return bytes(out)


@pytest.mark.parametrize("backend", BACKENDS)
def test_samples_of_compressed_sound_are_more_than_bytes(tmp_path, backend):
    path = with_sound(tmp_path / "sound.mov")
    content = path.read_bytes()
    for factor in (1, 64):  # 64 samples take 34 bytes
        path.write_bytes(with_samples_of_sound(content, factor))
        assert open_video(path, backend=backend).frames([29, 0]).shape == (2, 48, 64, 3)
    assert len(path.read_bytes()) < 3 * 44100


@pytest.mark.parametrize("told", ["samples", "uneven samples", "chunks"])
def test_an_index_of_much_sound_takes_little_memory(tmp_path, told):
    path = with_sound(tmp_path / "sound.mov")
    content = path.read_bytes()
    changed = bytearray(with_samples_of_sound(content, 2_000_000, lasting=2 if told == "uneven samples" else 1))
    if told == "chunks":  # only their lengths say how many samples there are
        place = content.index(b"stsz", content.rindex(b"soun"))
        changed[place : place + 16] = content[place : place + 16]
    path.write_bytes(changed)
    said = mutating.in_process(f"import mutating; mutating.refuse({str(path)!r}, 150, backend='pyav')")
    assert re.search("its index promises [0-9]{7,} frames or sounds, in ", said)


def test_a_fragment_for_each_frame(tmp_path):
    """Long ones have a million boxes."""
    options = {"movflags": "frag_every_frame+empty_moov+default_base_moof"}
    path = numbered.write(tmp_path / "fragments.mp4", "mpeg4", num=60, size=(64, 48), options=options)
    content = path.read_bytes()
    start, end = content.index(b"moof") - 4, content.rindex(b"mfra") - 4
    path.write_bytes(content[:start] + b"\0\0\0\x08free" * 300_000 + content[start:end] + content[end:])
    assert open_video(path).num_frames == 60


def test_boxes_without_an_end_are_looked_at_once():
    for content in (b"\0\0\0\x08free" * 300_000, b"\0\0\0\1free" + b"\xff" * 500, b"\0\0\0\0moov" * 200_000):
        with pytest.raises(VideoError, match="not a video file"):
            open_video(content)


MUTATED = {"mp4": ("libx264", 2), "mkv": ("libx264", 0), "avi": ("mpeg4", 0), "webm": ("libvpx-vp9", 0)}


@pytest.mark.parametrize("backend", BACKENDS)
def test_mutated_videos_are_read_whole_or_refused(tmp_path, backend):
    """2,000 mutations of small files, 600 for the readers that are asked for by name: no crash, hang or much memory;
    every frame that is promised, or one line."""
    number = 500 if backend == "pyav" else 150
    paths = []
    for ending, (codec, b_frames) in MUTATED.items():
        path = tmp_path / f"clip.{ending}"
        numbered.write(path, codec, num=12, gop=6, b_frames=b_frames, size=(64, 48))
        paths.append(str(path))
    call = f"import mutating; mutating.read_all({paths}, {number}, backend={backend!r})"
    read, refused = map(int, mutating.in_process(call).split())
    assert read + refused == 4 * number and read > number / 5 and refused > number / 5
