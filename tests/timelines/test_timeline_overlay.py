"""Labelled videos: every frame at its own time, with the labels of its moment."""

import errno
import fractions
import functools
import io
import itertools
import logging
import weakref

import numbered
import numpy as np
import pytest

from actjax.timelines import Timeline, labelled_file, labels, lettering, overlay, source_frames, write_labelled
from actjax.timelines.timeline import colours
from actjax.video.decoding import open_video
from actjax.video.errors import VideoError
from actjax.video.readers import Unreadable

av = pytest.importorskip("av", reason="PyAV writes the videos")


def times(path) -> list[fractions.Fraction]:
    """The exact second at which each frame is shown."""
    with av.open(str(path)) as file:
        return [frame.pts * frame.time_base for frame in file.decode(video=0)]


def frames(path) -> np.ndarray:
    video = open_video(path)
    return video.frames(range(video.num_frames)).astype(int)


def plain(number: int, width: int, height: int) -> np.ndarray:
    """A grey picture, the same for every number."""
    return np.full((height, width, 3), 120, np.uint8)


def shifted(packets, by: int):
    for packet in packets:
        packet.pts, packet.dts = packet.pts + by, packet.dts + by
        yield packet


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("labelled")


NONE = Timeline("a", 3.0, [])
VARIABLE = np.cumsum(np.random.default_rng(0).integers(5, 120, 60))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_variable_rates_are_kept(folder, suffix, container):
    source = numbered.write(folder / f"a.{container}", "libx264", b_frames=2, times=VARIABLE, container=container)
    assert write_labelled(source, folder / f"b{suffix}", NONE) == 60
    assert times(folder / f"b{suffix}") == times(source) == [fractions.Fraction(int(t), 1000) for t in VARIABLE]
    assert numbered.numbers(frames(folder / f"b{suffix}")) == [*range(60)]


@pytest.mark.parametrize("ticks", [70 * 512 + 7, -18 * 512])
def test_a_late_start_and_an_edit_list(folder, ticks):
    clip = numbered.write(folder / "clip.mp4", "libx264", b_frames=2)
    options = {"avoid_negative_ts": "disabled"}
    source = numbered.copy(clip, folder / "c.mp4", functools.partial(shifted, by=ticks), options=options)
    number = write_labelled(source, folder / "d.mp4", NONE)
    assert times(folder / "d.mp4") == times(source) and number == len(times(source)) == (60 if ticks > 0 else 42)


def test_avi_with_reordered_frames_has_the_times_of_the_reader(folder):
    source = numbered.write(folder / "e.avi", "libx264", b_frames=2, container="avi")
    write_labelled(source, folder / "f.mp4", NONE)
    np.testing.assert_allclose(open_video(folder / "f.mp4").times(range(60)), open_video(source).times(range(60)))
    assert numbered.numbers(frames(folder / "f.mp4")) == [*range(60)]


