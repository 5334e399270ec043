"""Result files against ground truth: golden values, real annotations, errors."""

import gzip
import json
import time

import numpy as np
import pytest
from conftest import TESTS
from golden_cases import FOLDER, cases, read_json
from hypothesis import given
from hypothesis import strategies as st

from actjax.metrics import (
    Predictions,
    dump_results,
    evaluate_activitynet,
    evaluate_detections,
    evaluate_proposals,
    load_activitynet,
    load_results,
    load_thumos14,
    proposals2json,
)
from actjax.metrics.evaluation import evaluate_recognition
from actjax.metrics.matching import rows_of
from actjax.metrics.recognition import softmax
from actjax.metrics.score_files import dumped_labels, load_labels, load_scores
from actjax.tables import read_table
from actjax.video_files import found_file

SMALL = read_json("ActivityNetDataset_small.json")
ANNOTATIONS = read_json("anet_small_ann.json")
ACTIVITYNET, THUMOS14 = TESTS / "annotations" / "activitynet_validation.json.gz", TESTS / "annotations" / "thumos14"


def perfect(truth) -> Predictions:
    """The ground truth itself as detections, with scores in some order."""
    video = np.array(truth.videos)[truth.instances.video]
    score = np.random.default_rng(0).random(len(video))
    return Predictions("perfect", video, truth.instances.segments, score, np.array(truth.labels)[truth.instances.label])


# In memory, as the reference's data sets do it.


def test_activitynet_matches_golden():
    annotations, common = read_json("anet_val_subset_ann.json"), {}
    for case, arrays, kwargs in cases("ActivityNetDataset_evaluate"):
        common = common or arrays
        names, offsets, rows = (common[k] for k in ("video_names", "prop_offsets", "prop"))
        results = [
            {"video_name": str(v), "proposal_list": [{"segment": [s, e], "score": x} for s, e, x in rows[a:b].tolist()]}
            for v, a, b in zip(names, offsets, offsets[1:], strict=False)
        ]
        if "temporal_iou_thresholds" in arrays:
            kwargs["temporal_iou_thresholds"] = arrays["temporal_iou_thresholds"]
        out = evaluate_activitynet(results, annotations, **kwargs)
        assert set(out) == {"auc", "AR@1", "AR@5", "AR@10", "AR@100"}
        for name, value in out.items():
            np.testing.assert_allclose(value, arrays[f"out/{name}"], rtol=1e-10, err_msg=f"{case} {name}")


def test_small_set_matches_golden(tmp_path):
    assert proposals2json(SMALL["results"]) == SMALL["proposals2json"]
    out = evaluate_activitynet(SMALL["results"], ANNOTATIONS)
    assert out == pytest.approx(SMALL["evaluate"]["default"], rel=1e-10)
    out = evaluate_activitynet(SMALL["results"], ANNOTATIONS, max_avg_proposals=2)
    assert out == pytest.approx(SMALL["evaluate"]["max_avg_proposals=2"], rel=1e-10)
    assert evaluate_activitynet(SMALL["results"], ANNOTATIONS, metrics=[]) == {}
    thresholds = evaluate_activitynet(SMALL["results"], ANNOTATIONS, temporal_iou_thresholds=[0.5, 0.7])
    assert 0 < thresholds["auc"] < 100  # anet_thr_list


def test_dumped_files_match_golden(tmp_path):
    dump_results(SMALL["results"], tmp_path / "out.json", "json")
    assert json.loads((tmp_path / "out.json").read_text()) == SMALL["dump_results_json"]
    dump_results(SMALL["results"], tmp_path / "out.json", "json", version="VERSION 9")
    assert json.loads((tmp_path / "out.json").read_text()) == SMALL["dump_results_json_version_arg"]
    tables = SMALL["dump_results_csv"]
    dump_results([(name, np.array(rows)) for name, rows in tables["results"]], tmp_path / "csv", "csv")
    assert (tmp_path / "csv" / tables["file_name"]).read_text() == tables["file_text"]
    with pytest.raises(ValueError, match="choose from"):  # anet_dump_format
        dump_results(SMALL["results"], tmp_path / "out.xml", "xml")


