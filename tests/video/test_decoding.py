import importlib.metadata
import io
import json
import pickle
import re
import shutil

import numbered
import numpy as np
import pytest

from actjax.data.clips.spec import ClipSpec
from actjax.data.samples.shapes import write_video
from actjax.video import decord_opencv
from actjax.video.decoding import decoder, open_video
from actjax.video.errors import BackendError, VideoError

PROTOCOL = ClipSpec(sample=None, view=None)


@pytest.mark.parametrize("name", ["test.mp4", "test.avi"])
def test_frames_match_golden(golden, media, name):
    cases = {c["id"]: c for c in json.loads((golden / "data" / "decode.json").read_text())["cases"]}
    expect = cases[f"decode-{name}"]["expect"]
    video = open_video(media / name)
    assert video.num_frames == expect["total_frames"] and list(video.size) == expect["original_shape"]
    means = video.frames(np.arange(video.num_frames)).mean((1, 2))
    np.testing.assert_allclose(means, expect["frame_mean_rgb"], atol=0.05)


def test_order_and_repeats_are_kept(media):
    video = open_video(media / "test.mp4")
    frames = video.frames(np.array([5, 3, 3, 100, 0]))
    assert frames.shape == (5, 256, 340, 3) and frames.dtype == np.uint8
    np.testing.assert_array_equal(frames[1], frames[2])
    np.testing.assert_array_equal(frames[4], video.frames(np.array([0]))[0])


def test_written_video_comes_back(tmp_path):
    ramp = np.broadcast_to(np.linspace(0, 255, 64)[None, None, :, None], (5, 48, 64, 3)).astype(np.uint8)
    write_video(tmp_path / "ramp.mp4", ramp, fps=12)
    video = open_video(tmp_path / "ramp.mp4")
    assert video.num_frames == 5 and video.fps == 12 and video.size == (48, 64)
    assert np.abs(video.frames(np.arange(5)).astype(int) - ramp).mean() < 4


def test_index_beyond_the_end(media):
    with pytest.raises(IndexError, match="a video with 300 frames"):
        open_video(media / "test.mp4").frames(np.array([300]))


def test_broken_files(tmp_path, media):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "cut.mp4").write_bytes((media / "part_0.mp4").read_bytes()[:60_000])
    for name in ("empty.mp4", "text.mp4", "cut.mp4", "missing.mp4"):
        with pytest.raises(VideoError, match=name) as caught:
            open_video(tmp_path / name)
        again = pickle.loads(pickle.dumps(caught.value))
        assert again.path == str(tmp_path / name) and again.reason == caught.value.reason


@pytest.mark.parametrize("backend", [(), ("pyav", "vlc")])
def test_unknown_backends(media, backend):
    with pytest.raises(ValueError, match="choose from"):
        open_video(media / "test.mp4", backend=backend)


def test_unknown_backend(media):
    with pytest.raises(ValueError, match="choose from"):
        open_video(media / "test.mp4", backend="vlc")


def test_no_frames_are_an_empty_array(media):
    video = open_video(media / "test.mp4")
    assert video.frames([]).shape == (0, 256, 340, 3) and video.times([]).shape == (0,)


def test_the_guides_example(tmp_path, monkeypatch, root, media):
    guide = (root / "docs" / "guide.md").read_text()
    (block,) = re.findall(r"^```python\n(from actjax.video.decoding.*?)^```", guide, re.M | re.S)
    shutil.copy(media / "test.mp4", tmp_path / "clip.mp4")
    monkeypatch.chdir(tmp_path)
    exec(block, names := {})
    assert "300, 30.0, (256, 340)" in block
    assert (names["video"].num_frames, names["video"].fps, names["video"].size) == (300, 30.0, (256, 340))
    np.testing.assert_allclose(names["video"].times([0, 10, 20]), [0, 1 / 3, 2 / 3])


def test_a_video_that_turns_out_broken_says_so_again(media):
    content = numbered.write(io.BytesIO(), "libx264", container="mp4", num=60).getvalue()
    start, end = content.index(b"mdat"), content.index(b"moov")
    middle = (start + end) // 2
    video = open_video(content[:middle] + bytes(2000) + content[middle + 2000 :])
    for _ in range(2):
        with pytest.raises(VideoError, match="bytes>: "):
            video.frames(range(60))
        with pytest.raises(IndexError):
            video.frames([60])


@pytest.mark.parametrize("backend", ["decord", "opencv"])
def test_another_picture_than_pyavs_is_refused(media, monkeypatch, backend):
    """decord 0.6 begins one group late in some files of kinds that it reads right in others."""
    pytest.importorskip(backend.replace("opencv", "cv2"), reason="the library has no wheel here")
    kind = decord_opencv.Decord if backend == "decord" else decord_opencv.OpenCV
    pictures = kind._pictures
    monkeypatch.setattr(kind, "_pictures", lambda self, indices: pictures(self, [k + 12 for k in indices]))
    video = open_video(media / "test.mp4", backend=backend)
    refused = r"may give wrong frames for this file \(frame 3 differs from PyAV's\); use backend='pyav'"
    with pytest.raises(BackendError, match=refused):
        video.frames([3, 40])
    video = open_video(media / "test.mp4", backend=(backend, "pyav"))
    np.testing.assert_array_equal(video.frames([3, 40]), open_video(media / "test.mp4").frames([3, 40]))


def test_a_backend_without_its_package(monkeypatch):
    from actjax.tasks.loading import check_reading

    assert decoder("pyav") == f"av {importlib.metadata.version('av')}"
    assert decoder(("opencv", "pyav")).count(" ") == 3
    found = importlib.metadata.version

    def without_decord(name):
        if name.startswith("decord"):
            raise importlib.metadata.PackageNotFoundError(name)
        return found(name)

    monkeypatch.setattr(importlib.metadata, "version", without_decord)
    reading = PROTOCOL._replace(backend="decord")
    with pytest.raises(ValueError, match="train.backend: backend 'decord' needs a package: pip install decord2"):
        check_reading("train", reading)
    check_reading("train", reading._replace(backend=("decord", "pyav")))
    assert decoder(("decord", "pyav")) == decoder("pyav")
