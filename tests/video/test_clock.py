"""When frames are shown: constant and variable frame rates, late starts, and files that do not tell."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numbered import write

from actjax.data.datasets.records import RawframesRecord, VideoRecord
from actjax.data.samples.shapes import write_video
from actjax.tasks.localizing import on_the_clock, read_clocks
from actjax.video.clock import Clock, Clocks, clock_of
from actjax.video.decoding import open_video
from actjax.video.errors import VideoError

pytest.importorskip("av", reason="PyAV writes the videos")
VARIABLE = np.cumsum([0, 40, 40, 200, 40, 1000, 40, 40, 300, 40, 40, 40])  # milliseconds


def still(number: int, width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), 5 * number, np.uint8)


def clock(path) -> Clock:
    return clock_of(open_video(path))


@pytest.mark.parametrize("fps", [12, 25, 30000 / 1001])
def test_constant_rate(tmp_path, fps):
    write_video(tmp_path / "a.mp4", np.zeros((31, 48, 64, 3), np.uint8), fps=fps)
    found = clock(tmp_path / "a.mp4")
    assert found.num_frames == 31 and found.times is None
    assert found.fps == pytest.approx(fps, rel=1e-3) and found.duration == pytest.approx(31 / fps, rel=1e-3)
    np.testing.assert_allclose(found.seconds([0, 7.5, 31]), np.array([0, 7.5, 31]) / found.fps)


def test_whole_milliseconds_of_a_constant_rate_are_constant(tmp_path):
    """Matroska rounds the times of 30 frames a second."""
    times = np.rint(np.arange(40) * 1000 / 30)
    write(tmp_path / "a.mkv", "mpeg4", num=40, times=times, draw=still, change=_rate(30))
    found = clock(tmp_path / "a.mkv")
    assert found.times is None and found.fps == pytest.approx(30, rel=1e-3)


def _rate(fps):
    def change(stream):
        stream.codec_context.framerate = fps

    return change


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
@pytest.mark.parametrize("start", [0, 5000])
def test_variable_rate_and_a_late_start(tmp_path, name, start):
    write(tmp_path / name, "mpeg4", num=12, times=start + VARIABLE, draw=still)
    found = clock(tmp_path / name)
    np.testing.assert_allclose(found.times[:-1], VARIABLE / 1000, atol=1e-9)
    assert found.duration == pytest.approx(1.82 + 0.04)  # the last frame stays as long as most do
    assert found.fps == pytest.approx(12 / 1.86)
    assert found.seconds(3.5) == pytest.approx(0.3) and found.frames(0.78) == pytest.approx(4.46)
    assert found.seconds(13) == pytest.approx(1.86 + 1 / found.fps)


def test_a_late_start_of_a_constant_rate(tmp_path):
    write(tmp_path / "a.mp4", "mpeg4", num=12, times=7000 + 40 * np.arange(12), draw=still)
    found = clock(tmp_path / "a.mp4")
    assert found == (12, pytest.approx(25), None)


def test_a_drift_over_a_long_video_is_seen():
    """A file that says 25, whose frames come 25.1 times a second: after 100 seconds 10 frames off."""
    times = np.arange(2500) / 25.1
    found = clock_of(Stub(25.0, times))
    assert found.seconds(2499) == pytest.approx(times[-1]) and found.duration == pytest.approx(2500 / 25.1)
    assert clock_of(Stub(25.1, times)).times is None


class Stub:
    """An opened video with these times."""

    def __init__(self, fps: float, times):
        self.fps, self._times, self.num_frames = fps, np.asarray(times, float), len(times)

    def times(self, indices):
        return self._times[indices]


def test_timestamps_that_do_not_increase():
    assert clock_of(Stub(25.0, [0, 1, 1, 2])) == (4, 25.0, None)
    assert clock_of(Stub(25.0, [0, 2, 1, 3])) == (4, 25.0, None)
    with pytest.raises(ValueError, match="its timestamps do not increase, and it has no frame rate"):
        clock_of(Stub(0.0, [0, 1, 1, 2]))


def test_a_file_without_timestamps(tmp_path):
    write(tmp_path / "a.m4v", "mpeg4", num=12, draw=still, container="m4v")
    assert clock(tmp_path / "a.m4v") == (12, pytest.approx(25), None)


def test_a_single_frame_and_no_frame_rate():
    assert clock_of(Stub(0.0, [3.0])).seconds([0, 1]).tolist() == [0.0, 1.0]
    assert clock_of(Stub(10.0, [3.0])).duration == pytest.approx(0.1)
    assert clock_of(Stub(0.0, [0.0, 0.5, 1.0])).duration == pytest.approx(1.5)


def test_pictures_have_no_clock(tmp_path):
    import cv2

    for k in range(1, 4):
        cv2.imwrite(str(tmp_path / f"img_{k:05d}.jpg"), np.zeros((48, 64, 3), np.uint8))
    record = RawframesRecord(str(tmp_path), 3)
    with pytest.raises(VideoError, match="nothing tells its frame rate"):
        next(Clocks().read(record))


def test_clocks_of_many_videos_leave_out_what_is_broken(tmp_path):
    write(tmp_path / "a.mkv", "mpeg4", num=12, times=VARIABLE, draw=still)
    (tmp_path / "b.mkv").write_text("no video")
    records = [VideoRecord(str(tmp_path / name)) for name in ("a.mkv", "b.mkv")]
    found = read_clocks(records, timeout=30.0)
    assert list(found) == [records[0].path]
    np.testing.assert_array_equal(found[records[0].path].times, clock(tmp_path / "a.mkv").times)


clocks = st.one_of(
    st.builds(Clock, st.integers(1, 500), st.floats(1, 120), st.none()),
    st.lists(st.floats(0.01, 5), min_size=1, max_size=40).map(
        lambda steps: Clock(len(steps), len(steps) / sum(steps), np.concatenate([[0.0], np.cumsum(steps)]))
    ),
)


@given(clocks, st.lists(st.floats(0, 1.5), min_size=1, max_size=9))
def test_seconds_and_frames_are_inverse(clock, shares):
    frames = clock.num_frames * np.array(shares)
    np.testing.assert_allclose(clock.frames(clock.seconds(frames)), frames, rtol=1e-9, atol=1e-6)
    seconds = clock.duration * np.array(shares)
    np.testing.assert_allclose(clock.seconds(clock.frames(seconds)), seconds, rtol=1e-9, atol=1e-6)
    assert clock.seconds(clock.num_frames) == pytest.approx(clock.duration)
    ordered = clock.seconds(np.sort(frames))
    assert (np.diff(ordered) >= 0).all() and ordered[0] >= 0


def test_segments_at_a_constant_rate_go_onto_the_clock():
    rows = [{"segment": [0.0, 2.0], "score": 0.5}]
    uneven = Clock(4, 1.0, np.array([0.0, 0.1, 0.2, 3.0, 4.0]))
    moved = on_the_clock(rows, uneven, 4, 8.0)  # 4 frames, taken for half a frame a second
    assert moved == [{"segment": [0.0, pytest.approx(0.1)], "score": 0.5}]
    assert on_the_clock(rows, Clock(4, 0.5), 4, 8.0) == rows
