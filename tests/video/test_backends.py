"""All readers of video files give the same frames for the same indices; folders of pictures do as the reference."""

import itertools
import json

import numpy as np
import pytest

from actjax.video.decoding import VideoError, open_video

FILES = ("decord", "opencv", "pyav")
pytest.importorskip("av", reason="PyAV is one of the readers")


def psnr(a, b) -> float:
    error = np.mean((a.astype(float) - b) ** 2)
    return np.inf if error == 0 else 10 * np.log10(255**2 / error)


@pytest.mark.parametrize("name", ["test.mp4", "test.avi", "part_0.mp4", "broken/video_0.mov", "broken/video_90.mov"])
def test_same_frames(media, name):
    videos = {backend: open_video(media / name, backend=backend) for backend in FILES}
    assert len({video.num_frames for video in videos.values()}) == 1
    indices = np.linspace(0, videos["pyav"].num_frames - 2, 7).astype(int)[[3, 0, 6, 6, 1, 2, 4, 5]]
    frames = {backend: video.frames(indices) for backend, video in videos.items()}
    for a, b in itertools.combinations(FILES, 2):
        assert frames[a].shape == frames[b].shape
        assert psnr(frames[a], frames[b]) > 40, (a, b)


@pytest.mark.parametrize("backend", FILES)
def test_golden_frames(golden, media, backend):
    arrays = np.load(golden / "data" / "decode_frames.npz")
    for name in ("test.mp4", "test.avi"):
        video = open_video(media / name, backend=backend)
        for key in (key for key in arrays.files if key.startswith(name)):
            index = int(key.rpartition("__")[2])
            if (name, backend, index) != ("test.avi", "decord", 163):  # now and then its neighbour
                np.testing.assert_array_equal(video.frames([index])[0], arrays[key])


@pytest.mark.parametrize("backend", FILES)
def test_bytes_and_urls(media, backend):
    fsspec = pytest.importorskip("fsspec")
    content = (media / "part_0.mp4").read_bytes()
    expected = open_video(media / "part_0.mp4", backend=backend).frames([3, 20])
    with fsspec.open("memory://actjax/clip.mp4", "wb") as file:
        file.write(content)
    for source in (content, "memory://actjax/clip.mp4"):
        np.testing.assert_array_equal(open_video(source, backend=backend).frames([3, 20]), expected)
    with pytest.raises(VideoError, match="memory://actjax/none.mp4: cannot be read"):
        open_video("memory://actjax/none.mp4", backend=backend)
    with pytest.raises(VideoError, match="<5 bytes>"):
        open_video(b"video", backend=backend)


@pytest.mark.parametrize("backend", ["opencv", "pyav"])
def test_a_file_that_promises_more_frames_than_it_holds(media, backend):
    with pytest.raises(VideoError, match="corrupted.mp4"):
        video = open_video(media / "broken" / "corrupted.mp4", backend=backend)
        assert video.num_frames <= 50
        video.frames(np.arange(video.num_frames))


@pytest.mark.parametrize("backend", FILES)
def test_broken_files(tmp_path, media, backend):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "cut.mp4").write_bytes((media / "part_0.mp4").read_bytes()[:60_000])
    for name in ("empty.mp4", "text.mp4", "cut.mp4", "missing.mp4"):
        with pytest.raises(VideoError, match=name):
            open_video(tmp_path / name, backend=backend)
    with pytest.raises(IndexError, match="a video that has 32"):
        open_video(media / "part_0.mp4", backend=backend).frames([32])


def test_pictures_match_golden(golden, media):
    arrays = np.load(golden / "data" / "rawframes.npz")
    for case in json.loads((golden / "data" / "rawframes.json").read_text())["cases"]:
        given = case["input"]
        options = {name: given[name] for name in ("filename_tmpl", "modality", "offset")}
        video = open_video(media / "imgs", backend="rawframes", num_frames=10, **options)
        frames = video.frames(np.array(given["frame_inds"]) - 1)
        if given["modality"] == "Flow":
            frames = np.moveaxis(frames, 3, 1).reshape(-1, *frames.shape[1:3])
        expected = arrays[case["expect"]["key"]]
        assert np.abs(frames.astype(int) - expected).max() <= 3, case["id"]


def test_pictures_are_counted_and_missing_ones_named(media):
    assert open_video(media / "imgs", backend="rawframes").num_frames == 10
    flow = dict(filename_tmpl="{}_{:05d}.jpg", modality="Flow")
    assert open_video(media / "imgs", backend="rawframes", **flow).num_frames == 5
    with pytest.raises(VideoError, match="img_00011.jpg"):
        open_video(media / "imgs", backend="rawframes", num_frames=12).frames([10])
    with pytest.raises(VideoError, match="no frames"):
        open_video(media, backend="rawframes")
    with pytest.raises(ValueError, match=r"does not take \['fps'\]"):
        open_video(media / "imgs", backend="rawframes", fps=3)
    with pytest.raises(ValueError, match="choose from"):
        open_video(media / "imgs", backend="rawframes", modality="Depth")