def test_tables_of_any_name_stay_in_their_folder(tmp_path):
    names = ["v_a", "../v_a", f"{tmp_path}/v_a", "V_A", "a/b", ""]
    dump_results(iter([(name, np.full((2, 5), k)) for k, name in enumerate(names)]), tmp_path / "csv", "csv")
    assert list(tmp_path.iterdir()) == [tmp_path / "csv"] and len(list((tmp_path / "csv").iterdir())) == len(names)
    for k, name in enumerate(names):
        assert read_table(found_file(tmp_path / "csv", name, ".csv"), columns=5)[0, 0] == k
    with pytest.raises(ValueError, match="dump_results: video 'v_a' is there 2 times; expected once"):
        dump_results([("v_a", np.zeros((1, 5)))] * 2, tmp_path / "twice", "csv")
    assert not (tmp_path / "twice").exists()


def test_results_may_be_in_any_order():
    out = evaluate_activitynet(SMALL["results"][::-1], ANNOTATIONS)
    assert out == pytest.approx(SMALL["evaluate"]["default"], rel=1e-10)


def test_videos_without_proposals_or_annotations_count():
    nothing = [{**SMALL["results"][0], "proposal_list": []}, *SMALL["results"][1:]]
    assert np.isfinite(evaluate_activitynet(nothing, ANNOTATIONS)["auc"])  # anet_empty_proposals
    first = next(iter(ANNOTATIONS))
    unannotated = ANNOTATIONS | {first: {**ANNOTATIONS[first], "annotations": []}}
    assert np.isfinite(evaluate_activitynet(SMALL["results"], unannotated)["auc"])  # anet_video_without_annotation


@pytest.mark.parametrize(
    ("results", "metrics", "error", "message"),
    [
        (tuple(SMALL["results"]), "AR@AN", TypeError, "results are a tuple"),  # anet_tuple
        (SMALL["results"][:-1], "AR@AN", AssertionError, "3 results for 4 videos"),  # anet_len
        (SMALL["results"], "mAP", KeyError, "choose from"),  # anet_metric
        (SMALL["results"], ["AR@AN", "x"], KeyError, "'x'"),  # anet_metric_list
        ([SMALL["results"][1], *SMALL["results"][1:]], "AR@AN", KeyError, "no entry for 1"),  # anet_dup_video
    ],
)
def test_bad_results_are_named(results, metrics, error, message):
    with pytest.raises(error, match=message):
        evaluate_activitynet(results, ANNOTATIONS, metrics=metrics)


# Files, as the official toolkit does it.


@pytest.fixture(scope="module")
def activitynet():
    return load_activitynet(ACTIVITYNET, subset="validation")


def test_real_ground_truth_is_counted(activitynet):
    assert (len(activitynet.videos), len(activitynet.instances.video), len(activitynet.labels)) == (4728, 7293, 200)
    assert activitynet.name.endswith("validation, block list none: 4728 videos, 7293 instances, 200 classes")


def test_perfect_detections_score_exactly_one_on_real_ground_truth(activitynet):
    score = evaluate_detections(activitynet, perfect(activitynet))
    assert (score.average_precision == 1.0).all() and score.average_mAP == 1.0
    for options in ({}, dict(ambiguous="class"), dict(ambiguous="ignore"), dict(cliff_diving="diving")):
        truth = load_thumos14(THUMOS14, **options)
        assert (evaluate_detections(truth, perfect(truth)).average_precision == 1.0).all()


def test_perfect_proposals_find_all_but_segments_without_length(activitynet):
    # Such a segment has no overlap with anything (0 / 0), which is no match in AR@AN: the official rule.
    lasting = np.diff(activitynet.instances.segments, axis=1)[:, 0] > 0
    for budget in (None, 100):
        score = evaluate_proposals(activitynet, perfect(activitynet), max_avg_proposals=budget)
        assert (score.recall[:, -1] == lasting.mean()).all() and lasting.sum() == 7290
    some = activitynet.instances.video[~lasting]
    keep = ~np.isin(activitynet.instances.video, some)
    instances = activitynet.instances._replace(
        video=activitynet.instances.video[keep],
        label=activitynet.instances.label[keep],
        segments=activitynet.instances.segments[keep],
    )
    truth = activitynet._replace(instances=instances)
    score = evaluate_proposals(truth, perfect(truth))
    assert (score.recall[:, -1] == 1.0).all() and score.avg_recall[-1] == 1.0


