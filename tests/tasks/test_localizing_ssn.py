"""SSN on new videos: proposals of other runs and files, and the detections of its own evaluation."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import tiny_runs
from drawn import drawn
from numbered import write

import actjax
from actjax.door import run_mode
from actjax.interop import export_checkpoint
from actjax.localization import load_localize_proposal_file
from actjax.tasks.opening import open_config, open_workdir
from actjax.timelines import Timeline, read_results, write_results
from actjax.video.decoding import open_video

NAMES = ("val_0000", "val_0003")


@pytest.fixture(scope="module")
def ssn(tmp_path_factory, cached) -> pathlib.Path:
    """A run of SSN with drawn weights, and the results of its evaluation."""
    workdir = tmp_path_factory.mktemp("runs") / "ssn"
    changes = {"data.num_train": 8, "data.num_val": 4, "model.width": 8, "sample.test_interval": 6}
    opened = open_config("ssn_sample", changes)
    file = tmp_path_factory.mktemp("file") / "ssn.pth"
    export_checkpoint(drawn(opened.run.network.task.init), opened.run.network.model, file)
    run_mode("import", opened, workdir, source=str(file))
    run_mode("eval", open_workdir(workdir, {}), workdir)
    return workdir


@pytest.fixture(scope="module")
def videos(tmp_path_factory, cached) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("videos")
    for name in NAMES:
        shutil.copy(tiny_runs.videos_of_the_sample_set() / f"{name}.mp4", folder)
    return folder


@pytest.fixture(scope="module")
def proposals(tmp_path_factory, cached) -> pathlib.Path:
    """The proposals of the sample set as a result file, in seconds."""
    listed = load_localize_proposal_file(tiny_runs.videos_of_the_sample_set().parent / "val_proposals.txt")
    timelines = []
    for video, num_frames, _, rows in listed:
        segments = [
            {"segment": [int(row[3]) / 12, int(row[4]) / 12], "score": 1 / (k + 1)} for k, row in enumerate(rows)
        ]
        timelines.append(Timeline(video, num_frames / 12, segments))
    file = tmp_path_factory.mktemp("proposals") / "results.json"
    write_results(file, timelines)
    return file


def ordered(segments) -> list[tuple]:
    return sorted((row["class"], *np.round(row["segment"], 6), row["score"]) for row in segments)


def same(found, expected) -> None:
    found, expected = ordered(found), ordered(expected)
    assert [row[0] for row in found] == [row[0] for row in expected] and found
    np.testing.assert_allclose([row[1:] for row in found], [row[1:] for row in expected], rtol=1e-4, atol=1e-5)


def by_name(rows) -> dict[str, list[dict]]:
    return {pathlib.Path(row["video"]).stem: row["segments"] for row in rows}


def test_detections_are_those_of_its_evaluation(ssn, videos, proposals, tmp_path):
    expected = read_results(ssn / "results_eval_detections.json")
    found = tiny_runs.localize(ssn, video=str(videos), proposals=str(proposals), out=str(tmp_path))
    assert [each.name for each in found] == list(NAMES)
    written = read_results(tmp_path / "segments.json")
    for each in found:
        assert len(each.segments) > 20
        same(each.segments, expected[each.name])
        same(each.segments, written[each.name])
        scores = [row["score"] for row in each.segments]
        assert scores == sorted(scores, reverse=True)
        spans = np.array([row["segment"] for row in each.segments])
        assert spans.min() >= 0 and (spans[:, 0] < spans[:, 1]).all() and spans.max() <= each.seconds + 1e-6
    kept = {file: file.stat().st_mtime_ns for file in (tmp_path / "scores").glob("*.npz")}
    tiny_runs.localize(ssn, video=str(videos), proposals=str(proposals), out=str(tmp_path))
    assert len(kept) == 2 and all(file.stat().st_mtime_ns == when for file, when in kept.items())
    (one,) = actjax.load(ssn).localize([str(videos / "val_0003.mp4")], proposals=str(proposals))
    same(one["segments"], expected["val_0003"])


@pytest.mark.parametrize("by", ["recogniser", pytest.param("detector", marks=pytest.mark.slow)])
def test_proposals_of_another_run(ssn, videos, by, request, tmp_path):
    """Are those that this run gives when it is asked."""
    workdir = request.getfixturevalue(by)
    changes = {"localize": dict(window=2.0, stride=0.5, threshold=0.2)} if by == "recogniser" else {}
    other = actjax.load(workdir, **changes)
    if by == "recogniser":  # without its videos of validation
        workdir = tiny_runs.copied(workdir, tmp_path / "run")
        config = json.loads((workdir / "config.json").read_text())
        (workdir / "config.json").write_text(json.dumps(config | changes))
    paths = [str(videos / f"{name}.mp4") for name in NAMES]
    given = other.propose(paths)
    write_results(tmp_path / "given.json", [Timeline(pathlib.Path(p).stem, 99.0, rows) for p, rows in given.items()])
    trained = actjax.load(ssn)
    found = by_name(trained.localize(str(videos), proposals=str(workdir)))
    expected = by_name(trained.localize(str(videos), proposals=str(tmp_path / "given.json")))
    assert set(found) == set(NAMES)
    for name in NAMES:
        same(found[name], expected[name])
        seconds = open_video(videos / f"{name}.mp4").num_frames / 12
        spans = np.array([row["segment"] for row in found[name]])
        assert spans.min() >= 0 and spans.max() <= seconds + 1e-6
        assert {row["class"] for row in found[name]} <= set(trained.class_names)


def test_borders_follow_the_clock_of_the_video(ssn, videos, tmp_path):
    """The same frames and proposals at a constant and at a variable rate."""
    frames = open_video(videos / "val_0003.mp4").frames(np.arange(120))
    times = np.cumsum(np.random.default_rng(0).integers(20, 250, len(frames)))
    begins = np.append(times, times[-1] + np.median(np.diff(times))) / 1000 - times[0] / 1000
    places = np.array([[0, 40], [10, 90], [60, 120]])
    timelines = []
    for name, given, seconds in (
        ("even", 100 * np.arange(len(frames)), places / 10),
        ("uneven", times, begins[places]),
    ):
        options = dict(num=len(frames), times=given, size=(64, 48), draw=lambda k, *size: frames[k])
        write(tmp_path / f"{name}.mkv", "ffv1", pix_fmt="bgr0", **options)
        timelines.append(Timeline(name, 99.0, [{"segment": row, "score": 0.5} for row in seconds.tolist()]))
    write_results(tmp_path / "given.json", timelines)
    found = by_name(actjax.load(ssn).localize(str(tmp_path / "*.mkv"), proposals=str(tmp_path / "given.json")))
    moved = np.interp([np.multiply(row["segment"], 10) for row in found["even"]], np.arange(len(begins)), begins)
    expected = [row | {"segment": span} for row, span in zip(found["even"], moved.tolist(), strict=True)]
    assert [row["class"] for row in found["uneven"]] == [row["class"] for row in expected]
    np.testing.assert_allclose([row["segment"] for row in found["uneven"]], moved, atol=2e-3)


def test_what_is_refused(ssn, videos, proposals, tmp_path, capsys):
    trained, video = actjax.load(ssn), str(videos / "val_0003.mp4")
    told = "SSN scores proposals of others: --proposals=RUN, of BSN, BMN, TSN or TSM, or a result file"
    with pytest.raises(ValueError, match=told):
        trained.localize(video)
    with pytest.raises(FileNotFoundError, match="proposals: .*gone.json does not exist$"):
        trained.localize(video, proposals=str(tmp_path / "gone.json"))
    for flag in ("features", "network"):
        with pytest.raises(ValueError, match=f"--{flag}: SSN takes videos and proposals"):
            trained.localize(video, proposals=str(proposals), **{flag: "x"})
    shutil.copy(video, tmp_path / "other.mp4")
    with pytest.raises(ValueError, match="--proposals=.*results.json: has none of the videos, such as .*other"):
        trained.localize(tmp_path / "other.mp4", proposals=str(proposals))
    content = read_results(proposals)
    write_results(tmp_path / "one.json", [Timeline("val_0003", 99.0, content["val_0003"])])
    capsys.readouterr()
    (row,) = trained.localize(str(videos), proposals=str(tmp_path / "one.json"))
    printed = capsys.readouterr().out
    assert row["video"] == video and "no proposals of" in printed and "val_0000.mp4'; it is left out" in printed


def test_a_run_that_knows_who_made_its_proposals(ssn, proposals, videos, tmp_path):
    folder = tiny_runs.videos_of_the_sample_set()
    data = dict(
        name="proposals", data_prefix=str(folder), class_names=str(folder.parent / "classes.txt"), suffix=".mp4"
    )
    data |= {split: str(folder.parent / f"{split}_proposals.txt") for split in ("train", "val")}
    video = str(videos / "val_0003.mp4")
    expected = actjax.load(ssn).localize(video, proposals=str(proposals))
    assert actjax.load(ssn, data=data | dict(proposed_by=str(proposals))).localize(video) == expected
    gone = actjax.load(ssn, data=data | dict(proposed_by=str(tmp_path / "gone")))
    with pytest.raises(
        FileNotFoundError, match="gone does not exist, which data.proposed_by names; if it has moved, giv"
    ):
        gone.localize(video)
    assert gone.localize(video, proposals=str(proposals)) == expected


@pytest.mark.parametrize("by", ["file", pytest.param("detector", marks=pytest.mark.slow)])
def test_a_broken_video_is_a_row_among_good_ones(ssn, videos, proposals, by, request, tmp_path):
    shutil.copy(videos / "val_0003.mp4", tmp_path)
    (tmp_path / "val_0001.mp4").write_text("no video")
    trained, given = actjax.load(ssn), str(proposals if by == "file" else request.getfixturevalue(by))
    good, bad = trained.localize(str(tmp_path), proposals=given)
    assert good["video"].endswith("val_0003.mp4") and good["segments"]
    assert bad["video"].endswith("val_0001.mp4") and "not a video file" in bad["error"]
    assert trained.localize(tmp_path / "val_0001.mp4", proposals=given) == [bad]
