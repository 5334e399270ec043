"""BMN and BSN on new videos: the numbers of extract and eval by hand, whatever is given, resumed, moved or broken."""

import csv
import json
import pathlib
import shutil

import jax
import numpy as np
import pytest
import tiny_runs
from cli import run
from numbered import write
from scipy.special import softmax

import actjax
from actjax.config.files import saved_config
from actjax.data.datasets.features import FeatureFiles, save_feature
from actjax.data.samples.shapes import write_video
from actjax.door import run_mode
from actjax.interop import export_checkpoint
from actjax.tasks.opening import open_config, open_workdir
from actjax.tasks.recognition import extracting
from actjax.timelines import read_results
from actjax.video.decoding import open_video

NAMES = ("train_0003", "val_0000", "val_0003")


@pytest.fixture(scope="module")
def videos(tmp_path_factory, localizer, cached) -> pathlib.Path:
    """Videos of the sample set that are no longer than the longest one of the training, in a folder of their own."""
    folder = tmp_path_factory.mktemp("videos")
    for name in NAMES:
        shutil.copy(tiny_runs.videos_of_the_sample_set() / f"{name}.mp4", folder)
    return folder


@pytest.fixture(scope="module")
def trained(localizer):
    return actjax.load(localizer)


@pytest.fixture(scope="module")
def localized(tmp_path_factory, localizer, videos) -> pathlib.Path:
    """`--out` of the three videos."""
    out = tmp_path_factory.mktemp("localized")
    tiny_runs.localize(localizer, video=str(videos), out=str(out))
    return out


@pytest.fixture(scope="module")
def rows(trained, videos) -> dict[str, list[dict]]:
    """The segments of the three videos, by name, from Python."""
    found = trained.localize(str(videos))
    assert all(set(row) == {"video", "segments"} for row in found)
    return {pathlib.Path(row["video"]).stem: row["segments"] for row in found}


@pytest.fixture(scope="module")
def detections(detector, videos) -> dict[str, list[dict]]:
    """The same of a run whose classes the recogniser knows."""
    return {pathlib.Path(row["video"]).stem: row["segments"] for row in actjax.load(detector).localize(str(videos))}


def plain(segments) -> list[tuple]:
    return [(*row["segment"], row["score"], row.get("class")) for row in segments]


def annotation_file(folder: pathlib.Path, file: pathlib.Path) -> pathlib.Path:
    """Written by hand from the table beside features."""
    entries = {}
    for row in csv.DictReader((folder / "video_info.csv").open()):
        lengths = {"duration_second": float(row["seconds"]), "duration_frame": int(row["numFrame"])}
        any_ = {"segment": [0.0, 9.0], "label": "any"}  # recall needs an instance
        entries[row["video"]] = lengths | {"feature_frame": int(row["featureFrame"]), "annotations": [any_]}
    file.write_text(json.dumps(entries))
    return file


def extract_options(localizer: pathlib.Path) -> dict:
    note = json.loads((localizer / "training_data.json").read_text())["extraction"]["extract"]
    return {f"extract.{name}": note[name] for name in ("interval", "what", "num_frames", "window")}