def test_block_list_is_applied_and_named(activitynet, tmp_path):
    (tmp_path / "blocked.json").write_text(json.dumps(activitynet.videos[:18]))
    truth = load_activitynet(ACTIVITYNET, subset="validation", block_list=tmp_path / "blocked.json")
    assert len(truth.videos) == 4710 and "block list blocked.json (18 videos): 4710 videos" in truth.name
    # Predictions for blocked videos are dropped, not unknown.
    assert evaluate_detections(truth, perfect(activitynet)).average_mAP == 1.0


@pytest.mark.parametrize(
    ("options", "instances", "videos", "classes"),
    [
        ({}, 3358, 212, 20),
        (dict(ambiguous="class"), 3457, 213, 21),
        (dict(ambiguous="ignore"), 3358, 212, 20),
        (dict(cliff_diving="diving"), 3141, 212, 19),
        (dict(cliff_diving="cliff_diving"), 3141, 212, 20),
    ],
)
def test_thumos14_variants(options, instances, videos, classes):
    truth = load_thumos14(THUMOS14, **options)
    assert truth.name.endswith(f"{videos} videos, {instances} instances, {classes} classes")
    assert all(f"{value}" in truth.name for value in options.values())


def test_thumos14_block_list(tmp_path):
    # 3,311 instances: the published variant without two videos whose annotations are wrong.
    (tmp_path / "two.txt").write_text("video_test_0000270 HammerThrow\nvideo_test_0001496 CricketShot\n")
    truth = load_thumos14(THUMOS14, block_list=tmp_path / "two.txt")
    assert len(truth.instances.video) == 3311 and "block list two.txt (2 videos)" in truth.name


def test_ambiguous_segments_excuse_detections_that_hit_nothing():
    truth = load_thumos14(THUMOS14, ambiguous="ignore")
    unclear, found = truth.ambiguous, perfect(truth)
    video = np.array(truth.videos)[unclear.video]
    label = np.array(["Billiards"] * len(video))
    spoiled = Predictions(
        "spoiled",
        np.concatenate([found.video, video]),
        np.concatenate([found.segments, unclear.segments]),
        np.concatenate([found.score, np.full(len(video), 2.0)]),
        np.concatenate([found.label, label]),
    )
    assert evaluate_detections(truth, spoiled).average_mAP == 1.0
    assert evaluate_detections(load_thumos14(THUMOS14), spoiled).average_mAP < 1.0


def test_unknown_videos_are_an_error_unless_told(activitynet):
    found = perfect(activitynet)
    strange = Predictions("p", *(np.concatenate([c, c[:50]]) for c in found[1:]))
    strange.video[:50] = "elsewhere"
    for evaluate in (evaluate_detections, evaluate_proposals):
        with pytest.raises(KeyError, match="1 videos, 'elsewhere' the first, are not in the ground truth"):
            evaluate(activitynet, strange)
    dropped = evaluate_detections(activitynet, strange, unknown_videos="drop").average_mAP
    counted = evaluate_detections(activitynet, strange, unknown_videos="count").average_mAP
    assert counted < dropped == 1.0
    with pytest.raises(ValueError, match="choose from"):
        evaluate_detections(activitynet, strange, unknown_videos="ignore")


@given(st.integers(0, 2**32 - 1))
def test_order_of_predictions_does_not_matter(seed):
    truth = load_thumos14(THUMOS14)
    found, order = perfect(truth), np.random.default_rng(seed).permutation(len(truth.instances.video))
    moved = found._replace(segments=found.segments + 1.5)
    shuffled = Predictions("shuffled", *(column[order] for column in moved[1:]))
    expected = evaluate_detections(truth, moved, thresholds=(0.3, 0.5))
    score = evaluate_detections(truth, shuffled, thresholds=(0.3, 0.5))
    np.testing.assert_array_equal(score.average_precision, expected.average_precision)


