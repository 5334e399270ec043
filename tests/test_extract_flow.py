import json
import os
import runpy
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actjax.data.samples.shapes import write_video

SHIFT = (3.0, -2.0)  # pixels a frame, right and up


@pytest.fixture(scope="module")
def script(root):
    return runpy.run_path(str(root / "experiments" / "extract_flow.py"))


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A smooth random picture that moves by `SHIFT`, a single frame, and a text file."""
    folder = tmp_path_factory.mktemp("videos")
    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.uniform(0, 255, (200, 240, 3)).astype(np.float32), (0, 0), 2.5)
    noise = cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    frames = []
    for t in range(6):
        x, y = 40 - round(SHIFT[0] * t), 20 - round(SHIFT[1] * t)
        frames.append(noise[y : y + 128, x : x + 160])
    (folder / "deep").mkdir()
    write_video(folder / "deep" / "moving picture.mp4", np.stack(frames), fps=10)
    write_video(folder / "single.mp4", frames[0][None], fps=10)
    (folder / "text.mp4").write_text("no video")
    (folder / "list.txt").write_text("deep/moving picture.mp4 3\ntext.mp4 1\nsingle.mp4 2\nmissing.mp4 0\n")
    return folder


def run(root, videos, out, *arguments):
    command = [sys.executable, str(root / "experiments" / "extract_flow.py"), f"--list={videos / 'list.txt'}"]
    command += [f"--out={out}", "--workers=1", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("method", ["dis", "farneback"])
def test_a_known_motion(root, videos, tmp_path, script, method):
    done = run(root, videos, tmp_path, f"--method={method}", "--bound=20")
    assert done.returncode == 0, done.stderr
    assert "1 videos done, 3 broken" in done.stdout
    assert (tmp_path / "list.csv").read_text() == "path,total_frames,label\ndeep/moving picture,5,3\n"
    lines = [json.loads(line) for line in (tmp_path / "list.broken.jsonl").read_text().splitlines()]
    assert {line["path"]: line["reason"] for line in lines}[str(videos / "missing.mp4")] == "no such file"
    assert [line["path"].rpartition("/")[2] for line in lines] == ["text.mp4", "single.mp4", "missing.mp4"]
    folder = tmp_path / "deep" / "moving picture"
    assert sorted(file.name for file in folder.iterdir()) == [f"{d}_{n:05d}.jpg" for d in "xy" for n in range(1, 6)]
    for direction, expected in zip("xy", SHIFT, strict=True):
        for number in range(1, 6):
            picture = cv2.imread(str(folder / f"{direction}_{number:05d}.jpg"), cv2.IMREAD_UNCHANGED)
            assert picture.shape == (128, 160)
            inner = script["from_picture"](picture, 20)[16:-16, 16:-16]
            assert abs(inner.mean() - expected) < 0.3


def test_finished_folders_stay_and_others_are_made(root, videos, tmp_path):
    assert run(root, videos, tmp_path).returncode == 0
    file = tmp_path / "deep" / "moving picture" / "x_00001.jpg"
    before, stamp = (tmp_path / "list.csv").read_text(), file.stat().st_mtime_ns
    assert run(root, videos, tmp_path).returncode == 0
    assert file.stat().st_mtime_ns == stamp and (tmp_path / "list.csv").read_text() == before
    assert not list(tmp_path.rglob(".*"))  # nothing half done is left
    file.parent.rename(tmp_path / "deep" / ".moving picture.part")  # as after a kill
    assert run(root, videos, tmp_path).returncode == 0
    assert file.exists() and not list(tmp_path.rglob(".*"))
    other = run(root, videos, tmp_path, "--bound=10")
    assert other.returncode == 1 and "holds flow made with" in other.stderr and "Traceback" not in other.stderr


def test_short_side(root, videos, tmp_path):
    assert run(root, videos, tmp_path, "--short-side=64").returncode == 0
    picture = cv2.imread(str(tmp_path / "deep" / "moving picture" / "x_00001.jpg"), cv2.IMREAD_UNCHANGED)
    assert picture.shape == (64, 80)


def test_its_list_is_an_annotation_file(root, videos, tmp_path):
    from actjax.data.datasets import annotations

    assert run(root, videos, tmp_path).returncode == 0
    (record,) = annotations.load_annotations(
        "rawframes", tmp_path / "list.csv", modality="Flow", filename_tmpl="{}_{:05d}.jpg"
    )
    assert record.label == 3
    video = record.open(backend="opencv")
    assert video.num_frames == 5 and video.frames(np.arange(5)).shape == (5, 128, 160, 2)


class Unpickled:
    """Calls a function in the process that unpickles it."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


CRASH = Unpickled(os._exit, 3), 60, "its process died with exit code 3"
HANG = Unpickled(time.sleep, 600), 0.5, "took more than --timeout=0.5 s"


@pytest.mark.parametrize("video, timeout, reason", [CRASH, HANG], ids=["crash", "hang"])
def test_a_crash_or_a_hang_is_one_broken_video(root, tmp_path, monkeypatch, video, timeout, reason):
    monkeypatch.syspath_prepend(root / "experiments")
    import extract_flow

    found = extract_flow.extract_one((video, tmp_path / "a"), extract_flow.Options(), timeout=timeout)
    assert found == (0, reason)


def test_names_must_differ(root, videos, tmp_path):
    (tmp_path / "list.txt").write_text("../a.mp4 0\n")
    done = run(root, tmp_path, tmp_path / "out")
    assert done.returncode == 1 and "must lie below --prefix" in done.stderr
    (tmp_path / "list.txt").write_text("a.mp4 0\na.avi 0\n")
    assert "differ without their ending" in run(root, tmp_path, tmp_path / "out").stderr


def test_zero_is_128_and_the_ends_are_clipped(script):
    flow = np.array([0, 20, -20, 100, -100], np.float32)
    assert script["to_picture"](flow, 20).tolist() == [128, 255, 0, 255, 0]


@given(flow=st.floats(-20, 20, width=32), bound=st.sampled_from([20, 32]))
def test_round_trip_is_within_half_a_step(script, flow, bound):
    picture = script["to_picture"](np.float32(flow), bound)
    assert abs(script["from_picture"](picture, bound) - flow) <= bound / 255 + 1e-5
