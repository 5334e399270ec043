"""SSN from untrimmed video files to mAP, as a user runs it."""

import csv
import json
import pathlib
import runpy
import shutil

import jax
import ml_collections
import numpy as np
import pytest
from cli import ROOT, run
from drawn import drawn_variables

from actjax.data.datasets.records import VideoRecord
from actjax.data.datasets.ssn import Proposed
from actjax.data.datasets.ssn_lists import Instances, SSNRecord, load_ssn
from actjax.data.loading.quarantine import Quarantine
from actjax.data.samples.untrimmed_shapes import make_untrimmed
from actjax.localization import (
    eval_ap,
    ground_truth_by_class,
    load_localize_proposal_file,
    perform_regression,
    results_to_detections,
    temporal_nms,
)
from actjax.localization.ssn import RESULT_KEYS
from actjax.metrics import load_results as load_result_file
from actjax.models import proposal_scores, tick_features, tick_scores
from actjax.tasks import build
from actjax.tasks.ssn.report import report
from actjax.tasks.ssn.scoring import Scorer, load_results, score_videos


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_untrimmed(tmp_path_factory.mktemp("data") / "untrimmed", num_train=8, num_val=4, processes=2)


def tiny(folder):
    return (
        "--config=ssn_sample",
        f"--config.data.folder={folder}",
        "--config.data.num_train=8",
        "--config.data.num_val=4",
        "--config.model.width=8",
        "--config.run.batch_size=2",
        "--config.run.epochs=2.0",
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory, cache, folder):
    workdir = tmp_path_factory.mktemp("runs") / "ssn"
    return workdir, run(*tiny(folder), f"--workdir={workdir}", cache=cache)


def numbers(path) -> dict:
    content = json.loads(path.read_text())
    content.pop("seconds")
    return content


def test_one_command_ends_with_mean_average_precision(trained, folder):
    workdir, printed = trained
    for words in ("thumos14, 8 classes", "SSN", "proposals alone", "perfect scores", "moving right", "results.json"):
        assert words in printed
    found = numbers(workdir / "results.json")
    assert {f"mAP@0.{k}0" for k in range(1, 10)} < set(found) and found["num_videos"] == 4 and not found["num_empty"]
    assert found["perfect_mAP@0.50"] > 0.8 > found["proposals_mAP@0.50"]
    rows = list(csv.DictReader((workdir / "results_classes.csv").open()))
    videos = load_localize_proposal_file(folder / "val_proposals.txt")
    assert sum(int(row["num_instances"]) for row in rows) == sum(len(truths) for _, _, truths, _ in videos)
    detections = load_result_file(workdir / "results_detections.json")
    assert set(detections.label) <= {row["class"] for row in rows}
    seconds = {video: num_frames / 12 for video, num_frames, _, _ in videos}
    assert all(end <= seconds[v] + 1e-6 for v, (_, end) in zip(detections.video, detections.segments, strict=True))
    assert detections.segments.max() > 5
    (scores,) = (workdir / "scores").iterdir()
    assert sorted(file.stem for file in scores.glob("*.npz")) == [f"val_{k:04d}" for k in range(4)]


def test_reported_scores_are_those_of_the_reference(trained, folder):
    """Its chain of functions, step by step, class by class."""
    workdir, _ = trained
    (scores,) = (workdir / "scores").iterdir()
    videos = load_localize_proposal_file(folder / "val_proposals.txt")
    names, truth = ground_truth_by_class(videos)
    results = [dict(np.load(scores / f"{name}.npz")) for name in names]
    found = results_to_detections(results, names, top_k=400)
    moved = [{v: temporal_nms(perform_regression(rows), 0.2) for v, rows in of.items()} for of in found]
    plain = {k: [[v, k, *row[:3]] for v, rows in of.items() for row in rows.tolist()] for k, of in enumerate(moved)}
    expected = eval_ap(plain, {k: truth.get(k, {}) for k in range(8)}, np.arange(1, 10) / 10)
    rows = list(csv.DictReader((workdir / "results_classes.csv").open()))
    for k, row in enumerate(rows):
        cells = [row[f"AP@0.{t}0"] for t in range(1, 10)]
        if k in truth:
            np.testing.assert_allclose([float(x) for x in cells], expected[k], atol=1e-6)
        else:
            assert cells == [""] * 9
    means = expected[sorted(truth)].mean(axis=0)
    reported = numbers(workdir / "results.json")
    np.testing.assert_allclose([reported[f"mAP@0.{t}0"] for t in range(1, 10)], means, rtol=1e-6)