def test_both_forms_of_ground_truth_agree(tmp_path):
    database = json.loads(gzip.decompress(ACTIVITYNET.read_bytes()))["database"]
    (tmp_path / "ann.json").write_text(json.dumps({f"v_{v}": entry for v, entry in database.items()}))
    lines = ["video,numFrame,subset", *(f"v_{v},1,{entry['subset']}" for v, entry in database.items())]
    (tmp_path / "info.csv").write_text("\n".join(lines))
    official = load_activitynet(ACTIVITYNET, subset="validation")
    other = load_activitynet(tmp_path / "ann.json", subset="validation", video_info=tmp_path / "info.csv")
    assert other.videos == official.videos and other.labels == official.labels
    np.testing.assert_array_equal(other.instances.segments, official.instances.segments)
    assert len(load_activitynet(ACTIVITYNET).videos) == 4748


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("[", ValueError, "gt.json, line 1, column 2: not JSON"),
        ("[]", ValueError, "gt.json: is a list"),
        ('{"v_a": {"annotations": [{"segment": [1, 2]}]}}', KeyError, "gt.json: video 'a': .* no label"),
        ('{"v_a": {}}', KeyError, "gt.json: video 'a' is {}; expected .*annotations"),
        ('{"v_a": {"annotations": [1]}}', KeyError, "gt.json: video 'a' is .*; expected .*annotations"),
        ('{"v_a": {}, "a": {}}', ValueError, "gt.json: video 'a' is there twice"),
        (
            '{"v_a": {"annotations": [{"segment": ["1", 2], "label": "x"}]}}',
            TypeError,
            "gt.json: annotation 1 of .*'a'",
        ),
        ('{"v_a": {"annotations": [{"segment": [1, 2], "label": 0.7}]}}', ValueError, "gt.json: video 'a': label 0.7"),
        (
            '{"v_a": {"annotations": [{"segment": [1, NaN], "label": "x"}]}}',
            ValueError,
            "gt.json: annotation 1 of .*'a'",
        ),
        ('{"v_a": {"annotations": []}}', ValueError, "gt.json.*no instance"),
        ('{"v_a": {"annotations": [{"segment": [3, 2], "label": "x"}]}}', ValueError, "gt.json: annotation 1 of .*'a'"),
    ],
)
def test_bad_ground_truth_is_named(content, error, message, tmp_path):
    (tmp_path / "gt.json").write_text(content)
    with pytest.raises(error, match=message):
        load_activitynet(tmp_path / "gt.json")


def test_unknown_subset_is_named(tmp_path):
    with pytest.raises(KeyError, match="no video of subset 'val'; there are .*'validation'"):
        load_activitynet(ACTIVITYNET, subset="val")
    (tmp_path / "gt.json").write_text('{"v_a": {"annotations": []}}')
    with pytest.raises(KeyError, match="has no subsets"):
        load_activitynet(tmp_path / "gt.json", subset="validation")
    (tmp_path / "info.csv").write_text("name,split\na,b\n")
    with pytest.raises(KeyError, match="info.csv: expected a CSV with the columns video and subset"):
        load_activitynet(tmp_path / "gt.json", subset="validation", video_info=tmp_path / "info.csv")


@pytest.mark.parametrize(
    ("entry", "error", "message"),
    [
        ({"score": 1}, KeyError, "'a' has no 'segment'"),
        ({"segment": [0, 1]}, KeyError, "'a' has no 'score'"),
        ({"segment": [2, 1], "score": 1}, ValueError, "video 'a' .* its end is before its start"),
        ({"segment": [1, 2], "score": "0.9"}, TypeError, "video 'a': expected numbers, got .'0.9'"),
        ({"segment": [1, 2], "score": float("inf")}, ValueError, "score of an entry of video 'a' is inf; .* finite"),
        ({"segment": [1, 2], "score": 1, "label": True}, ValueError, "'a': label True; a class is a name"),
        ({"segment": [0, 1, 2], "score": float("nan")}, ValueError, "the score of an entry of video .* is nan"),
        ({"segment": [0], "score": 1}, ValueError, "has shape"),
        ({"segment": ["x", "y"], "score": 1}, TypeError, "expected numbers"),
    ],
)
def test_bad_results_file_is_named(entry, error, message, tmp_path):
    (tmp_path / "p.json").write_text(json.dumps({"results": {"a": [entry]}}))
    with pytest.raises(error, match=f"p.json.*{message}"):
        load_results(tmp_path / "p.json")


def test_results_file_without_results_or_labels(tmp_path, activitynet):
    (tmp_path / "p.json").write_text("{}")
    with pytest.raises(KeyError, match='p.json: no \\\\?"results'):
        load_results(tmp_path / "p.json")
    video = activitynet.videos[0]
    (tmp_path / "p.json").write_text(json.dumps({"results": {video: [{"segment": [0, 1], "score": 1}]}}))
    with pytest.raises(ValueError, match="no 'label'; detections need one"):
        evaluate_detections(activitynet, load_results(tmp_path / "p.json"))
    entry = {"segment": [0, 1], "score": 1, "label": "Tapdancing"}
    (tmp_path / "p.json").write_text(json.dumps({"results": {video: [entry]}}))
    with pytest.raises(KeyError, match="class 'Tapdancing' is not in the ground truth"):
        evaluate_detections(activitynet, load_results(tmp_path / "p.json"))


