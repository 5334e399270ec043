"""Every kind of file and every reader: the frames that were asked for, or a refusal that names a reader that can."""

import importlib.util
import json
import pathlib
import runpy

import numbered
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actjax.video import groups
from actjax.video.decoding import decoder, open_video
from actjax.video.decord_opencv import DECORD, OPENCV, Kind
from actjax.video.errors import BackendError, VideoError
from actjax.video.groups import Groups
from actjax.video.streams import Stream

MUXERS = {"ts": "mpegts", "mpg": "mpeg", "mkv": "matroska", "wmv": "asf"}
PIXELS = {"mjpeg": "yuvj420p", "gif": "rgb8", "prores_ks": "yuv422p10le", "png": "rgb24"}
# Codec and B-frames, and the files that can hold them.
FILES = {
    ("libx264", 0): "mp4 mov mkv avi wmv mpg ts flv 3gp h264 nut",
    ("libx264", 2): "mp4 mov mkv avi wmv mpg ts flv 3gp h264 nut",
    ("libx265", 0): "mp4 mkv ts hevc",
    ("libx265", 3): "mp4 mkv mpg ts hevc",
    ("mpeg4", 0): "mp4 mkv avi wmv ts m4v",
    ("mpeg4", 2): "mp4 mkv avi wmv mpg ts m4v",
    ("mpeg2video", 0): "mp4 mkv mpg ts",
    ("mpeg2video", 2): "mp4 mkv avi wmv mpg ts",
    ("mpeg1video", 2): "mpg mkv",
    ("libvpx", 0): "webm avi",
    ("libvpx-vp9", 0): "webm mp4 mkv ivf",
    ("libsvtav1", 0): "mp4 mkv webm",
    ("mjpeg", 0): "mov mkv avi mp4",
    ("wmv2", 0): "wmv avi",
    ("msmpeg4", 0): "avi mkv",
    ("flv", 0): "flv avi",
    ("h263", 0): "3gp mov",
    ("gif", 0): "gif",
    ("ffv1", 0): "mkv avi",
    ("prores_ks", 0): "mov",
    ("png", 0): "mov avi",
}
CASES = [(codec, b, ending) for (codec, b), endings in FILES.items() for ending in endings.split()]
BACKENDS = ("pyav", "opencv", *(["decord"] if importlib.util.find_spec("decord") else []))  # it has few wheels


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder, files = tmp_path_factory.mktemp("kinds"), {}

    def make(codec: str, b_frames: int, ending: str) -> tuple[pathlib.Path, list[int]]:
        """The file, and the numbers of its frames as a plain loop of FFmpeg shows them."""
        key = codec, b_frames, ending
        if key not in files:
            path = folder / f"{codec}_{b_frames}.{ending}"
            size = (176, 144) if codec == "h263" else numbered.SIZE
            params = "open-gop=0" if codec == "libx265" else ""
            options = dict(gop=1 if codec == "prores_ks" else 12, b_frames=b_frames, size=size, params=params)
            pix_fmt = PIXELS.get(codec, "yuv420p")
            numbered.write(path, codec, container=MUXERS.get(ending, ending), pix_fmt=pix_fmt, **options)
            files[key] = path, numbered.in_order(path)
            assert files[key][1] == list(range(60))
        return files[key]

    return make


def outcome(path, truth: list[int], backend: str, indices) -> str:
    """ "equal" or "refused"; fails on anything else."""
    try:
        video = open_video(path, backend=backend)
        frames = video.frames(indices)
    except BackendError as error:
        assert "backend='pyav'" in error.reason and "\n" not in error.reason
        return "refused"
    assert video.num_frames == len(truth)
    assert numbered.numbers(frames) == [truth[k] for k in indices]
    return "equal"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("codec", "b_frames", "ending"), CASES)
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(indices=st.lists(st.integers(0, 59), min_size=1, max_size=8))
def test_frames_are_those_asked_for_or_refused(made, codec, b_frames, ending, backend, indices):
    found = outcome(*made(codec, b_frames, ending), backend, indices)
    assert found == "equal" or backend != "pyav"


def test_readers_refuse_no_more_than_their_tables_say(made):
    """Every row of the tables is made and read here; so many kinds of the files above are read."""
    kinds = {}
    for case in CASES:
        path, truth = made(*case)
        stream = Stream(str(path))
        kind = Kind(stream.container, stream.format, bool(stream.codec.has_b_frames))
        kinds.setdefault(kind, []).append((path, truth))
    for backend, table, least in (("opencv", OPENCV, 57), ("decord", DECORD, 40)):
        if backend not in BACKENDS:
            continue
        assert not table - set(kinds), "rows that no file measures"
        read = 0
        for kind, files in kinds.items():
            for path, truth in files:
                found = outcome(path, truth, backend, [0, 59, 30])
                expected = {"equal"} if kind in table else {"refused"}
                if decoder(backend) == "decord2 3.4.0" and kind.codec == "hevc" and kind.b_frames:
                    expected = {"equal", "refused"}  # it fails on some of these
                    least -= found == "refused"
                assert found in expected, (backend, path.name)
                read += found == "equal"
        assert read >= least


