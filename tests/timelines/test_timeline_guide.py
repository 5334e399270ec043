"""The guide's example of looking at what was found runs as it stands."""

import shutil

import pytest
from conftest import MEDIA, ROOT
from documents import blocks

from actjax.metrics import load_results
from actjax.timelines import read_csv
from actjax.video.decoding import open_video

pytest.importorskip("matplotlib", reason="the extra `plots`")


def test_the_example_of_the_guide(tmp_path, monkeypatch):
    (block,) = [b for b in blocks(ROOT / "docs" / "guide.md") if b.heading == "Looking at what was found"]
    shutil.copy(MEDIA / "part_0.mp4", tmp_path / "clip.mp4")
    monkeypatch.chdir(tmp_path)
    exec(block.text, {})
    files = {"clip.mp4", "found.csv", "found.json", "clip.srt", "clip.png", "labelled.mp4"}
    assert {file.name for file in tmp_path.iterdir()} == files
    assert [row["class"] for row in read_csv("found.csv")["clip"]] == load_results("found.json").label.tolist()
    assert (tmp_path / "clip.srt").read_text().endswith("00:00:09,000 --> 00:00:12,500\nrun 0.60\n")
    assert open_video("labelled.mp4").num_frames == open_video("clip.mp4").num_frames