@pytest.mark.parametrize("name", ["part_0.mp4", "test.avi", "broken/video_90.mov", "broken/unordered.mov"])
def test_files_of_cameras(media, folder, name):
    number = write_labelled(media / name, folder / "g.mp4", NONE)
    source, target = open_video(media / name), open_video(folder / "g.mp4")
    assert number == source.num_frames == target.num_frames
    np.testing.assert_array_equal(target.times(range(number)), source.times(range(number)))
    factor = overlay.enlargement(*source.size)
    assert target.size == tuple(factor * side for side in source.size)  # upright, too
    theirs, ours = source.frames([0, number - 1]).astype(int), target.frames([0, number - 1]).astype(int)
    middle = ours[:, factor // 2 :: factor, factor // 2 :: factor]
    top = slice(0, source.size[0] * 9 // 10)  # above the time bar
    assert np.abs(middle[:, top] - theirs[:, top]).mean() < 8
    colour = lambda pictures: pictures[:, top].mean((0, 1, 2))
    np.testing.assert_allclose(colour(middle), colour(theirs), atol=2)


@pytest.mark.parametrize("size", [(127, 95), (401, 361), (64, 48)])
def test_small_and_odd_sizes(folder, size):
    source = numbered.write(folder / "h.mkv", "ffv1", num=3, pix_fmt="yuv444p", size=size, container="matroska")
    write_labelled(source, folder / "i.mp4", NONE)
    height, width = open_video(folder / "i.mp4").size
    factor = {127: 4, 401: 1, 64: 8}[size[0]]
    assert (width, height) == tuple(factor * side + factor * side % 2 for side in size)
    assert height >= 360 and numbered.numbers(frames(folder / "i.mp4")) == [0, 1, 2]


def test_pixels_that_are_not_square(folder):
    def change(stream):
        stream.codec_context.sample_aspect_ratio = fractions.Fraction(4, 3)

    source = numbered.write(folder / "j.mp4", "libx264", num=3, change=change)
    write_labelled(source, folder / "k.mp4", NONE)
    with av.open(str(folder / "k.mp4")) as file:
        assert file.streams.video[0].sample_aspect_ratio == fractions.Fraction(4, 3)


ROWS = [
    {"segment": [0.5, 1.2], "score": 1.0, "class": "run"},
    {"segment": [1.6, 2.0], "score": 1.0, "class": "jump"},
    {"segment": [2.1, 2.3], "score": 0.2, "class": "jump"},
]


def test_labels_are_shown_exactly_while_their_segments_last(folder):
    source = numbered.write(folder / "l.mp4", "libx264", size=(640, 480), num=60, draw=plain)
    write_labelled(source, folder / "m.mp4", Timeline("a", 2.4, ROWS), min_score=0.5)
    seconds, pictures = [float(t) for t in times(folder / "m.mp4")], frames(folder / "m.mp4")
    box = pictures[:, 20:40, 20:100]
    differs = np.abs(box - 120).max((1, 2, 3)) > 60
    assert differs.tolist() == [0.5 <= t < 1.2 or 1.6 <= t < 2.0 for t in seconds]
    assert np.abs(pictures[:, 200:400] - 120).max() < 8


def test_the_time_bar(folder):
    source = numbered.write(folder / "n.mp4", "libx264", size=(640, 480), num=60, draw=plain)
    timeline = Timeline("a", 2.4, ROWS[:2], [{"segment": [0.6, 1.2], "label": "run"}])
    write_labelled(source, folder / "o.mp4", timeline)
    pictures, palette = frames(folder / "o.mp4"), colours(timeline)
    for k, picture in enumerate(pictures):
        cursor = round(k / 25 / 2.4 * 640)
        upper, lower = picture[464:468].mean(0), picture[477].astype(float)
        assert upper[cursor].min() > 190
        for x in range(8, 640, 8):
            if abs(x - cursor) < 10 or min(abs(x / 640 * 2.4 - edge) for edge in (0.5, 0.6, 1.2, 1.6, 2.0)) < 0.04:
                continue
            second = x / 640 * 2.4
            shown = next((row["class"] for row in ROWS[:2] if row["segment"][0] <= second < row["segment"][1]), None)
            expected = palette[shown] if shown else (58, 58, 58)
            assert np.abs(upper[x] - expected).max() < 30, (k, x)
            assert np.abs(lower[x] - (palette["run"] if 0.6 <= second < 1.2 else (58, 58, 58))).max() < 45, (k, x)


def test_a_segment_of_each_class_has_its_colour_in_the_box():
    timeline = Timeline("a", 9.0, [ROWS[0] | {"segment": [0, 5]}, ROWS[1] | {"segment": [0, 9]}])
    drawn = labels.Labels((480, 640), timeline, min_score=0.0, lines=2)
    picture = np.full((480, 640, 3), 120, np.uint8)
    drawn.draw(picture, 1.0)
    for name, colour in colours(timeline).items():
        assert (picture[:100, :40] == colour).all(-1).sum() > 20, name
    picture[:] = 120
    drawn.draw(picture, 5.0)
    assert not (picture[:100, :40] == colours(timeline)["run"]).all(-1).any()


@pytest.mark.parametrize("opencv", [4, 5])
@pytest.mark.parametrize("name", ["jump", "x" * 900, "läuft 跳跃", "a\nb\x1b[31m", "\udc80 😀"])
def test_any_name_is_drawn_within_the_frame(monkeypatch, opencv, name):
    cv2 = pytest.importorskip("cv2")
    if opencv == 4:
        monkeypatch.setattr(lettering, "_font", lambda: None)
    elif not hasattr(cv2, "FontFace"):
        pytest.skip("OpenCV 4")
    timeline = Timeline("a", 9.0, [{"segment": [0, 9], "score": 0.5, "class": name}] * 9)
    for size in ((360, 360), (361, 1001), (2160, 3840), (16, 3000)):
        picture = np.full((*size, 3), 120, np.uint8)
        drawn = labels.Labels(size, timeline, min_score=0.0, lines=9)
        drawn.draw(picture, 1.0)
        assert (picture != 120).any()
        above = picture[: -drawn.bar_height - 20]
        assert (above[:, -3:] == 120).all() and (above[-1:] == 120).all()
        text = lettering.fitted(lettering.line_of(name), "0.50", 20, 300)
        assert text.endswith("0.50") and lettering.text_width(text, 20) <= 300


def test_opencv_4_writes_ascii(monkeypatch):
    monkeypatch.setattr(lettering, "_font", lambda: None)
    assert lettering.line_of("läuft 跳跃") == "lauft ??"


def test_one_frame_is_in_memory_at_a_time(folder):
    source = numbered.write(folder / "p.mp4", "libx264", num=500, b_frames=2, draw=plain)
    alive, calls = [], []

    def progress(items, total, what):
        calls.append((total, what))
        for frame in items:
            alive[:] = [other for other in alive if other() is not None] + [weakref.ref(frame.picture)]
            assert len(alive) <= 4  # this one, the first, and those that the next replaces
            yield frame

    assert write_labelled(source, folder / "q.mp4", NONE, progress=progress) == 500
    assert calls == [(500, f"labels of {source}")]


def test_a_source_that_breaks_in_the_middle(media, folder, caplog):
    with caplog.at_level(logging.WARNING):
        number = write_labelled(media / "broken" / "corrupted.mp4", folder / "r.mp4", NONE)
    assert 0 < number == len(times(folder / "r.mp4"))
    (line,) = caplog.messages
    assert f"corrupted.mp4 ends after {number} frames, at " in line and line.endswith("what follows is left out")


def test_a_source_that_is_cut(folder, caplog):
    whole = numbered.write(folder / "s.mkv", "libx264", container="matroska").read_bytes()
    (folder / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    number = write_labelled(folder / "cut.mkv", folder / "t.mp4", NONE)
    assert 0 < number < 60 and times(folder / "t.mp4") == times(folder / "s.mkv")[:number]
    (line,) = caplog.messages
    assert f"ends after {number} frames" in line


def with_sound(path, codec: str, *, container: str, seconds: float = 2.4):
    """A video of 60 frames and a tone -> the packets of the tone, as (second, bytes)."""
    silent = numbered.write(io.BytesIO(), "mpeg4" if container == "avi" else "libx264", container="matroska")
    silent.seek(0)
    rate = 48000
    with av.open(silent) as read, av.open(str(path), "w", format=container) as file:
        video = file.add_stream_from_template(read.streams.video[0])
        audio = file.add_stream(codec, rate=rate)
        file.start_encoding()
        codec = audio.codec_context
        size, wave = codec.frame_size or 1024, np.sin(np.arange(int(rate * seconds)) * 0.05) * 8000
        resampler = av.AudioResampler(format=codec.format, layout=codec.layout, rate=rate, frame_size=size)
        sound = av.AudioFrame.from_ndarray(wave.astype(np.int16)[None], format="s16", layout="mono")
        sound.sample_rate, sound.pts, sound.time_base = rate, 0, fractions.Fraction(1, rate)
        packets = [p for frame in (*resampler.resample(sound), *resampler.resample(None)) for p in audio.encode(frame)]
        packets += audio.encode(None)
        for packet in read.demux(video=0):
            if packet.size:
                packet.stream = video
                file.mux(packet)
        file.mux(packets)
    return path


def sound(path) -> tuple[str | None, list]:
    with av.open(str(path)) as file:
        if not file.streams.audio:
            return None, []
        stream = file.streams.audio[0]
        packets = [packet for packet in file.demux(stream) if packet.size]
        return stream.codec_context.codec.canonical_name, [(float(p.pts * p.time_base), bytes(p)) for p in packets]


@pytest.mark.parametrize(
    ("codec", "container", "suffix", "kept"),
    [
        ("aac", "mp4", ".mp4", True),
        ("aac", "matroska", ".mp4", True),
        ("ac3", "matroska", ".mp4", True),
        ("flac", "matroska", ".mkv", True),
        ("pcm_s16le", "matroska", ".mkv", True),
        ("flac", "matroska", ".mp4", False),
        ("pcm_s16le", "avi", ".mp4", False),
    ],
)
def test_sound_is_copied_where_it_fits(folder, caplog, codec, container, suffix, kept):
    source = with_sound(folder / f"sound_{codec}.{container}", codec, container=container)
    assert write_labelled(source, folder / f"u{suffix}", NONE) == 60
    (name, expected), (found, packets) = sound(source), sound(folder / f"u{suffix}")
    assert name == codec and len(expected) > 20
    if kept:
        assert found == codec and [data for _, data in packets] == [data for _, data in expected]
        np.testing.assert_allclose([t for t, _ in packets], [t for t, _ in expected], atol=2e-3)
        assert caplog.messages == []
    else:
        assert found is None
        assert caplog.messages == [f"{source}: its sound ({codec}) does not fit into .mp4 and is left out"]
    assert times(folder / f"u{suffix}") == times(source)


def test_bytes_with_a_sound_that_is_longer_than_the_frames(folder):
    source = with_sound(folder / "whole.mkv", "aac", container="matroska", seconds=20.0)
    assert write_labelled(source.read_bytes(), folder / "v.mp4", NONE) == 60
    assert sound(folder / "v.mp4")[1][-1][0] > 19 and times(folder / "v.mp4") == times(source)


def test_the_sound_ends_where_the_frames_break(folder, monkeypatch, caplog):
    source = with_sound(folder / "breaks.mkv", "aac", container="matroska")
    whole = source_frames.in_order

    def breaking(stream, **options):
        yield from itertools.islice(whole(stream, **options), 30)
        raise Unreadable("decoding fails")

    monkeypatch.setattr(source_frames, "in_order", breaking)
    assert write_labelled(source, folder / "y.mp4", NONE) == 30
    assert 1.1 < sound(folder / "y.mp4")[1][-1][0] < 1.2
    assert caplog.messages == [f"{source} ends after 30 frames, at 1.2 s: decoding fails; what follows is left out"]


# What is refused.


def test_the_target(folder, media, tmp_path):
    source = media / "part_0.mp4"
    copy = tmp_path / "a.mp4"
    copy.write_bytes(source.read_bytes())
    (tmp_path / "link.mp4").symlink_to(copy)
    for target, message in (
        ("a.avi", r"a.avi: a labelled video is one of .mp4, .mkv"),
        ("a.mp4", "a.mp4: the video itself|a.mp4 is the video itself"),
        ("link.mp4", "link.mp4 is the video itself"),
        (".", "a labelled video is one of"),
    ):
        with pytest.raises(ValueError, match=message):
            write_labelled(copy, tmp_path / target, NONE)
    with pytest.raises(ValueError, match="must be a local path"):
        write_labelled(copy, "gs://bucket/a.mp4", NONE)
    with pytest.raises(FileNotFoundError, match="none does not exist"):
        write_labelled(copy, tmp_path / "none" / "a.mp4", NONE)
    assert copy.read_bytes() == source.read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "the file is empty"),
        (b"#EXTM3U\n#EXTINF:1,\nsecret.mp4\n", "playlist"),
        (b"\0\1\2" * 100, "not a video file"),
    ],
)
def test_hostile_sources(tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(VideoError, match=f"a.mp4: .*{message}"):
        write_labelled(tmp_path / "a.mp4", tmp_path / "b.mp4", NONE)
    assert sorted(file.name for file in tmp_path.iterdir()) == (["a.mp4"] if content is not None else [])


def test_frames_above_the_limit(folder, monkeypatch):
    source = numbered.write(folder / "large.mp4", "libx264", num=3, size=(640, 480))
    monkeypatch.setenv("ACTJAX_MAX_FRAME_MPIXELS", "0.3")
    with pytest.raises(VideoError, match="640x480 .*exceed ACTJAX_MAX_FRAME_MPIXELS"):
        write_labelled(source, folder / "w.mp4", NONE)


def test_frames_that_no_encoder_takes(folder):
    source = numbered.write(folder / "wide.mkv", "ffv1", size=(16400, 16), num=2, container="matroska")
    with pytest.raises(VideoError, match="wide.mkv: cannot be encoded as H.264 of 16400x16"):
        write_labelled(source, folder / "x.mp4", NONE)
    assert not (folder / "x.mp4").exists()


def test_a_full_disk_leaves_the_earlier_file(tmp_path, media, monkeypatch):
    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    write = labelled_file.LabelledFile
    monkeypatch.setattr(overlay, "LabelledFile", lambda file, *more, **options: write(Full(), *more, **options))
    (tmp_path / "a.mp4").write_bytes(b"earlier")
    with pytest.raises(OSError, match="No space left on device"):
        write_labelled(media / "part_0.mp4", tmp_path / "a.mp4", NONE)
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_bytes() == b"earlier"


def test_an_interrupt_leaves_nothing(tmp_path, media):
    def progress(items, total, what):
        yield next(iter(items))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_labelled(media / "part_0.mp4", tmp_path / "a.mp4", NONE, progress=progress)
    assert list(tmp_path.iterdir()) == []


def test_without_the_encoder(tmp_path, media, monkeypatch):
    monkeypatch.setattr(av, "codecs_available", {"h264"})
    with pytest.raises(ImportError, match="labelled videos need an FFmpeg with libx264.*PyAV .* has none: pip install"):
        write_labelled(media / "part_0.mp4", tmp_path / "a.mp4", NONE)


@pytest.mark.parametrize("options", [{"lines": 0}, {"min_score": float("nan")}])
def test_options_that_are_refused(tmp_path, media, options):
    with pytest.raises(ValueError, match=f"{next(iter(options))}=.*; must be a"):
        write_labelled(media / "part_0.mp4", tmp_path / "a.mp4", NONE, **options)
    assert list(tmp_path.iterdir()) == []
