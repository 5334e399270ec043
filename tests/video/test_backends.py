"""All readers of video files give the same frames for the same indices; folders of pictures do as the reference."""

import fractions
import itertools
import json

import cv2
import numpy as np
import pytest

from actjax.video.decoding import open_video
from actjax.video.errors import VideoError
from actjax.video.groups import find_groups
from actjax.video.streams import Stream

FILES = ("decord", "opencv", "pyav")
av = pytest.importorskip("av", reason="PyAV is one of the readers")


MOVS = [f"broken/{name}.mov" for name in ("video_0", "video_90", "unordered")]


def psnr(a, b) -> float:
    error = np.mean((a.astype(float) - b) ** 2)
    return np.inf if error == 0 else 10 * np.log10(255**2 / error)


@pytest.mark.parametrize("name", ["test.mp4", "test.avi", "part_0.mp4", *MOVS])
def test_same_frames(media, name):
    videos = {backend: open_video(media / name, backend=backend) for backend in FILES}
    assert len({video.num_frames for video in videos.values()}) == 1
    indices = np.linspace(0, videos["pyav"].num_frames - 2, 7).astype(int)[[3, 0, 6, 6, 1, 2, 4, 5]]
    frames = {backend: video.frames(indices) for backend, video in videos.items()}
    for a, b in itertools.combinations(FILES, 2):
        assert frames[a].shape == frames[b].shape
        assert psnr(frames[a], frames[b]) > 40, (a, b)


@pytest.mark.parametrize(("ending", "least"), [("png", np.inf), ("jpg", 38)])
def test_pictures_of_a_video_are_its_frames(media, tmp_path, ending, least):
    frames = open_video(media / "part_0.mp4", backend="pyav").frames(range(32))
    for k, frame in enumerate(frames, start=1):
        cv2.imwrite(str(tmp_path / f"img_{k:05}.{ending}"), frame[..., ::-1])
    video = open_video(tmp_path, backend="rawframes", filename_tmpl=f"img_{{:05}}.{ending}")
    assert video.num_frames == 32
    assert psnr(video.frames([31, 0, 7, 7]), frames[[31, 0, 7, 7]]) >= least


def write(path, durations, **options) -> np.ndarray:
    """A video of frames that last so many milliseconds -> all its frames, decoded from the first to the last."""
    y, x = np.mgrid[:120, :160]
    with av.open(path, "w") as file:
        stream = file.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height = 160, 120
        stream.codec_context.time_base = fractions.Fraction(1, 1000)
        for k, start in enumerate(np.cumsum(durations)):
            picture = np.stack([x * 2 + k * 3, y * 2 + k * 5, 0 * x + k * 2], -1) % 256
            frame = av.VideoFrame.from_ndarray(picture.astype(np.uint8), format="rgb24")
            frame.pts, frame.time_base = int(start), fractions.Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    with av.open(path) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


INDICES = [[5], [11, 12, 13], [35, 60], [59, 0, 58], [*range(0, 60, 7)], [*range(60)]]


@pytest.mark.parametrize("backend", FILES)
def test_variable_frame_rate(tmp_path, backend):
    durations = np.random.default_rng(0).integers(5, 120, 61)
    frames = write(tmp_path / "variable.mp4", durations, **{"x264-params": "keyint=12:bframes=3"})
    video = open_video(tmp_path / "variable.mp4", backend=backend)
    assert video.num_frames == len(frames) == 61
    for indices in INDICES:
        np.testing.assert_array_equal(video.frames(indices), frames[indices])


@pytest.mark.parametrize("params", ["open-gop=1:keyint=12:bframes=3:scenecut=0", "intra-refresh=1:keyint=12:bframes=0"])
@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_groups_of_pictures_that_refer_to_each_other(tmp_path, params, ending):
    frames = write(tmp_path / f"open.{ending}", [40] * 61, **{"x264-params": params})
    video = open_video(tmp_path / f"open.{ending}", backend="pyav")
    for indices in INDICES:
        np.testing.assert_array_equal(video.frames(indices), frames[indices])


def test_only_the_groups_of_pictures_that_are_needed_are_decoded(tmp_path):
    write(tmp_path / "closed.mp4", [40] * 60, **{"x264-params": "keyint=12:scenecut=0:bframes=0"})
    groups, wanted = find_groups(Stream(str(tmp_path / "closed.mp4"))), np.array([30, 50])
    runs = groups.runs(wanted, groups.stamps(wanted))
    assert [(run.first, run.end) for run in runs] == [(24, 31), (48, 51)]


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


@pytest.mark.parametrize("backend", FILES)
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
    with pytest.raises(IndexError, match="a video with 32 frames"):
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