CONTAINERS = {
    "mov,mp4,m4a,3gp,3g2,mj2": "MP4, MOV, 3GP", "matroska,webm": "Matroska, WebM", "avi": "AVI", "flv": "FLV",
    "asf": "ASF, WMV", "mpeg": "MPEG program stream", "mpegts": "MPEG transport stream", "h264": "raw H.264 (.h264)",
    "hevc": "raw HEVC (.hevc)", "m4v": "raw MPEG-4 (.m4v)", "gif": "GIF",
}  # fmt: skip


def listed(kinds, container: str) -> str:
    """The codecs of a container as the guide names them."""
    found = {}
    for kind in kinds:
        if kind.container == container:
            found.setdefault(kind.codec, set()).add("+" if kind.b_frames else "-")
    return " ".join(f"`{codec}{'' if len(b) == 2 else min(b)}`" for codec, b in sorted(found.items()))


def test_the_guide_has_the_table_of_formats(made, root):
    by_stamp = set()
    for case in CASES:
        path, _ = made(*case)
        stream = Stream(str(path))
        if isinstance(open_video(path)._reader._groups, Groups):
            by_stamp.add(Kind(stream.container, stream.format, bool(stream.codec.has_b_frames)))
    tables = by_stamp, DECORD, OPENCV
    rows = [f"| {name} | {' | '.join(listed(t, c) for t in tables)} |" for c, name in CONTAINERS.items()]
    assert "\n".join(rows).replace("|  |", "| |").replace("|  |", "| |") in (root / "docs" / "guide.md").read_text()


@pytest.mark.parametrize("gop", [1, 5, 250])
@pytest.mark.parametrize("b_frames", [0, 3])
@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi"])
@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_groups_of_any_length(tmp_path, codec, gop, b_frames, ending):
    path = numbered.write(tmp_path / f"clip.{ending}", codec, gop=gop, b_frames=b_frames, num=45)
    rng = np.random.default_rng(0)
    for backend in BACKENDS:
        for _ in range(5):
            assert outcome(path, list(range(45)), backend, rng.integers(45, size=6)) == "equal"


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi"])
def test_any_order_of_requests_to_one_video(tmp_path, ending):
    """Frames one by one, in rows, and in any order, of a video that stays open."""
    video = open_video(numbered.write(tmp_path / f"clip.{ending}", "libx264", gop=12, b_frames=2))
    for indices in (range(16), range(16, 32), [59], [0], range(32, 48), [47, 3, 3], range(60), [20], [21], [5]):
        assert numbered.numbers(video.frames([*indices])) == [*indices]


def test_a_long_video_is_opened_by_its_index_and_read_by_seeking(tmp_path, monkeypatch):
    monkeypatch.setattr(groups, "SHORT", 1000)
    path = numbered.write(tmp_path / "long.mp4", "libx264", num=3000, gop=50, b_frames=2, size=(64, 48))
    for source in (path, path.read_bytes()):
        video = open_video(source)
        assert video.num_frames == 3000 and video._reader._groups._stamps == {}  # nothing was read but the index
        for k in (2999, 1500, 10, 2200):
            assert numbered.number(video.frames([k])[0]) == k % 256
            np.testing.assert_allclose(video.times([k]), k / 25)
        video = open_video(source)
        for first in (0, 16):  # a pass through the file that is interrupted goes on with the right frame
            assert numbered.numbers(video.frames(range(first, first + 16))) == list(range(first, first + 16))
            video.times([2500 - 50 * first])


def test_shared_numbered_videos(root):
    """The files of the project's neighbours, where these lie beside it."""
    folder = root.parent / "shared" / "numbered_videos"
    if not folder.is_dir():
        pytest.skip("no ../shared/numbered_videos here")
    examine = runpy.run_path(str(folder / "check.py"), run_name="check")["examine"]
    truth = json.loads((folder / "truth.json").read_text())
    found = [examine(str(folder / name), about, "pyav") for name, about in truth.items()]
    assert not [text for text in found if text]


def test_real_clips_in_any_order(root):
    clips = root.parent / "shared" / "real" / "clips"
    if not clips.is_dir():
        pytest.skip("no ../shared/real/clips here")
    import av

    for path in clips.iterdir():
        with av.open(str(path)) as file:
            truth = np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])
        video = open_video(path)
        assert video.num_frames == len(truth)
        for row in np.random.default_rng(0).permutation(len(truth))[:32].reshape(-1, 2):
            np.testing.assert_array_equal(video.frames(row), truth[row])
        np.testing.assert_array_equal(video.frames(range(len(truth))), truth)


def test_text_and_sound_are_no_videos(tmp_path):
    import av

    (tmp_path / "notes.txt").write_text("frame 0\nframe 1\n" * 200)
    with av.open(str(tmp_path / "song.mp4"), "w") as file:
        stream = file.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 44100
        file.mux([*stream.encode(sound), *stream.encode(None)])
    for name, why in {"notes.txt": "not a video file: it is text", "song.mp4": "no video in it"}.items():
        for backend in BACKENDS:
            with pytest.raises(VideoError, match=f"{name}: {why}"):
                open_video(tmp_path / name, backend=backend)
