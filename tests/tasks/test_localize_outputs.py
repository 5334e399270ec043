"""The files of `--mode=localize`: tables, subtitles, pictures, videos with labels, the ground truth beside them."""

import csv
import json
import re
import sys

import numpy as np
import pytest
import tiny_runs
from cli import run

from actjax.metrics import load_results
from actjax.tasks import localize_mode
from actjax.timelines import read_csv
from actjax.video.decoding import open_video

NAME = "val_0003"


@pytest.fixture(scope="module")
def features(detector):
    """Those of one video; the table beside them knows where it is."""
    return str(detector / "features" / f"{NAME}.csv")


@pytest.fixture(scope="module")
def truth(cached):
    return tiny_runs.videos_of_the_sample_set().parent / "annotations.json"


@pytest.fixture(scope="module")
def localized(detector, features, tmp_path_factory):
    """What was found, and where its files are."""
    out = tmp_path_factory.mktemp("out")
    (found,) = tiny_runs.localize(detector, features=features, out=str(out))
    return found, out


def shown(rows, least) -> list[dict]:
    """By hand: rows that score enough and overlap no better one by over half."""
    kept = []
    for row in rows:
        (a, b), apart = row["segment"], True
        for better in kept:
            c, d = better["segment"]
            inner = min(b, d) - max(a, c)
            apart &= inner <= 0.5 * (max(b, d) - min(a, c)) + 1e-9
        if row["score"] >= least and apart:
            kept.append(row)
    return kept


def cues(file) -> list[tuple[str, str]]:
    """(class, score) of every line of a file of subtitles."""
    return re.findall(r"^(.+) (\d\.\d\d)$", file.read_text(), flags=re.MULTILINE)


def test_tables_hold_what_was_found(localized):
    found, out = localized
    results = load_results(out / "segments.json")
    assert set(results.video) == {NAME}
    rows = [(*row["segment"], row["score"], row["class"]) for row in found.segments]
    columns = zip(*results.segments.T.tolist(), results.score.tolist(), results.label.tolist(), strict=True)
    assert [*columns] == rows and len(rows) > 20
    assert [(*row["segment"], row["score"], row["class"]) for row in read_csv(out / "segments.csv")[NAME]] == rows
    lines = list(csv.DictReader((out / "segments.csv").open()))
    assert list(lines[0]) == ["video", "start", "end", "class", "score"] and lines[0]["video"] == NAME


def test_subtitles_and_pictures_show_the_better_half(localized):
    found, out = localized
    rows = shown(found.segments, found.segments[0]["score"] / 2)
    assert 1 < len(rows) < len(found.segments)
    lines = cues(out / f"{NAME}.srt")
    assert lines and {*lines} <= {(row["class"], f"{row['score']:.2f}") for row in rows}
    pytest.importorskip("matplotlib", reason="the extra `plots`")
    assert (out / f"{NAME}.png").read_bytes().startswith(b"\x89PNG")


def test_a_score_from_which_on_segments_are_shown(detector, features, localized, tmp_path, monkeypatch):
    rows, drawn = localized[0].segments, []
    least = shown(rows, 0.0)[2]["score"]
    monkeypatch.setattr(localize_mode, "save_picture", lambda path, timeline, **_: drawn.append(timeline))
    tiny_runs.localize(detector, features=features, out=str(tmp_path), min_score=least)
    (timeline,) = drawn
    assert timeline.segments == shown(rows, least) and len(timeline.segments) == 3
    lines = cues(tmp_path / f"{NAME}.srt")
    assert lines and {*lines} <= {(row["class"], f"{row['score']:.2f}") for row in timeline.segments}
    assert (tmp_path / "segments.json").read_bytes() == (localized[1] / "segments.json").read_bytes()  # has all
    tiny_runs.localize(detector, features=features, out=str(tmp_path), min_score=2.0)
    assert cues(tmp_path / f"{NAME}.srt") == [] and drawn[1].segments == []


