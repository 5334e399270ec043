"""Clips of a window that slides along a video show the frames of their times, whatever the frame rate."""

import av
import numpy as np
import pytest
from numbered import write

from actjax.data.clips.sliding import SlidingWindow
from actjax.data.clips.spec import ClipSpec
from actjax.data.clips.transforms import center
from actjax.data.datasets.records import FramesRecord, VideoRecord
from actjax.video.errors import VideoError

CLIPS = ClipSpec(sample=None, view=lambda h, w, rng=None: center(h, w, rng=rng, short_side=45, size=40), test=True)
GREY = 4  # levels from one frame to the next
VARIABLE = np.cumsum(np.random.default_rng(0).integers(8, 120, 50))  # milliseconds


def grey(number: int, width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), GREY * number, np.uint8)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Fifty frames whose grey value tells their number, at several frame rates."""
    folder = tmp_path_factory.mktemp("videos")
    for name, fps in (("12", 12), ("25", 25), ("29.97", 30000 / 1001)):
        times = np.rint(1000 * np.arange(50) / fps)
        write(folder / f"{name}.mkv", "ffv1", num=50, times=times, draw=grey)
    write(folder / "variable.mkv", "ffv1", num=50, times=VARIABLE, draw=grey)
    write(folder / "short.mkv", "ffv1", num=4, times=40 * np.arange(4), draw=grey)
    return folder


def read(path, window, *, num_frames=4, stride=0.3, chunk=5):
    """The `Along` of a video, and the number of every frame of every clip [n, t]."""
    along, *chunks = SlidingWindow(CLIPS, window, stride, num_frames, chunk).read(VideoRecord(str(path)))
    clips = np.concatenate(chunks)
    assert all(len(part) <= chunk for part in chunks) and clips.shape[1:] == (1, num_frames, 40, 40, 3)
    means = clips.mean((1, 3, 4, 5)) / GREY
    numbers = np.rint(means).astype(int)
    assert np.abs(means - numbers).max() < 0.45
    return along, numbers


def begins(path) -> np.ndarray:
    """The second at which each frame begins, from the first."""
    with av.open(str(path)) as file:
        times = [float(frame.pts * frame.time_base) for frame in file.decode(video=0)]
    return np.array(times) - times[0]


@pytest.mark.parametrize("name", ["12", "25", "29.97", "variable"])
def test_every_clip_shows_the_frames_of_its_time(videos, name):
    window, stride = 0.8, 0.3
    along, numbers = read(videos / f"{name}.mkv", window)
    times = begins(videos / f"{name}.mkv")
    duration = along.clock.duration
    assert duration == pytest.approx(times[-1] + np.median(np.diff(times)), abs=2e-3)
    edges = [*np.arange(0, duration, stride), duration]
    np.testing.assert_allclose(along.clock.seconds(along.places), edges, atol=1e-9)
    assert len(numbers) == len(edges) - 1
    for k, shown in enumerate(numbers):
        middle = (edges[k] + edges[k + 1]) / 2
        for frame, share in zip(shown, (np.arange(4) + 0.5) / 4 - 0.5, strict=True):
            second = np.clip(middle + window * share, 0, duration)
            at = [max(int((times <= second + off).sum()) - 1, 0) for off in (-2e-3, 2e-3)]  # files keep milliseconds
            assert frame in at, (k, second)


def test_a_video_of_another_rate_shows_the_same_moments(videos, tmp_path):
    """Twice the frame rate, each picture twice."""
    write(tmp_path / "a.mkv", "ffv1", num=50, times=80 * np.arange(50), draw=grey)
    twice = lambda number, width, height: grey(number // 2, width, height)
    write(tmp_path / "b.mkv", "ffv1", num=100, times=40 * np.arange(100), draw=twice)
    (one, first), (other, second) = (read(tmp_path / name, 0.8) for name in ("a.mkv", "b.mkv"))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(one.clock.seconds(one.places), other.clock.seconds(other.places), atol=1e-9)


def test_shorter_than_one_window(videos):
    along, numbers = read(videos / "short.mkv", 2.0, stride=0.5)
    assert numbers.tolist() == [[0, 0, 3, 3]]  # frames beyond either end are the first and the last
    np.testing.assert_allclose(along.clock.seconds(along.places), [0, 0.16])
    _, numbers = read(videos / "short.mkv", 0.16, stride=9.0)
    assert numbers.tolist() == [[0, 1, 2, 3]]


def test_the_last_step_may_be_short(videos):
    along, numbers = read(videos / "25.mkv", 0.5, stride=0.6)
    np.testing.assert_allclose(along.clock.seconds(along.places), [0, 0.6, 1.2, 1.8, 2.0], atol=1e-9)
    assert (numbers[-1] >= 40).all()


def test_chunks_change_nothing(videos):
    one, numbers = read(videos / "variable.mkv", 0.8, chunk=1)
    other, others = read(videos / "variable.mkv", 0.8, chunk=100)
    np.testing.assert_array_equal(numbers, others)
    np.testing.assert_array_equal(one.places, other.places)


def test_frames_alone_have_no_frame_rate():
    record = FramesRecord(np.zeros((9, 48, 64, 3), np.uint8))
    with pytest.raises(VideoError, match="nothing tells its frame rate"):
        next(SlidingWindow(CLIPS, 1.0, 0.5, 4, 5).read(record))