def test_bad_thumos14_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected THUMOS14"):
        load_thumos14(tmp_path)
    (tmp_path / "Diving_test.txt").write_text("video_test_1 3.0\n")
    with pytest.raises(ValueError, match="Diving_test.txt:1: got 'video_test_1 3.0'"):
        load_thumos14(tmp_path)
    with pytest.raises(ValueError, match="ambiguous='keep'; choose from"):
        load_thumos14(THUMOS14, ambiguous="keep")


# Recognition.


def test_scores_come_from_rows_or_names(tmp_path):
    (tmp_path / "list.txt").write_text("a b.mp4 1\nc.mp4 0\n\n")
    names, labels = load_labels(tmp_path / "list.txt")
    assert names == ["a b.mp4", "c.mp4"] and labels == [[1], [0]]
    scores = [[0.2, 0.8], [0.3, 0.7]]
    (tmp_path / "rows.json").write_text(json.dumps(scores))
    (tmp_path / "names.json").write_text(json.dumps({"c.mp4": scores[1], "a b.mp4": scores[0]}))
    np.save(tmp_path / "rows.npy", np.array(scores))
    for file in ("rows.json", "names.json", "rows.npy"):
        assert load_scores(tmp_path / file, names).tolist() == scores
    out = evaluate_recognition(np.array(scores), labels, topk=(1, 2))
    assert out == {"top1_acc": 0.5, "top2_acc": 1.0, "mean_class_accuracy": 0.5}


def test_several_labels_give_both_means(tmp_path):
    (tmp_path / "list.txt").write_text("a 0 2\nb 1\n")
    _, labels = load_labels(tmp_path / "list.txt", multi_label=True)
    out = evaluate_recognition(np.array([[0.9, 0.1, 0.8], [0.7, 0.6, 0.1]]), labels)
    assert out == {"mAP_over_classes": 1.0, "mAP_over_samples": 0.75}
    (tmp_path / "list.txt").write_text("none.mp4\nb 1\n")
    assert load_labels(tmp_path / "list.txt", multi_label=True) == (["none.mp4", "b"], [[], [1]])


@pytest.mark.parametrize(
    ("scores", "error", "message"),
    [
        ([[1.0]], ValueError, "1 rows of scores for 2 videos"),
        ({"a": [1.0]}, KeyError, "no scores for 1 of 2 videos, 'b'"),
        ([[float("nan")], [1.0]], ValueError, "row 0: NaN; scores must be finite"),
        ([[1.0], [float("inf")]], ValueError, "row 1: inf; scores must be finite"),
        ([1.0, 2.0], ValueError, "row 0: 1.0; expected rows of scores"),
        ([[1.0], ["2"]], TypeError, "row 1: expected numbers"),
        ([[1.0], [True]], TypeError, "row 1: expected numbers"),
        ([[1.0, 2.0], [1.0]], ValueError, "row 1: .1.0.; expected rows of scores of one length"),
        ([[0.1, [0.9]], [1, 2]], ValueError, "scores: rows differ in length"),
        ([[1.0], [10**400]], ValueError, "row 1: inf; scores must be finite"),
        ("ab", TypeError, "is a str; expected rows of scores"),
    ],
)
def test_bad_scores_are_named(scores, error, message, tmp_path):
    (tmp_path / "s.json").write_text(json.dumps(scores))
    with pytest.raises(error, match=f"s.json.*{message}"):
        load_scores(tmp_path / "s.json", ["a", "b"])