def test_segments_are_those_of_extract_and_eval_by_hand(
    localizer, recogniser, videos, localized, rows, trained, tmp_path
):
    """Bit for bit, from the mode and from Python."""
    run_mode(
        "extract",
        open_workdir(recogniser, extract_options(localizer)),
        recogniser,
        video=str(videos),
        out=str(tmp_path / "features"),
    )
    for file in (tmp_path / "features").glob("*_000?.csv"):
        assert file.read_bytes() == (localized / "features" / file.name).read_bytes()
    truth = annotation_file(tmp_path / "features", tmp_path / "truth.json")
    workdir, file = tmp_path / "run", str(tmp_path / "bmn.pth")
    changes = {f"data.{split}": str(truth) for split in ("train", "val")} | {
        "data.features": str(tmp_path / "features")
    }
    run_mode("export", open_workdir(localizer, {}), localizer, out=file, checkpoint="latest")
    run_mode("import", open_config(saved_config(localizer), changes), workdir, source=file)
    run_mode("eval", open_workdir(workdir, {}), workdir)
    expected = read_results(workdir / "results_eval_proposals.json")
    assert set(expected) == set(rows) == {*NAMES}
    found = read_results(localized / "segments.json")
    for name, segments in expected.items():
        assert len(segments) > 20 and plain(found[name]) == plain(segments) == plain(rows[name])
        assert plain(trained.localize(videos / f"{name}.mp4")) == plain(segments)
    proposed = trained.propose([str(videos / "val_0003.mp4")])
    assert proposed.keys() == {str(videos / "val_0003.mp4")}
    assert plain(proposed[str(videos / "val_0003.mp4")]) == plain(rows["val_0003"])


@pytest.mark.slow
def test_segments_are_those_of_the_three_commands(localizer, recogniser, videos, tmp_path, cache):
    out, features = tmp_path / "out", tmp_path / "features"
    run("--mode=localize", f"--workdir={localizer}", f"--video={videos}", f"--out={out}", cache=cache)
    options = [f"--config.{name}={value}" for name, value in extract_options(localizer).items()]
    run("--mode=extract", f"--workdir={recogniser}", f"--video={videos}", f"--out={features}", *options, cache=cache)
    truth = annotation_file(features, tmp_path / "truth.json")
    workdir, file, config = tmp_path / "run", tmp_path / "bmn.pth", tmp_path / "config.py"
    data = {"features": str(features), "train": str(truth), "val": str(truth)}
    content = saved_config(localizer).to_dict() | {"data": {"name": "activitynet", "rescale": "linear"} | data}
    config.write_text(
        f"import ml_collections\n\ndef get_config():\n    return ml_collections.ConfigDict({content!r})\n"
    )
    run("--mode=export", f"--workdir={localizer}", f"--out={file}", "--checkpoint=latest", cache=cache)
    run("--mode=import", f"--config={config}", f"--workdir={workdir}", f"--from={file}", cache=cache)
    run("--mode=eval", f"--workdir={workdir}", cache=cache)
    expected, found = read_results(workdir / "results_eval_proposals.json"), read_results(out / "segments.json")
    assert {name: plain(each) for name, each in found.items()} == {n: plain(each) for n, each in expected.items()}


def test_command_line(localizer, videos, rows, tmp_path, cache):
    """From another process, which has one device; into the workdir."""
    workdir = tiny_runs.copied(localizer, tmp_path / "run")
    printed = run("--mode=localize", f"--workdir={workdir}", f"--video={videos / '*_0003.mp4'}", cache=cache)
    assert "VIDEO.srt, VIDEO.png" in printed and "segments.csv" in printed and "train_0003" in printed
    found = read_results(workdir / "localized" / "segments.json")
    assert set(found) == {"val_0003", "train_0003"}
    for name, segments in found.items():
        scores = [[row["score"] for row in each] for each in (segments, rows[name])]
        np.testing.assert_allclose(*scores, rtol=1e-4)
    for flags, told in (
        ((), "--mode=localize needs --video=FILE, or a folder of files, or --features; one of the two"),
        ((f"--video={videos}", f"--features={videos}"), "one of the two"),
        ((f"--video={videos / 'none.mp4'}",), "none.mp4 does not exist"),
    ):
        printed = run("--mode=localize", f"--workdir={workdir}", *flags, cache=cache, status=1)
        assert told in printed and "Traceback" not in printed


def test_folders_patterns_and_lists(trained, videos, rows):
    one, other = str(videos / "train_0003.mp4"), str(videos / "val_0003.mp4")
    for given in ([one, other], str(videos / "*_0003.mp4")):
        found = trained.localize(given)
        assert [row["video"] for row in found] == [one, other]
        assert [plain(row["segments"]) for row in found] == [plain(rows["train_0003"]), plain(rows["val_0003"])]
    (single,) = trained.localize([one])
    assert plain(single["segments"]) == plain(rows["train_0003"])
    with pytest.raises(FileNotFoundError, match="nowhere.mp4"):
        trained.localize("nowhere.mp4")