def test_evaluation_goes_on_where_it_stopped(trained, cache):
    workdir, _ = trained
    (scores,) = (workdir / "scores").iterdir()
    kept = scores / "val_0000.npz"
    before = kept.stat().st_mtime_ns
    (scores / "val_0002.npz").unlink()
    printed = run("--mode=eval", f"--workdir={workdir}", cache=cache)
    assert "Summary(done=1, before=3, broken=0)" in printed and kept.stat().st_mtime_ns == before
    assert numbers(workdir / "results_eval.json") == numbers(workdir / "results.json")


@pytest.mark.slow
def test_scores_are_those_of_their_network_and_config(trained, cache, folder, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(trained[0], workdir)
    (scores,) = (workdir / "scores").iterdir()
    (scores / "val_0001.npz").write_bytes(b"")
    cut = scores / "val_0002.npz"
    cut.write_bytes(cut.read_bytes()[:-100])
    printed = run("--mode=eval", f"--workdir={workdir}", cache=cache)
    assert "Summary(done=2, before=2, broken=0)" in printed and f"{cut} is damaged" in printed
    assert numbers(workdir / "results_eval.json") == numbers(workdir / "results.json")
    command = (*tiny(folder), f"--workdir={workdir}")
    before = {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file() and path.name != "train.log"}
    printed = run(*command, "--config.train.video_centric=False", cache=cache, status=1)
    assert "is complete, and was trained with another config: train.video_centric was" in printed
    before.pop(workdir / ".lock")
    assert {path: path.read_bytes() for path in before} == before
    printed = run(*command, "--config.detect.nms=0.9", "--config.optim.lr=0.5", cache=cache)
    assert "ignored changes: optim.lr was" in printed and "detect.nms was 0.2, is 0.9" in printed
    changed = numbers(workdir / "results.json")
    assert changed != numbers(trained[0] / "results.json")
    config = json.loads((workdir / "config.json").read_text())
    assert config["detect"]["nms"] == 0.9 and config["optim"] == json.loads(before[workdir / "config.json"])["optim"]
    run("--mode=eval", f"--workdir={workdir}", cache=cache)
    assert numbers(workdir / "results_eval.json") == changed
    written_out = ("--config.sample.modality=RGB", "--config.loader.max_broken=0.5", "--config.detect.nms=0.9")
    printed = run(*command, *written_out, cache=cache)
    assert "ignored changes: sample.modality was not set" in printed and "loader.max_broken was" in printed
    assert json.loads((workdir / "config.json").read_text())["loader"]["max_broken"] == 0.5
    (scores,) = (workdir / "scores").glob("step_?")
    odd = scores / "val_0001.npz"
    np.savez(odd, nothing=np.zeros(1))
    assert f"{odd} is damaged (it lacks ['activity_scores'" in run("--mode=eval", f"--workdir={workdir}", cache=cache)
    shutil.rmtree(workdir / "checkpoints")
    printed = run(*command, "--config.run.seed=7", cache=cache)
    assert "was made with another checkpoint; running the stage again" in printed and "done=4, before=0" in printed


def test_checkpoint_of_others_and_a_broken_video(trained, cache, folder, tmp_path):
    """Exported and imported again, a run detects the same; a video that cannot be read has no detections."""
    workdir, _ = trained
    run("--mode=export", f"--workdir={workdir}", "--checkpoint=latest", f"--out={tmp_path / 'ssn.pth'}", cache=cache)
    videos = tmp_path / "set" / "videos"
    videos.mkdir(parents=True)
    for file in folder.rglob("*"):
        if file.is_file():
            (tmp_path / "set" / file.relative_to(folder)).write_bytes(file.read_bytes())
    (videos / "val_0001.mp4").write_bytes(b"no video")
    arguments = (*tiny(tmp_path / "set"), f"--workdir={tmp_path / 'run'}")
    printed = run(*arguments, "--mode=import", f"--from={tmp_path / 'ssn.pth'}", cache=cache)
    assert "in the layout of MMAction2" in printed and "initialised" not in printed
    printed = run(*arguments, "--mode=eval", "--config.loader.max_broken=0.2", cache=cache)
    assert "Summary(done=3, before=0, broken=1)" in printed
    assert numbers(tmp_path / "run" / "results_eval.json")["num_empty"] == 1
    (ours,), (theirs,) = ((path / "scores").iterdir() for path in (workdir, tmp_path / "run"))
    ours, theirs = (dict(np.load(path / "val_0003.npz")) for path in (ours, theirs))
    assert ours.pop("made_by") != theirs.pop("made_by")  # the regression is normalized over another set
    for name, values in ours.items():
        np.testing.assert_allclose(values, theirs[name], rtol=1e-5, atol=1e-6)
    assert "val_0001.mp4" in (tmp_path / "run" / "quarantine.jsonl").read_text()


@pytest.mark.slow
def test_sample_config_is_far_above_its_proposals(tmp_path, cache):
    """A tenth of its training, of a smaller network; README has the whole."""
    videos = ("--config.data.num_train=100", "--config.data.num_val=20")
    options = ("--config.run.epochs=2.0", "--config.model.width=12")
    run("--config=ssn_sample", *videos, *options, f"--workdir={tmp_path}", cache=cache, timeout=400, level=3)
    found = numbers(tmp_path / "results.json")
    assert 3 * found["proposals_mAP@0.50"] < found["mAP@0.50"] < found["perfect_mAP@0.50"]


def config(folder="", **changes):
    made = runpy.run_path(str(ROOT / "configs" / "ssn_sample.py"))["get_config"]()
    made.update_from_flattened_dict({"data.folder": str(folder), "data.num_train": 8, "data.num_val": 4} | changes)
    return made


def test_scores_do_not_depend_on_chunks_and_devices(folder, tmp_path):
    """Eight devices, chunks of five and padding give what the whole video at once gives."""
    assert jax.local_device_count() == 8
    detector = build(config(folder, **{"model.width": 8, "test.chunk": 5, "sample.test_interval": 9}))
    model = detector.network.model
    data, variables = detector.open_dataset(), drawn_variables(model)
    constants = detector.targets(data).reg_norm_consts
    quarantine = Quarantine(tmp_path / "quarantine.jsonl", num_records=4)
    records = data.val[:2]
    scorer = Scorer(model, variables, detector.ticks, constants)
    summary = score_videos(records, tmp_path, scorer, quarantine=quarantine)
    assert summary == (2, 0, 0)
    for record, result in zip(records, load_results(records, tmp_path, 8), strict=True):
        length, *parts = detector.ticks.read(record)
        clips, item = np.concatenate(parts), detector.ticks.item(record)
        features = jax.jit(lambda v, x: tick_features(model, v, x))(variables, clips)
        scores = tick_scores(model, variables, features)
        places = item.proposal_tick_list, item.scale_factor_list
        expected = proposal_scores(model, scores, *places, constants, len(clips))
        assert length.num_snippets == len(clips) and result["fps"] == pytest.approx(12)
        np.testing.assert_array_equal(result[RESULT_KEYS[0]], item.relative_proposal_list)
        for key, values in zip(RESULT_KEYS[1:], expected, strict=True):
            np.testing.assert_allclose(result[key], values, rtol=1e-4, atol=1e-4)


def test_scores_of_ids_that_are_paths_stay_in_their_folder(folder, tmp_path):
    """Also where other networks left theirs: beside the videos, in the folder, and under another video's name."""
    proposals = tmp_path / "proposals.txt"
    text = (folder / "val_proposals.txt").read_text()
    names = f"{folder}/videos/val_0000", "../videos/val_0001", "val_0002"
    ids = {f"val_{k:04d}": name for k, name in enumerate(names)}
    for plain, name in ids.items():
        text = text.replace(plain, name)
    proposals.write_text(text)
    records = load_ssn(proposals, data_prefix=f"{folder}/videos", suffix=".mp4")[:3]
    assert [record.video for record in records] == list(ids.values())
    detector = build(config(folder, **{"model.width": 8}))
    constants = detector.targets(detector.open_dataset()).reg_norm_consts
    quarantine = Quarantine(tmp_path / "quarantine.jsonl", num_records=4)
    before, found = {path for path in folder.rglob("*")}, {}
    variables = drawn_variables(detector.network.model)
    for seed in (0, 1):
        own = jax.tree.map(lambda leaf, seed=seed: leaf * (1 + seed / 2), variables)
        scores, scorer = tmp_path / str(seed) / "scores", Scorer(detector.network.model, own, detector.ticks, constants)
        options = dict(quarantine=quarantine, made_by=f"network {seed}")
        assert score_videos(records, scores, scorer, **options) == (3, 0, 0)
        assert score_videos(records, scores, scorer, **options) == (0, 3, 0)
        found[seed] = [row["activity_scores"] for row in load_results(records, scores, 8, made_by=f"network {seed}")]
        assert len(list(scores.glob("*.npz"))) == 3 == len(list((tmp_path / str(seed)).rglob("*.npz")))
        assert (scores / "val_0002.npz").exists()
    assert {path for path in folder.rglob("*")} == before
    for one, other in zip(*found.values(), strict=True):
        assert np.abs(one - other).max() > 1e-3
    mine, others = (sorted((tmp_path / name / "scores").glob("*.npz")) for name in "10")
    shutil.copy(others[0], mine[0])
    shutil.copy(mine[1], mine[2])
    assert score_videos(records, scores, scorer, **options) == (2, 1, 0)
    for one, again in zip(found[1], load_results(records, scores, 8, made_by="network 1"), strict=True):
        np.testing.assert_array_equal(one, again["activity_scores"])
    (tmp_path / "old" / "run").mkdir(parents=True)  # of an older version, which kept no note of who made it
    result = {name: values for name, values in np.load(mine[0]).items() if name != "made_by"}
    np.savez(tmp_path / "old" / "run" / "1.npz", **result)
    (old,) = load_results([records[0]._replace(video="run/1")], tmp_path / "old", 8)
    np.testing.assert_array_equal(old["activity_scores"], result["activity_scores"])


def made_up(number: int, segments, labels, proposals) -> SSNRecord:
    def instances(rows, classes):
        n, rows = len(rows), np.array(rows, np.int64).reshape(-1, 2)
        nothing = np.zeros(n)
        return Instances(np.full(n, number), np.full(n, 100), rows, np.array(classes, np.int64), nothing, nothing,
                         nothing, np.zeros((n, 2)))  # fmt: skip

    truth, found = instances(segments, labels), instances(proposals, [0] * len(proposals))
    return SSNRecord(number, f"v{number}", 100, VideoRecord("none.mp4"), truth, found)


def test_report_tells_good_scores_from_none(tmp_path):
    """Scores that know everything give 1, on both protocols; a video without a file costs its instances."""
    records = [
        made_up(0, [[10, 30], [50, 80]], [1, 3], [[50, 80], [0, 90], [10, 30]]),
        made_up(1, [[20, 60]], [3], [[20, 60], [21, 60]]),
        made_up(2, [], [], []),
    ]
    scores = tmp_path / "scores"
    scores.mkdir()
    for record, classes in zip(records[:2], ([3, 0, 1], [3, 0]), strict=True):
        n = len(classes)
        activity = np.where(np.arange(9) == np.array(classes)[:, None], 9.0, 0.0)
        completeness = np.where(np.array(classes)[:, None] > 0, 1.0, -9.0) * np.ones((n, 8))
        values = record.proposals.segment / 100, activity, completeness, np.zeros((n, 8, 2))
        np.savez(scores / f"{record.video}.npz", **dict(zip(RESULT_KEYS, values, strict=True)), fps=0.0)
    names = [f"class {k}" for k in range(8)]
    for protocol, keys in (("thumos14", ("mAP@0.10", "mAP@0.90")), ("activitynet", ("mAP@0.50", "mAP@0.95"))):
        detector = build(config(**{"detect.protocol": protocol}))
        options = dict(name=protocol, about={})
        found = report(Proposed([], records, names), scores, detector.detect, tmp_path, **options)
        assert [found[key] for key in keys] == [1.0, 1.0] and found["perfect_average_mAP"] == 1.0
        assert found["proposals_average_mAP"] < 1 and found["num_empty"] == 1
        frames = load_result_file(tmp_path / f"{protocol}_detections.json")
        assert frames.segments.max() == pytest.approx(80)  # frames: nothing tells how many there are in a second
        report(Proposed([], records, names, fps=10.0), scores, detector.detect, tmp_path, **options)
        assert load_result_file(tmp_path / f"{protocol}_detections.json").segments.max() == pytest.approx(8)
    (scores / "v1.npz").unlink()
    missing = report(Proposed([], records, names), scores, detector.detect, tmp_path, **options)
    assert missing["mAP@0.50"] == pytest.approx((1 + 0.5) / 2)
    with pytest.raises(ValueError, match="none of its videos has ground truth"):
        report(Proposed([], records[2:], names), scores, detector.detect, tmp_path, **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample.backend": "decrod"}, "sample.backend='decrod' is unknown; did you mean 'decord'"),
        ({"detect.protocol": "thumos"}, "detect.protocol='thumos'"),
        ({"run.best": "mAP@0.50"}, "run.best='mAP@0.50' is unknown"),
        ({"test.view.size": 56}, "sample, train.view, test.view: .*56"),
        ({"model.stpp_stage": (1, (1, 9), 1)}, "cuts .* segments into 9 parts"),
        ({"model.stpp_stage": (1, 1)}, "expected three entries"),
        ({"sample.stack": 0}, "sample.stack=0; must be a whole number"),
        ({"loss": dict(regression_weight=float("nan"))}, "loss.regression_weight=nan; must be a number"),
        ({"model.num_segments": 3}, "num_segments=3 does not divide the 4 frames"),
    ],
)
def test_config_that_does_not_fit_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        build(config(**change))