@pytest.mark.parametrize(
    ("known", "names"),
    [
        (["/d/run/0.mp4", "/d/walk/0.mp4"], ["walk/0.mp4", "run/0.mp4"]),
        (["/d/v1.0_run", "/d/v1.0_jump"], ["v1.0_jump", "v1.0_run"]),
        (["/d/v1.0_run.mp4", "/d/v1.0_jump.mp4"], ["/frames/v1.0_jump", "/frames/v1.0_run"]),
        (["/flow/run/0", "/flow/walk/0"], ["/rgb/walk/0.mp4", "/rgb/run/0.mp4"]),
        (["a.mp4", "a.avi"], ["x/a.avi", "x/a.mp4"]),
        (["b", "a"], ["c/a.mp4", "d/b.avi"]),
        (["/d/sub/0.mp4", "/d/0.mp4"], ["0.mp4", "sub/0.mp4"]),
        (["sub/0", "0"], ["/d/e/0.mp4", "/d/e/sub/0.mp4"]),
    ],
)
def test_scores_of_a_run_are_found_by_what_tells_its_videos_apart(known, names, tmp_path):
    np.savez(tmp_path / "scores.npz", name=known, scores=np.eye(2), label=np.arange(2))
    assert load_scores(tmp_path / "scores.npz", names).tolist() == np.eye(2)[::-1].tolist()
    own, labels, several = dumped_labels(tmp_path / "scores.npz")
    assert own == known and labels == [[0], [1]] and not several
    assert load_scores(tmp_path / "scores.npz", own).tolist() == np.eye(2).tolist()


def test_scores_in_json_are_found_as_those_of_a_run(tmp_path):
    (tmp_path / "s.json").write_text('{"/d/walk/0.mp4": [0, 1], "/d/run/0.mp4": [1, 0], "/d/run/1.mp4": [1, 1]}')
    assert load_scores(tmp_path / "s.json", ["run/0.mp4", "walk/0.mp4"]).tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("known", "names", "error", "message"),
    [
        (["/d/run/0.mp4", "/d/walk/0.mp4"], ["0.mp4"], ValueError, "several videos are named '0"),
        (["/d/run/0.mp4", "/d/walk/0.mp4"], ["jump/0.mp4", "run/0.mp4"], KeyError, "no scores for 1 of 2 .*'jump/0"),
        (["/d/0.mp4", "/d/0.mp4"], ["/e/0.mp4", "/e/1.mp4"], ValueError, "several videos are named '/d/0.mp4'"),
    ],
)
def test_videos_that_cannot_be_told_apart_are_named(known, names, error, message, tmp_path):
    np.savez(tmp_path / "scores.npz", name=known, scores=np.eye(2), label=np.arange(2))
    with pytest.raises(error, match=f"scores.npz: {message}"):
        load_scores(tmp_path / "scores.npz", names)


def test_the_order_of_a_file_decides_nothing_where_names_are_not_clear(tmp_path):
    names = ["0.mp4", "1.mp4", "0.mp4", "1.mp4"]
    for folders in (("walk", "run"), ("run", "walk")):
        rows = {f"{folder}/{k}.mp4": [k, 1] for folder in folders for k in range(2)}
        (tmp_path / "s.json").write_text(json.dumps(rows))
        with pytest.raises(ValueError, match="the list has '0.mp4' twice; remove one of the lines"):
            load_scores(tmp_path / "s.json", names)


def test_many_videos_in_deep_folders_are_matched_at_once():
    names = [f"/home/me/a/b/c/d/e/f/{k}.mp4" for k in range(20_000)]
    known = [f"/mnt/disk/u/v/w/x/y/z/{k}.avi" for k in reversed(range(20_000))]
    started = time.process_time()
    assert rows_of(names, known, "s") == [*reversed(range(20_000))]
    with pytest.raises(KeyError, match="no scores for 1 of 20001 videos, 'none.mp4'"):
        rows_of([*names, "none.mp4"], known, "s")
    assert time.process_time() - started < 20


def test_labels_of_frame_folders_and_of_weights(tmp_path):
    (tmp_path / "l.txt").write_text("f 120 3 4\ng 7 0\n")
    assert load_labels(tmp_path / "l.txt", multi_label=True, frames=True) == (["f", "g"], [[3, 4], [0]])
    (tmp_path / "l.txt").write_text("f 120 3\n")
    assert load_labels(tmp_path / "l.txt", frames=True) == (["f"], [[3]])
    (tmp_path / "l.csv").write_text("frame_dir,total_frames,label\nf,9,0:0.3;2:0.7\n")
    assert load_labels(tmp_path / "l.csv") == (["f"], [[2]])


@pytest.mark.parametrize(
    ("label", "message"),
    [([[np.nan, 1], [1, 0]], "from 0 to 1"), ([[0.5, 1], [1, 2]], "from 0 to 1"), ([0.7, 1], "no whole number")],
)
def test_labels_in_a_dump_are_classes(tmp_path, label, message):
    np.savez(tmp_path / "scores.npz", name=["a", "b"], scores=np.eye(2), label=label)
    with pytest.raises(ValueError, match=f"scores.npz: .*{message}"):
        dumped_labels(tmp_path / "scores.npz")


