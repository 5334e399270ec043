import os
import subprocess
import sys

import numpy as np
import pytest

from actjax.data.datasets.annotations import load_annotations
from actjax.data.samples.shapes import CLASSES, draw_clip, make_shapes
from actjax.video.decoding import open_video


def test_set_is_balanced_and_paired(shapes):
    for split, number in (("train", 64), ("val", 40)):
        records = load_annotations("videos", shapes / f"{split}.txt")
        assert np.bincount([r.label for r in records]).tolist() == [number // 8] * 8
        for first, second in zip(records[::2], records[1::2], strict=True):
            assert (first.label, second.label) in {(0, 1), (2, 3), (4, 5), (6, 7)}
            forth, back = (open_video(r.path) for r in (first, second))
            assert forth.num_frames == back.num_frames
            every = np.arange(forth.num_frames)
            difference = forth.frames(every).astype(int) - back.frames(every)[::-1]
            assert np.abs(difference).mean() < 6  # the codec's doing
    assert (shapes / "classes.txt").read_text().splitlines() == list(CLASSES)


def test_clips_vary_and_repeat():
    again = [draw_clip(motion, rng=np.random.default_rng((0, motion))) for motion in range(4) for _ in range(2)]
    for one, two in zip(again[::2], again[1::2], strict=True):
        np.testing.assert_array_equal(one, two)
    lengths = {len(draw_clip(0, rng=np.random.default_rng(seed))) for seed in range(20)}
    assert len(lengths) > 8 and min(lengths) >= 16 and max(lengths) <= 40


def test_made_once(shapes):
    before = (shapes / "train.txt").stat().st_mtime_ns
    assert make_shapes(shapes, num_train=64, num_val=40) == shapes
    assert (shapes / "train.txt").stat().st_mtime_ns == before


@pytest.mark.parametrize("other", [dict(num_train=72), dict(num_val=48), dict(seed=1)])
def test_a_folder_with_another_set_is_refused(shapes, other):
    with pytest.raises(
        ValueError, match="holds the sample set shapes-64-40-0, not shapes-.*choose another data.folder"
    ):
        make_shapes(shapes, **(dict(num_train=64, num_val=40) | other))


def test_refuses_unequal_classes(tmp_path):
    with pytest.raises(ValueError, match="multiple of 8"):
        make_shapes(tmp_path / "x", num_train=10)


@pytest.mark.parametrize("place", ["file", "standard input"])
def test_a_script_needs_no_main_guard(place, root, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from actjax.data.samples.shapes import make_shapes\n"
        "make_shapes('set', num_train=8, num_val=8, processes=1)\n"
        "print('once')\n"
    )
    with script.open() as text:
        done = subprocess.run(
            [sys.executable, script if place == "file" else "-"], stdin=text, cwd=tmp_path, text=True,
            env=os.environ | {"PYTHONPATH": str(root)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    assert done.stdout == "once\n" and len(list((tmp_path / "set" / "videos").iterdir())) == 16