def test_settings_that_need_another_kind_of_value_are_refused():
    made = config()
    made.sample.stack = 3
    with pytest.raises(ValueError, match="sample.stack=3 does not divide sample.clip_len=4"):
        build(made)
    made = config()
    made.train.view = ml_collections.ConfigDict(dict(name="multi_group", short_side=45, size=40, groups=2))
    with pytest.raises(ValueError, match="SSN takes one crop of each clip"):
        build(made)
    made = config()
    del made.test["view"]
    with pytest.raises(ValueError, match="test.view is missing"):
        build(made)


def test_constants_that_divide_by_nothing_are_told_at_the_start():
    """Proposals that are the ground truth itself have targets without a deviation."""
    detector = build(config(**{"train.reg_norm_consts": ((0.0, 0.0), (0.0, 1.0))}))
    with pytest.raises(ValueError, match=r"train.reg_norm_consts: .* deviations \[0.0, 1.0\]"):
        _ = detector.targets(None).reg_norm_consts


def test_pools_that_lack_a_type_are_told_at_the_start(folder, tmp_path):
    detector = build(config(folder, **{"assigner.incomplete_overlap_threshold": 1.0}))
    with pytest.raises(ValueError, match="data.train: no proposal is incomplete, but every training example needs"):
        detector.train(tmp_path)


def test_published_config_is_complete():
    made = runpy.run_path(str(ROOT / "configs" / "ssn_r50_450e_thumos14_rgb.py"))["get_config"]("scratch")
    detector = build(made)
    assert detector.network.model.input_shape == (1, 9, 1, 32, 32, 3) and detector.network.model.to_bgr
    assert (
        detector.network.task.init and detector.network.settings.batch_size == 8 and detector.network.load_from is None
    )
    with pytest.raises(FileNotFoundError, match=str(pathlib.Path("data/thumos14"))):
        detector.open_dataset()