def test_a_video_twice_in_a_run_of_its_own(tmp_path):
    """As segments of one folder of frames, for example."""
    np.savez(tmp_path / "scores.npz", name=["/d/a", "/d/a"], scores=np.eye(2), label=np.arange(2))
    for names in (["/d/a"] * 2, ["a", "a"]):
        assert load_scores(tmp_path / "scores.npz", names).tolist() == np.eye(2).tolist()


def test_crops_are_averaged_as_in_the_run(tmp_path):
    """By their logits: of the softmax, of sigmoids, and as they are in the dump of an older run."""
    logits = np.random.default_rng(0).normal(size=(5, 3, 4)) * 3
    sigmoid = lambda x: 1 / (1 + np.exp(-x))
    mean = logits.mean(1)
    for scores, expected in (
        (softmax(logits, axis=2), softmax(mean)),
        (sigmoid(logits), sigmoid(mean)),
        (logits, mean),
    ):
        np.savez(tmp_path / "scores.npz", name=list("abcde"), scores=scores.astype(np.float32), label=np.zeros(5))
        np.testing.assert_allclose(load_scores(tmp_path / "scores.npz", list("abcde")), expected, rtol=1e-4)


def test_labels_of_a_run_say_whether_there_are_several(tmp_path):
    for labels, expected in (
        ([[1, 0, 0], [0, 1, 0]], ([[0], [1]], True)),
        ([[1, 0, 0.3], [0, 0, 0]], ([[0], []], True)),
        ([[0.4, 0.6, 0], [1, 0, 0]], ([[1], [0]], False)),
    ):
        np.savez(tmp_path / "scores.npz", name=["a", "b"], scores=np.zeros((2, 3)), label=np.float32(labels))
        assert dumped_labels(tmp_path / "scores.npz")[1:] == expected


def test_one_label_each_can_be_multi_label_and_none_counts_for_no_video():
    scores = np.array([[0.9, 0.2, 0.1], [0.8, 0.7, 0.1], [0.1, 0.6, 0.2]])
    assert set(evaluate_recognition(scores, [[0], [1], [2]])) == {"top1_acc", "mean_class_accuracy"}  # 3 classes
    several = evaluate_recognition(scores, [[0], [1], [2]], multi_label=True)
    assert several == pytest.approx({"mAP_over_classes": 1.0, "mAP_over_samples": (1 + 0.5 + 0.5) / 3})
    none = evaluate_recognition(scores, [[0], [], [1]])  # class 2 has no video; that without a label ranks before b
    assert none == pytest.approx({"mAP_over_classes": (1 + 0.5) / 2, "mAP_over_samples": 1.0})


def test_labels_come_from_every_kind_of_list(tmp_path):
    (tmp_path / "a.csv").write_text("label,path\n3;1,a b.mp4\n0,c.mp4\n")
    (tmp_path / "a.JSON").write_text('[{"filename": "a b.mp4", "label": [3, 1]}, {"path": "c.mp4", "label": 0}]')
    for name in ("a.csv", "a.JSON"):
        assert load_labels(tmp_path / name, multi_label=True) == (["a b.mp4", "c.mp4"], [[3, 1], [0]])
        with pytest.raises(ValueError, match=f"{name}:[12]: got .'a b.mp4', .*; expected a file and its label"):
            load_labels(tmp_path / name)


def test_bad_labels_are_named(tmp_path):
    (tmp_path / "list.txt").write_text("a 1\nb one\n")
    with pytest.raises(ValueError, match="list.txt:2: got .'b', 'one'."):
        load_labels(tmp_path / "list.txt")
    for label in (7, -1, 0.5):
        for several in (False, True):
            with pytest.raises(ValueError, match=f"label {label} for scores of 2 classes"):
                evaluate_recognition(np.zeros((1, 2)), [[label]], multi_label=several)


def test_golden_annotation_file_is_read():
    truth = load_activitynet(FOLDER / "anet_val_subset_ann.json")
    assert len(truth.videos) == 320


def test_an_empty_score_file_names_what_it_lacks(tmp_path):
    np.savez(tmp_path / "scores.npz", name=np.array([], str), scores=np.zeros((0, 3)), label=np.zeros(0, np.int64))
    with pytest.raises(KeyError, match=r"scores.npz: no scores for 1 of 1 videos, 'a' the first"):
        load_scores(tmp_path / "scores.npz", ["a"])