def test_features_are_made_once(localizer, videos, localized, rows, tmp_path, monkeypatch):
    """By a call that repeats another one, and by one that follows a killed one."""
    out = tmp_path / "out"
    appended = []

    def killed(*arguments, **options):
        if len(appended) == 2:
            raise KeyboardInterrupt
        appended.append(arguments)
        return append_row(*arguments, **options)

    append_row = extracting.append_row
    with monkeypatch.context() as patch:
        patch.setattr(extracting, "append_row", killed)
        with pytest.raises(KeyboardInterrupt):
            tiny_runs.localize(localizer, video=str(videos), out=str(out))
    assert not (out / "segments.json").exists()
    made = {path: path.stat().st_mtime_ns for path in (out / "features").glob("*_000?.csv")}
    kept = {path: when for path, when in made.items() if path.stem in NAMES[:2]}
    assert len(kept) == 2
    for _ in range(2):
        tiny_runs.localize(localizer, video=str(videos), out=str(out))
        assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
        for file in ("segments.json", "segments.csv"):
            assert (out / file).read_bytes() == (localized / file).read_bytes()
        kept = {path: path.stat().st_mtime_ns for path in (out / "features").glob("*_000?.csv")}
    assert len(kept) == 3


def test_another_video_of_the_same_name_goes_elsewhere(localizer, videos, localized, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(localized, out)
    shutil.copy(videos / "val_0003.mp4", tmp_path / "val_0000.mp4")
    with pytest.raises(ValueError, match="named like those of .*val_0000.mp4'; give another --out"):
        tiny_runs.localize(localizer, video=str(tmp_path / "val_0000.mp4"), out=str(out))


def test_a_broken_video_is_a_row_among_good_ones(localizer, trained, videos, rows, tmp_path):
    folder = tmp_path / "videos"
    shutil.copytree(videos, folder)
    (folder / "a.mp4").write_text("no video")
    found = trained.localize(str(folder))
    assert {pathlib.Path(row["video"]).stem: plain(row["segments"]) for row in found[:3]} == {
        name: plain(segments) for name, segments in rows.items()
    }
    assert found[3]["video"] == str(folder / "a.mp4") and "not a video file" in found[3]["error"]
    assert trained.localize(folder / "a.mp4") == [found[3]]
    located = tiny_runs.localize(localizer, video=str(folder), out=str(tmp_path / "out"))
    assert [each.name for each in located] == sorted(rows)
    with pytest.raises(ValueError, match="none of the videos could be read; the first: .*a.mp4: not a video file"):
        tiny_runs.localize(localizer, video=str(folder / "a.mp4"), out=str(tmp_path / "out2"))
    assert [json.loads(line)["path"] for file in (tmp_path / "out2").rglob("quarantine.jsonl") for line in file.open()]


def test_a_network_that_has_moved(localizer, recogniser, videos, rows, tmp_path):
    workdir = tiny_runs.copied(localizer, tmp_path / "run")
    note = tiny_runs.facts(workdir)["extraction"]
    tiny_runs.facts(workdir, extraction=note | {"source": note["source"] | {"workdir": str(tmp_path / "gone")}})
    trained = actjax.load(workdir)
    video = videos / "val_0003.mp4"
    with pytest.raises(FileNotFoundError, match="gone, the run that made the features .*give its new place, --network"):
        trained.localize(video)
    with pytest.raises(FileNotFoundError, match="gone too, the run that made the features of the training, is no fold"):
        trained.localize(video, network=str(tmp_path / "gone too"))
    assert plain(trained.localize(video, network=str(recogniser))) == plain(rows["val_0003"])
    with pytest.raises(ValueError, match="is a run of bmn; features come from a run of TSN or TSM"):
        trained.localize(video, network=str(localizer))
    tiny_runs.facts(workdir, extraction=note | {"source": note["source"] | {"step": 987}})
    with pytest.raises(
        FileNotFoundError, match="no checkpoint '987' in .*. Step 987 made the features of the training"
    ):
        actjax.load(workdir).localize(video)


def test_another_network_is_refused(localizer, recogniser, videos, rows, tmp_path):
    """A copy that came by way of a file is the same network; one whose weights differ a little is not."""
    run_of, workdir = open_workdir(recogniser, {}).run, tiny_runs.copied(localizer, tmp_path / "run")
    variables, _ = run_of.network.restore(recogniser, "best")
    for name, factor in (("same", 1.0), ("other", 1.001)):
        export_checkpoint(
            jax.tree.map(lambda x, by=factor: x * by, variables), run_of.network.model, f"{tmp_path}/n.pth"
        )
        opened = open_config(saved_config(recogniser), {})
        run_mode("import", opened, tmp_path / name, source=str(tmp_path / "n.pth"))
    note = tiny_runs.facts(workdir)["extraction"]
    tiny_runs.facts(
        workdir, extraction=note | {"source": note["source"] | {"step": 0}}
    )  # imported weights are of step 0
    trained, video = actjax.load(workdir), videos / "val_0003.mp4"
    assert plain(trained.localize(video, network=str(tmp_path / "same"))) == plain(rows["val_0003"])
    with pytest.raises(ValueError, match="features by .*other are not of the kind .* trained on: network was '.*', is"):
        trained.localize(video, network=str(tmp_path / "other"))


def test_features_in_place_of_videos(localizer, trained, localized, rows, tmp_path):
    folder = localized / "features"
    assert plain(trained.localize(features=folder / "train_0003.csv")) == plain(rows["train_0003"])
    found = trained.localize(features=str(folder))
    assert {row["video"]: plain(row["segments"]) for row in found} == {
        str(path): plain(rows[path.stem]) for path in map(pathlib.Path, (row["video"] for row in found))
    }
    assert len(found) == 3
    tiny_runs.localize(localizer, features=str(folder), out=str(tmp_path / "out"))
    assert (tmp_path / "out" / "segments.json").read_bytes() == (localized / "segments.json").read_bytes()


def test_features_that_do_not_fit(trained, localized, tmp_path):
    with pytest.raises(FileNotFoundError, match="--features=.*gone.csv does not exist"):
        trained.localize(features=str(tmp_path / "gone.csv"))
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(localized / "features" / "val_0000.csv", alone)
    for given in (alone, alone / "val_0000.csv"):
        with pytest.raises(ValueError, match="length in seconds is not known; .*video_info.csv has no such video. Add"):
            trained.localize(features=given)
    features = shutil.copytree(localized / "features", tmp_path / "features")
    whole = FeatureFiles(str(features)).read("val_0000").T
    for fewer in (whole[:, :-1], np.concatenate([whole, whole], axis=1)):
        with (features / "val_0000.csv").open("wb") as file:
            save_feature(file, fewer)
        told = f"val_0000.*features of {fewer.shape[1]} channels; the network takes {whole.shape[1]}"
        with pytest.raises(ValueError, match=told):
            trained.localize(features=features / "val_0000.csv")
    shutil.copy(localized / "features" / "val_0000.csv", features)
    table = features / "video_info.csv"
    content = table.read_text()
    seconds = next(row["seconds"] for row in csv.DictReader(content.splitlines()) if row["video"] == "val_0000")
    table.write_text(content.replace(seconds, ""))
    with pytest.raises(ValueError, match="video .*val_0000.* has no positive number in seconds, numFrame or feature"):
        trained.localize(features=features / "val_0000.csv")
    table.write_text(content)
    (features / "val_0003.csv").unlink()
    with pytest.raises(FileNotFoundError, match="val_0003"):
        trained.localize(features=str(features))


def test_features_of_another_kind_are_refused(trained, localized, tmp_path):
    features = shutil.copytree(localized / "features", tmp_path / "features")
    note = json.loads((features / "extraction.json").read_text())
    (features / "extraction.json").write_text(json.dumps(note | {"extract": note["extract"] | {"interval": 3}}))
    told = "the features in .*features are not of the kind that this run was trained on: extract.interval was 16, is 3"
    with pytest.raises(ValueError, match=told):
        trained.localize(features=str(features))
    (features / "extraction.json").unlink()  # made elsewhere
    assert len(trained.localize(features=str(features))) == 3


def test_training_features_that_nothing_describes(localizer, videos, localized, rows, tmp_path):
    workdir = tiny_runs.copied(localizer, tmp_path / "run")
    tiny_runs.facts(workdir, extraction=None)
    trained = actjax.load(workdir)
    told = "nothing tells which network made the features of the training; extract them with --mode=extract and train"
    with pytest.raises(ValueError, match=told):
        trained.localize(videos / "val_0003.mp4")
    assert plain(trained.localize(features=localized / "features" / "val_0003.csv")) == plain(rows["val_0003"])


def test_runs_of_older_versions(detector, videos, detections, tmp_path):
    """They have no training_data.json; the data tells, as long as it is there."""
    workdir = tiny_runs.copied(detector, tmp_path / "run")
    (workdir / "training_data.json").unlink()
    assert plain(actjax.load(workdir).localize(videos / "val_0003.mp4")) == plain(detections["val_0003"])
    trained = actjax.load(workdir, data=dict(features=str(tmp_path / "gone")))
    told = (
        "no training_data.json: it was imported, or trained by an older version, and its data cannot be opened .*gone"
    )
    with pytest.raises(ValueError, match=told):
        trained.localize(videos / "val_0003.mp4")
    (workdir / "training_data.json").write_text("[]")
    with pytest.raises(ValueError, match="training_data.json is damaged; repeat the training command"):
        actjax.load(workdir).localize(videos / "val_0003.mp4")


def test_detections_are_proposals_with_the_classes_of_their_time(detector, detections):
    """Score times mean probability of a class, with NumPy by hand."""
    proposals = read_results(detector / "results_proposals.json")
    features = FeatureFiles(str(detector / "features"))
    facts = json.loads((detector / "training_data.json").read_text())
    names, interval = facts["extraction"]["class_names"], facts["extraction"]["extract"]["interval"]
    assert len(names) == 8 and set(facts["classes"]) <= set(names)
    for name in ("val_0000", "val_0003"):
        segments, scores = proposals[name], softmax(features.read(name).T.astype(np.float64), axis=1)
        middles = (np.arange(len(scores)) + 0.5) * interval / 12
        expected = []
        for row in segments:
            inside = (middles >= row["segment"][0] - 1e-9) & (middles < row["segment"][1] - 1e-9)
            if not inside.any():  # shorter than a step
                inside = [int(sum(row["segment"]) / 2 * 12 / interval)]
            mean = scores[inside].mean(axis=0)
            expected.append((*row["segment"], row["score"] * mean.max(), names[int(mean.argmax())]))
        expected.sort(key=lambda row: -row[2])
        assert [row["class"] for row in detections[name]] == [row[3] for row in expected]
        numbers = [[(*row["segment"], row["score"]) for row in detections[name]], [row[:3] for row in expected]]
        np.testing.assert_allclose(*numbers, rtol=1e-6, atol=1e-9)


def test_more_classes_of_each_proposal(detector, videos, detections):
    one = detections["val_0003"]
    two = actjax.load(detector, detect=dict(top_classes=2)).localize(videos / "val_0003.mp4")
    assert len(two) == 2 * len(one) and {tuple(row) for row in plain(one)} < {tuple(row) for row in plain(two)}
    proposals = actjax.load(detector).propose([str(videos / "val_0003.mp4")])
    assert len(proposals[str(videos / "val_0003.mp4")]) == len(one)


def test_without_classes_there_are_the_proposals_of_the_evaluation(detector, rows):
    expected = read_results(detector / "results_proposals.json")
    for name in ("val_0000", "val_0003"):
        assert plain(rows[name]) == plain(expected[name])


def test_a_long_video_is_cut_into_windows(trained, localizer, videos, tmp_path):
    """Into half-overlapping ones as long as the longest training video; each as if it were a video of its own."""
    frames = [open_video(file) for file in sorted(videos.glob("*.mp4"))]
    frames = np.concatenate([video.frames(np.arange(video.num_frames)) for video in frames] * 2)
    write_video(tmp_path / "long.mp4", frames, fps=12)
    longest = tiny_runs.facts(localizer)["longest_second"]
    assert len(frames) / 12 > 2 * longest
    tiny_runs.localize(localizer, video=str(tmp_path / "long.mp4"), out=str(tmp_path / "out"))
    found = read_results(tmp_path / "out" / "segments.json")["long"]
    ends = np.array([row["segment"] for row in found])
    assert ends.min() >= 0 and ends.max() <= len(frames) / 12 + 1e-6 and (ends[:, 0] > 1.5 * longest).any()
    assert (ends[:, 1] - ends[:, 0]).max() <= longest + 1

    whole = FeatureFiles(str(tmp_path / "out" / "features")).read("long").T
    step = extract_options(localizer)["extract.interval"] / 12  # seconds of a row
    length = round(longest / step)
    starts = [*range(0, len(whole) - length, -(-length // 2)), len(whole) - length]
    lines = ["video,numFrame,seconds,fps,rfps,subset,featureFrame"]
    (tmp_path / "parts").mkdir()
    for first in starts:
        with (tmp_path / "parts" / f"part_{first:05d}.csv").open("wb") as file:
            save_feature(file, whole[first : first + length])
        lines.append(f"part_{first:05d},{12 * step * length:.0f},{step * length},12,12,,{12 * step * length:.0f}")
    (tmp_path / "parts" / "video_info.csv").write_text("\n".join([*lines, ""]))
    parts = trained.localize(features=str(tmp_path / "parts"))
    middles, expected = (np.array(starts) + length / 2) * step, []
    for k, (first, part) in enumerate(zip(starts, parts, strict=True)):
        for row in part["segments"]:
            segment = [end + first * step for end in row["segment"]]
            if np.argmin(np.abs(middles - sum(segment) / 2 + 1e-6)) == k:
                expected.append((*segment, row["score"]))
    expected.sort(key=lambda row: -row[2])
    np.testing.assert_allclose([(*row["segment"], row["score"]) for row in found], expected, rtol=1e-5, atol=1e-6)


def test_borders_follow_the_clock_of_the_video(trained, videos, tmp_path):
    """The same frames at a constant and at a variable rate."""
    video = open_video(videos / "val_0003.mp4")
    frames = video.frames(np.arange(video.num_frames))
    times = np.cumsum(np.random.default_rng(0).integers(20, 250, len(frames)))
    height, width = video.size
    for name, given in (("even.mkv", 100 * np.arange(len(frames))), ("uneven.mkv", times)):
        options = dict(num=len(frames), times=given, size=(width, height), draw=lambda k, *size: frames[k])
        write(tmp_path / name, "ffv1", pix_fmt="bgr0", **options)
    even, uneven = (trained.localize(tmp_path / name) for name in ("even.mkv", "uneven.mkv"))
    assert [row["score"] for row in even] == [row["score"] for row in uneven]
    begins = np.append(times, times[-1] + np.median(np.diff(times))) / 1000 - times[0] / 1000
    places = np.array([row["segment"] for row in even]) * 10
    expected = np.interp(places, np.arange(len(begins)), begins)
    np.testing.assert_allclose([row["segment"] for row in uneven], expected, atol=2e-3)