def test_without_matplotlib_there_are_no_pictures(detector, features, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    tiny_runs.localize(detector, features=features, out=str(tmp_path))
    said = capsys.readouterr().out
    assert "no pictures of timelines: plots need matplotlib" in said and "VIDEO.png" not in said
    assert not list(tmp_path.glob("*.png")) and (tmp_path / f"{NAME}.srt").exists()


def test_the_ground_truth_is_drawn_where_it_is_known(detector, features, truth, tmp_path, monkeypatch):
    known, drawn = json.loads(truth.read_text())["database"], []
    monkeypatch.setattr(localize_mode, "save_picture", lambda path, timeline, **_: drawn.append(timeline.truth))
    (tmp_path / "v.json").write_text(json.dumps({f"v_{NAME}": known[NAME]}))  # another name and form
    for file in (truth, tmp_path / "v.json"):
        tiny_runs.localize(detector, features=features, out=str(tmp_path / "out"), truth=str(file))
    assert drawn == [known[NAME]["annotations"]] * 2 and drawn[0]
    tiny_runs.localize(detector, features=features, out=str(tmp_path / "out"))
    assert drawn[2] is None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"other": {"annotations": []}}', f"--truth=.*truth.json: has none of the videos, such as '{NAME}'"),
        ("[]", "truth.json: is a list; expected"),
        ('{"database": {"a": 3}}', "truth.json: video 'a' is 3; expected {'annotations': "),
        ('{"a": {"annotations": [{"segment": [2, 1], "label": "x"}]}}', "truth.json: .*'a'"),
        (None, "--truth=.*truth.json does not exist"),
    ],
)
def test_ground_truth_that_is_none(detector, features, content, told, tmp_path):
    if content is not None:
        (tmp_path / "truth.json").write_text(content)
    with pytest.raises((ValueError, FileNotFoundError), match=told):
        tiny_runs.localize(detector, features=features, out=str(tmp_path / "out"), truth=str(tmp_path / "truth.json"))
    assert not (tmp_path / "out" / "segments.json").exists()


def test_ground_truth_of_other_videos_is_refused_before_any_work(detector, tmp_path):
    (tmp_path / "truth.json").write_text('{"other": {"annotations": []}}')
    video, out = tiny_runs.videos_of_the_sample_set() / f"{NAME}.mp4", tmp_path / "out"
    with pytest.raises(ValueError, match=f"truth.json: has none of the videos, such as '{NAME}'"):
        tiny_runs.localize(detector, video=str(video), out=str(out), truth=str(tmp_path / "truth.json"))
    assert not (out / "features").exists()


def test_labelled_videos_have_the_frames_of_the_source(detector, features, tmp_path):
    (found,) = tiny_runs.localize(detector, features=features, out=str(tmp_path), render=True)
    source, labelled = open_video(found.path), open_video(tmp_path / f"{NAME}.mp4")
    assert labelled.num_frames == source.num_frames and labelled.size[0] >= 360
    indices = np.arange(source.num_frames)
    np.testing.assert_allclose(labelled.times(indices), source.times(indices), atol=1e-3)


def test_another_call_with_the_same_out(detector, features, localized, tmp_path):
    """Repeated, the files are the same; those of other videos stay beside the new tables."""
    _, before = localized
    for _ in range(2):
        tiny_runs.localize(detector, features=features, out=str(tmp_path))
        for name in ("segments.json", "segments.csv", f"{NAME}.srt"):
            assert (tmp_path / name).read_bytes() == (before / name).read_bytes()
    tiny_runs.localize(detector, features=features.replace(NAME, "val_0000"), out=str(tmp_path))
    assert set(load_results(tmp_path / "segments.json").video) == {"val_0000"}
    assert {"val_0000.srt", f"{NAME}.srt"} <= {file.name for file in tmp_path.iterdir()}


def test_command_line(detector, features, truth, tmp_path, cache):
    flags = ("--mode=localize", f"--workdir={detector}", f"--features={features}", f"--truth={truth}")
    printed = run(*flags, "--render", "--min_score=0.001", f"--out={tmp_path / 'out'}", cache=cache)
    assert "VIDEO.srt, VIDEO.png, VIDEO.mp4" in printed and 1 <= printed.count(f"│ {NAME} │") <= 5
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert {"segments.csv", "segments.json", f"{NAME}.srt", f"{NAME}.mp4"} <= names


@pytest.mark.parametrize("where", ["a file", "nothing writes there"])
def test_a_place_that_cannot_be_written(detector, features, where, tmp_path, cache):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" if where == "a file" else "/proc/localized"
    flags = ("--mode=localize", f"--workdir={detector}", f"--features={features}", f"--out={out}")
    printed = run(*flags, cache=cache, status=1)
    assert "Traceback" not in printed and str(out) in printed
