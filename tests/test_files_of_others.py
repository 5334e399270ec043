"""Files of other people: odd ones, as other projects publish them, and mutated; read exactly or refused in one line."""

import json
import resource

import numpy as np
import pytest
from conftest import GOLDEN
from mutating import WORDS, answer, mutated, same_meaning

from actjax.config.files import saved_config
from actjax.data.datasets.annotations import load_annotations, load_class_names
from actjax.data.datasets.features import load_feature
from actjax.data.datasets.recognition import videos
from actjax.data.datasets.untrimmed import activitynet
from actjax.data.loading.quarantine import Quarantine
from actjax.metrics import evaluate_detections, load_activitynet, load_class_scores, load_results, load_thumos14
from actjax.metrics.__main__ import main as metrics
from actjax.metrics.ground_truth import read_block_list
from actjax.metrics.score_files import load_dump, load_labels, load_scores
from actjax.tables import read_table

ODD = GOLDEN / "odd_inputs"
DATABASE = {
    "v_a": {"subset": "training", "duration_second": 60.0, "duration_frame": 1500, "feature_frame": 1488,
            "annotations": [{"segment": [5, 20.5], "label": "run"}, {"segment": [30, 42], "label": "walk"}]},
    "v_b": {"subset": "validation", "duration_second": 30.0, "duration_frame": 900, "feature_frame": 896,
            "annotations": [{"segment": [1.25, 7], "label": "walk"}]},
}  # fmt: skip


def write(path, content) -> str:
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


# Odd inputs.


def test_marks_and_encodings_of_lists_and_names():
    records = load_annotations("videos", ODD / "list_utf16.txt", data_prefix="")
    assert [(record.path, record.label) for record in records] == [("clips/läuft.mp4", 0), ("clips/winkt.mp4", 1)]
    with pytest.raises(ValueError, match=r"list_latin1.txt is not UTF-8 text, .* byte 7, in line 1, is 0xe4; .*iconv"):
        load_annotations("videos", ODD / "list_latin1.txt")
    assert read_block_list(ODD / "block_list_bom.txt") == {"0001", "0002"}  # without "v_"
    assert load_class_names(ODD / "classInd.txt") == ["ApplyEyeMakeup", "ApplyLipstick", "Archery"]
    assert load_class_names(ODD / "classes_id_name.csv") == ["run", "walk"]


def test_a_mark_in_a_thumos_file_changes_no_score():
    truth = load_thumos14(ODD / "thumos_bom")
    score = evaluate_detections(
        truth, load_results(ODD / "thumos_bom" / "predictions.json"), thresholds=(0.3, 0.7, 1.0)
    )
    assert score.mAP.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "annotations_feature_rows",
            r"1 of 1 segments begin after what the features cover; feature_frame counts frames",
        ),
        (
            "annotations_in_frames",
            r"2 of 2 segments are not inside .*not in frames; .*'v_a': \[125, 500]",
        ),
        ("annotations_text_numbers", r"'v_a'.*duration_second is '60.0'; it must be a positive, finite number"),
        ("annotations_nan", r"'v_a'.*duration_second is nan; it must be a positive, finite number"),
    ],
)
def test_annotations_whose_numbers_contradict_each_other(name, message):
    with pytest.raises(ValueError, match=message):
        load_annotations("activitynet", ODD / f"{name}.json")


def test_few_contradictions_are_a_warning(tmp_path, caplog):
    rows = [{"segment": [k, k + 1], "label": "x"} for k in range(20)] + [{"segment": [99, 100], "label": "x"}]
    write(tmp_path / "a.json", {"v_a": DATABASE["v_a"] | {"annotations": rows}})
    (record,) = load_annotations("activitynet", tmp_path / "a.json")
    assert len(record.annotations) == 21 and "1 of 21 segments are not inside their video" in caplog.text


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(feature_frame=3000), "features of more frames than they have"),
        (dict(duration_frame=3, feature_frame=3), "an impossible frame rate"),
        (dict(duration_second=True), "duration_second is True"),
        (dict(duration_frame=0), "duration_frame is 0; it must be a positive"),
        (dict(duration_second=float("inf")), "duration_second is inf"),
        (dict(fps=None), None),
        (dict(fps="25"), "fps is '25'"),
    ],
)
def test_lengths_are_positive_and_agree(tmp_path, fields, message):
    rows = [{"segment": [0, 1], "label": "x"}]
    write(tmp_path / "a.json", {"v_a": DATABASE["v_a"] | {"annotations": rows} | fields})
    if message is None:
        assert load_annotations("activitynet", tmp_path / "a.json")[0].fps is None
        return
    with pytest.raises(ValueError, match=f"a.json.*{message}"):
        load_annotations("activitynet", tmp_path / "a.json")


def features(folder):
    for video in DATABASE:
        np.save(folder / f"{video}.npy", np.ones((4, 2), np.float32))
    return str(folder)


def test_subsets_tell_the_splits_of_one_file_apart(tmp_path, caplog):
    file = str(ODD / "annotations_two_subsets.json")
    data = activitynet(features=features(tmp_path), train=file, val=file)
    assert [record.video for record in data.train] == ["v_a"] and [record.video for record in data.val] == ["v_b"]
    swapped = activitynet(features=str(tmp_path), train=file, val=file, subsets=("validation", "training"))
    assert [record.video for record in swapped.train] == ["v_b"]
    with pytest.raises(ValueError, match=r"holds no records of subset 'test'; its subsets are \['training', 'valid"):
        activitynet(features=str(tmp_path), train=file, val=file, subsets=("training", "test"))
    assert not caplog.text
    other = write(tmp_path / "other.json", DATABASE)
    assert len(activitynet(features=str(tmp_path), train=file, val=other).val) == 2
    assert "2 videos are in both, 'v_a' the first" in caplog.text


def test_integer_labels_are_the_same_on_both_sides():
    truth = load_activitynet(ODD / "annotations_int_labels.json")
    found = load_results(ODD / "results_int_labels.json")
    assert truth.labels == ["0", "1"] and evaluate_detections(truth, found).average_mAP == 1
    records = load_annotations("activitynet", ODD / "annotations_int_labels.json")
    assert [record.annotations[0]["label"] for record in records] == ["0", "1"]


def test_predictions_in_frames_are_a_warning(tmp_path, caplog):
    truth = load_activitynet(write(tmp_path / "truth.json", DATABASE))
    segments = lambda factor, count=5: [
        {"segment": [k * factor, (k + 1) * factor], "score": 0.5, "label": "run"} for k in range(count)
    ]
    for factor, told in ((1, False), (25, True)):
        found = load_results(write(tmp_path / "found.json", {"results": {"a": segments(factor)}}))
        evaluate_detections(truth, found)
        assert (
            "2 of 5 predictions begin after the end of their video, the first [75.0, 100.0] of 60" in caplog.text
        ) is told


def test_predictions_of_another_unit_are_an_error_or_a_warning(tmp_path, caplog):
    truth = load_activitynet(write(tmp_path / "truth.json", DATABASE))
    rows = [{"segment": [100 + k, 200 + k], "score": 0.5, "label": "run"} for k in range(3)]
    with pytest.raises(ValueError, match="found.json: 3 of 3 predictions begin after the end of their video"):
        evaluate_detections(truth, load_results(write(tmp_path / "found.json", {"results": {"a": rows}})))
    rows = [{"segment": [k / 10, k / 9], "score": 0.5, "label": "run"} for k in range(3)]
    evaluate_detections(truth, load_results(write(tmp_path / "found.json", {"results": {"v_a": rows}})))
    assert "found.json: all predictions end within a second, as fractions do" in caplog.text


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ([[0.1, 0.5], [0.2, 1]], "all 2 segments end within the first second, .* not fractions"),
        ([[5, 20], [5, 90]], r"1 of 2 segments are not inside their video; .*\[5, 90\] in 60 s"),
        ([[-5, 20]], "1 of 1 segments are not inside their video"),
    ],
)
def test_segments_lie_inside_their_video(tmp_path, segments, message):
    rows = [{"segment": segment, "label": "x"} for segment in segments]
    with pytest.raises(ValueError, match=message):
        load_annotations("activitynet", write(tmp_path / "a.json", {"v_a": DATABASE["v_a"] | {"annotations": rows}}))


def test_a_video_is_annotated_once(tmp_path):
    info = write(tmp_path / "info.csv", TABLE)
    write(tmp_path / "a.json", {"database": {"a": DATABASE["v_a"], "v_a": DATABASE["v_a"]}})
    with pytest.raises(ValueError, match="a.json: video 'v_a' is there twice"):
        load_annotations("activitynet", tmp_path / "a.json", video_info=info)
    write(tmp_path / "info.csv", "video,subset\nv_a,training\na,validation\n")
    with pytest.raises(ValueError, match="info.csv: video 'v_a' is there twice, with different subsets"):
        load_activitynet(write(tmp_path / "b.json", DATABASE), subset="training", video_info=info)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("b.txt", "b,broken\n"), ("b.txt", "b;broken\n"), ("b.txt", '"b"\n'), ("b.txt", "b.mp4\n"),
        ("b.txt", "v_b x\n"), ("b.csv", "video,reason\nb,broken\n"), ("b.CSV", "id;reason\nv_b;x\n"),
        ("b.json", '["v_b"]'),
    ],
)  # fmt: skip
def test_forms_of_block_lists(tmp_path, name, text):
    entry = {"annotations": [{"segment": [0, 9], "label": "jump"}]}
    for truth in (
        {"v_a": entry, "v_b": entry},
        {"database": {"v_a": entry, "v_b": entry}},
        {"database": {"a": entry, "b": entry}},
    ):
        path = write(tmp_path / "t.json", truth)
        assert load_activitynet(path, block_list=write(tmp_path / name, text)).videos == ["a"]


def test_a_block_list_of_other_videos_is_an_error_or_a_warning(tmp_path, caplog):
    path = write(tmp_path / "t.json", DATABASE)
    with pytest.raises(ValueError, match="b.txt: 1 of 1 ids are of no video, 'x' the first; expected ids such as"):
        load_activitynet(path, block_list=write(tmp_path / "b.txt", "x\n"))
    load_activitynet(path, block_list=write(tmp_path / "b.txt", "x\na\n"))
    assert "b.txt: 1 of 2 ids are of no video, 'x' the first" in caplog.text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("results_duplicate_keys", "results_duplicate_keys.json: duplicate key 'a'"),
        ("results_infinity", "results_infinity.json: the score of an entry of video 'a' is inf"),
    ],
)
def test_results_that_cannot_be_ranked(name, message):
    with pytest.raises(ValueError, match=message):
        load_results(ODD / f"{name}.json")


def test_a_list_of_several_labels_keeps_videos_of_the_same_name_apart():
    records = load_annotations("videos", ODD / "same_names.json", data_prefix="", multi_class=True, num_classes=2)
    assert [record.label.tolist() for record in records] == [[1, 0], [0, 1], [0, 1], [0, 0]]
    assert len({record.path for record in records}) == 4


def test_labels_that_look_wrong_are_a_warning(tmp_path, caplog):
    lists = dict(train=write(tmp_path / "t.txt", "a.mp4 1\nb.mp4 2\n"), val=write(tmp_path / "v.txt", "c.mp4 1\n"))
    videos(**lists, num_classes=3)
    assert "no video has label 0, the first class; do the labels count from 1?" in caplog.text
    write(tmp_path / "t.txt", "a.mp4 1\nb.mp4 0\na.mp4 0\n")
    videos(**lists, num_classes=3)
    told = (
        "data.train=" + lists["train"] + ": 1 videos are there more than once, 'a.mp4' the first, with labels 1 and 0"
    )
    assert told.replace("'a.mp4'", repr(str(tmp_path / "a.mp4"))) in caplog.text


def test_a_name_of_a_hundred_thousand_characters_takes_no_memory(tmp_path):
    rows = [{"segment": [0, 1], "score": 0.5, "label": "x"}] * 20_000 + [
        {"segment": [0, 1], "score": 1, "label": "y" * 10**5}
    ]
    write(tmp_path / "r.json", {"results": {"a": rows}})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="r.json: a name of 100000 characters, 'yyy.*; at most 1000 are read"):
        load_results(tmp_path / "r.json")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("run\nwalk\n", ["run", "walk"]),
        ("0 run\n1 walk a dog\n", ["run", "walk a dog"]),
        ("2 walk\n1 run\n", ["run", "walk"]),
        ("50 salads\n", None),
        ("0,run\n1,walk\n", ["run", "walk"]),
        ("1. run\n2. walk\n", ["run", "walk"]),
        ("0: run\n1: walk\n", ["run", "walk"]),
        ("id\tname\n0\trun\n1\twalk\n", ["run", "walk"]),
        ("ID;Name\n1;walk\n0;run\n", ["run", "walk"]),
        ("id name\n0 run\n1 walk\n", None),
        (f"{'9' * 5000} run\n", None),
        ("run\n\nwalk\n", None),
        ("id,name\n1,walk\n0,run\n", ["run", "walk"]),
        ('["run", "walk"]', ["run", "walk"]),
        ('{"walk": 1, "run": 0}', ["run", "walk"]),
        ('{"0": "run", "1": "walk"}', ["run", "walk"]),
        ('{"0": "run", "2": "walk"}', None),
        ('["run", 3]', None),
    ],
)
def test_forms_of_class_names(tmp_path, text, names):
    file = tmp_path / ("names.json" if text[0] in "[{" else "names.txt")
    file.write_text(text)
    if names is not None:
        assert load_class_names(file) == names
        return
    with pytest.raises(ValueError, match=f"^{file}"):
        load_class_names(file)


# As other projects publish or produce them: true to format, made here.

TABLE = "video,numFrame,seconds,fps,rfps,subset,featureFrame\nv_a,1500,60.0,25.0,24.9,training,1488\n"
RUN = {"annotations": [{"segment": [5.0, 20.5], "label": "run"}]}
OFFICIAL = {
    "version": "VERSION 1.3",
    "taxonomy": [{"nodeId": 1, "nodeName": "run", "parentId": 0, "parentName": "Root"}],
    "database": {"a": {"duration": 60.0, "subset": "training", "resolution": "320x240", "url": "https://x/a"} | RUN},
}
OPENTAD = {
    "version": "THUMOS14",
    "database": {"a": {"subset": "training", "duration": 60.0, "frame": 1500} | RUN},
}


def test_activitynets_own_file(tmp_path):
    write(tmp_path / "activity_net.v1-3.min.json", OFFICIAL)
    write(tmp_path / "video_info_new.csv", TABLE)
    assert load_activitynet(tmp_path / "activity_net.v1-3.min.json", subset="training").labels == ["run"]
    (record,) = load_annotations(
        "activitynet",
        tmp_path / "activity_net.v1-3.min.json",
        subset="training",
        video_info=tmp_path / "video_info_new.csv",
    )
    assert (record.video, record.duration_second, record.feature_frame) == ("v_a", 60.0, 1488)


def test_opentads_file_lacks_what_features_need_and_the_fix_works(tmp_path):
    write(tmp_path / "thumos_14_anno.json", OPENTAD)
    assert load_activitynet(tmp_path / "thumos_14_anno.json", subset="training").labels == ["run"]
    with pytest.raises(ValueError, match=r"'a' has no duration_second, .*it has \['subset', 'duration'"):
        load_annotations("activitynet", tmp_path / "thumos_14_anno.json")
    entry = OPENTAD["database"]["a"]
    entry = entry | {
        "duration_second": entry["duration"],
        "duration_frame": entry["frame"],
        "feature_frame": entry["frame"],
    }
    write(tmp_path / "fixed.json", {"database": {"a": entry}})
    assert len(load_annotations("activitynet", tmp_path / "fixed.json")) == 1


def test_results_of_bmn_and_of_detectors(tmp_path):
    write(tmp_path / "bmn.json", {"version": "ActivityNet Version 1.3", "external_data": "used",
                                  "results": {"a": [{"score": 0.9, "segment": [5, 20]}]}})  # fmt: skip
    assert load_results(tmp_path / "bmn.json").label is None
    write(
        tmp_path / "result_detection.json", {"results": {"a": [{"segment": [5.0, 20.5], "label": "run", "score": 0.9}]}}
    )
    write(tmp_path / "gt.json", OPENTAD)
    truth = load_activitynet(tmp_path / "gt.json")
    assert evaluate_detections(truth, load_results(tmp_path / "result_detection.json")).average_mAP == 1


def test_published_classifications(tmp_path):
    write(tmp_path / "cuhk_val_simp_share.json", {"class": ["run", "walk"], "results": {"a": [0.75, 0.25]}})
    names, scores = load_class_scores(tmp_path / "cuhk_val_simp_share.json")
    assert names == ["run", "walk"] and scores["a"].tolist() == [0.75, 0.25]


def test_a_list_of_kinetics_and_its_labels(tmp_path):
    write(tmp_path / "kinetics400_val_list_videos.txt", "jf7RDuUTrsQ.mp4 325\nJTlatknwOrY.mp4 233\n")
    assert len(load_annotations("videos", tmp_path / "kinetics400_val_list_videos.txt", num_classes=400)) == 2
    write(tmp_path / "label_map_k400.txt", "abseiling\nair drumming\nanswering questions\n")
    assert load_class_names(tmp_path / "label_map_k400.txt")[1] == "air drumming"


def test_ucf101_counts_its_labels_from_1_and_the_fix_works(tmp_path):
    rows = [("ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi", 1), ("YoYo/v_YoYo_g08_c01.avi", 101)]
    write(tmp_path / "trainlist01.txt", "".join(f"{name} {label}\r\n" for name, label in rows))
    with pytest.raises(
        ValueError, match="trainlist01.txt, line 2: .*first label is 0, so labels that count from 1 need 1"
    ):
        load_annotations("videos", tmp_path / "trainlist01.txt", num_classes=101)
    write(tmp_path / "fixed.txt", "".join(f"{name} {label - 1}\n" for name, label in rows))
    assert [r.label for r in load_annotations("videos", tmp_path / "fixed.txt", num_classes=101)] == [0, 100]
    write(tmp_path / "testlist01.txt", "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi\r\n")
    with pytest.raises(ValueError, match="testlist01.txt, line 1: .*expected 'FILE LABEL"):
        load_annotations("videos", tmp_path / "testlist01.txt", num_classes=101)


def test_something_something_names_no_files_and_the_fix_works(tmp_path):
    rows = [{"id": "78687", "label": "holding potato", "template": "Holding [something]", "placeholders": ["potato"]}]
    write(tmp_path / "train.json", rows)
    with pytest.raises(ValueError, match="train.json, entry 1: .*expected 'path or filename, label'"):
        load_annotations("videos", tmp_path / "train.json", num_classes=174)
    write(tmp_path / "labels.json", {"Approaching something with your camera": "0", "Holding [something]": "1"})
    assert load_class_names(tmp_path / "labels.json")[1] == "Holding [something]"
    write(tmp_path / "fixed.json", [{"filename": f"{row['id']}.webm", "label": 1} for row in rows])
    assert load_annotations("videos", tmp_path / "fixed.json", num_classes=174)[0].label == 1


def test_a_csv_without_a_header_and_the_fix_works(tmp_path):
    write(tmp_path / "train.csv", "videos/a.mp4 0\nvideos/b.mp4 1\n")  # as SlowFast's
    with pytest.raises(ValueError, match="line 1 must name the columns; it is .'videos/a.mp4 0'."):
        load_annotations("videos", tmp_path / "train.csv")
    (tmp_path / "train.csv").rename(tmp_path / "train.txt")
    assert [record.label for record in load_annotations("videos", tmp_path / "train.txt")] == [0, 1]
    write(tmp_path / "metadata.csv", "file_name,label\na.mp4,0\n")  # as of a folder on the hub
    with pytest.raises(
        ValueError,
        match="expected 'path or filename, label' .*line 1 must name the columns; it is .'file_name', 'label'",
    ):
        load_annotations("videos", tmp_path / "metadata.csv")
    write(tmp_path / "metadata.csv", "filename,label\na.mp4,0\n")
    assert len(load_annotations("videos", tmp_path / "metadata.csv")) == 1


def test_tag_proposals_with_the_folders_of_their_authors(tmp_path):
    path = write(
        tmp_path / "tag.txt", "# 0\n/data/frames/v_a\n300\n1\n1\n1 10 60\n2\n1 0.8 0.8 12 58\n1 0.1 0.2 100 150\n"
    )
    (record,) = load_annotations("ssn", path)
    assert record.video == "/data/frames/v_a" and record.proposals.size == 2


def test_pickles_are_not_read_and_the_fix_works(tmp_path):
    write(tmp_path / "result.pkl", b"\x80\x04\x95" + b"x" * 40)  # as test.py --out of MMAction2
    with pytest.raises(
        ValueError, match="result.pkl is not text, .*but a pickle of Python; save it as JSON, or .* as .npy"
    ):
        load_scores(tmp_path / "result.pkl", ["a"])
    np.save(tmp_path / "result.npy", np.eye(2))
    assert load_scores(tmp_path / "result.npy", ["a", "b"]).shape == (2, 2)


# Mutations.

LIST = "".join(f"clips/{name}.mp4 {k % 4}\n" for k, name in enumerate(("one", "two", "drei läuft", "four", "five x")))
RESULTS = {"version": "VERSION 1.3", "results": {
    video: [{"segment": [k, k + 4.5], "score": 0.9 - k / 10, "label": "run"} for k in range(3)] for video in ("a", "b")
}}  # fmt: skip
PROPOSALS = "".join(
    f"# {k}\nvideo_{k}\n300\n1\n1\n1 10 60\n2\n1 0.8000 0.9000 12 58\n0 0.0000 0.0000 100 150\n" for k in range(3)
)
table = lambda rows: "f0,f1,f2\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows)
of_records = lambda kind, **options: (
    lambda path: sorted(
        (r.path, str(np.asarray(r.label).tolist())) for r in load_annotations(kind, path, data_prefix="/d", **options)
    )
)
of_predictions = lambda path: sorted(
    zip(*(column.tolist() for column in (load_results(path)[1:]) if column is not None), strict=True), key=repr
)
skipped = lambda path: sorted(Quarantine(path.with_name("quarantine.jsonl"), num_records=1, skip=str(path))._left_out)


def of_thumos(path):
    truth = load_thumos14(path.parent, subset="test")
    return sorted(zip(truth.instances.label.tolist(), truth.instances.segments.tolist(), strict=True))


def of_config(path):
    return saved_config(path.parent).to_dict()


def of_ssn(path):
    return [
        (r.video, r.num_frames, r.ground_truth.segment.tolist(), r.proposals.best_iou.tolist())
        for r in load_annotations("ssn", path, data_prefix="/d")
    ]


def of_truth(path):
    truth = load_activitynet(path)
    return truth.videos, truth.labels, truth.instances.segments.tolist()


READERS = {
    "videos.txt": (LIST, of_records("videos", num_classes=4)),
    "videos.csv": ("path,label\n" + LIST.replace(" läuft", "").replace(" x", "").replace(" ", ","),
                   of_records("videos", num_classes=4)),
    "several.csv": ("path,label\na.mp4,0:0.5;1:0.5\nb.mp4,2:1\nc.mp4,1:0.25;3:0.75\n",
                    of_records("videos", num_classes=4)),
    "videos.json": (json.dumps([{"filename": f"{k}.mp4", "label": [k]} for k in range(4)], indent=1),
                    of_records("videos", num_classes=4, multi_class=True)),
    "frames.txt": ("a 30 0\nb/c 40 1\nd 50 2\n", of_records("rawframes", num_classes=4)),
    "anno.json": (json.dumps(DATABASE, indent=1),
                  lambda path: [r[1:] for r in load_annotations("activitynet", path, data_prefix="/d")]),
    "names.txt": ("1 run\n2 walk\n3 ride a bike\n", load_class_names),
    "names.csv": ("id,name\n0,run\n1,walk\n2,ride a bike\n", load_class_names),
    "names.json": (json.dumps({"run": 0, "walk": 1, "ride": 2}, indent=1), load_class_names),
    "proposals.txt": (PROPOSALS, of_ssn),
    "results.json": (json.dumps(RESULTS, indent=1), of_predictions),
    "truth.json": (json.dumps(DATABASE, indent=1), of_truth),
    "Run_test.txt": ("v_1 3.0 4.5\nv_2 1.0 9.25\n", of_thumos),
    "block.txt": ("v_a\nv_b x\n", lambda path: sorted(read_block_list(path))),
    "block.json": ('["v_a",\n"v_b"]\n', lambda path: sorted(read_block_list(path))),
    "classes.json": (json.dumps({"class": ["a", "b"], "results": {"v_x": [0.5, 0.25], "v_y": [1, 2]}}, indent=1),
                     lambda path: [(v, row.tolist()) for v, row in load_class_scores(path)[1].items()]),
    "scores.json": (json.dumps({"a.mp4": [0.5, 0.25], "b.mp4": [1, 2]}, indent=1),
                    lambda path: load_scores(path, ["a.mp4", "b.mp4"]).tolist()),
    "labels.txt": (LIST, load_labels),
    "labels.csv": ("path,label\na.mp4,3\nb c.mp4,1\n", load_labels),
    "labels.json": ('[{"filename": "a.mp4", "label": 3},\n{"path": "b c.mp4", "label": [1]}]', load_labels),
    "table.csv": (table(np.arange(12).reshape(4, 3) / 8), lambda path: read_table(path, columns=3).tolist()),
    "feature.csv": (table(np.arange(12).reshape(4, 3) / 8), lambda path: load_feature(path).tolist()),
    "skip.jsonl": ('{"path": "a.mp4", "reason": "x"}\n{"path": "b.mp4", "timeout": true}\n', skipped),
    "config.json": ('{"task": "bsn",\n"run": {"epochs": 3.5, "steps": [1, 2]}}\n', of_config),
}  # fmt: skip


@pytest.mark.parametrize("name", READERS)
def test_every_form_of_a_file_has_the_same_meaning(tmp_path, name):
    text, read = READERS[name]
    expected = None
    for form, data in same_meaning(text).items():
        (tmp_path / name).write_bytes(data)
        found = read(tmp_path / name)
        expected = expected or found
        assert found == expected, form


@pytest.mark.parametrize("name", READERS)
def test_a_mutated_file_is_read_or_refused_in_one_line(tmp_path, name):
    text, read = READERS[name]
    rng, before, refused = np.random.default_rng(0), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0
    for _ in range(2000):
        (tmp_path / name).write_bytes(mutated(text.encode(), rng, words=WORDS))
        refused += bool(answer(read, tmp_path / name))
        assert {path.name for path in tmp_path.iterdir()} <= {name, "quarantine.jsonl"}
    assert 50 < refused < 2000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # kB


ARRAYS = {
    "feature.npy": (lambda file: np.save(file, np.ones((4, 3), np.float32)), load_feature),
    "scores.npy": (lambda file: np.save(file, np.eye(3)), lambda path: load_scores(path, ["a", "b", "c"])),
    "scores.npz": (
        lambda file: np.savez_compressed(file, name=["a", "b"], scores=np.eye(2, dtype=np.float32), label=np.arange(2)),
        load_dump,
    ),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_mutated_arrays_are_read_or_refused_in_one_line(tmp_path, name):
    make, read = ARRAYS[name]
    with (tmp_path / name).open("wb") as file:
        make(file)
    data = (tmp_path / name).read_bytes()
    rng, before = np.random.default_rng(0), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told = []
    for _ in range(2000):
        (tmp_path / name).write_bytes(mutated(data, rng, words=WORDS))
        told.append(answer(read, tmp_path / name))
    assert 50 < sum(map(bool, told)) < 2000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # kB


def test_accuracy_of_a_permuted_list_is_the_same_and_of_a_doubled_one_an_error(tmp_path, capsys):
    names = [f"run/{k}.mp4" for k in range(6)]
    np.savez(tmp_path / "scores.npz", name=[f"/d/{name}" for name in names], scores=np.eye(6), label=np.arange(6))
    rows = [f"{name} {k}\n" for k, name in enumerate(names)]
    run = lambda: metrics(
        ["accuracy", "--json", f"--ground-truth={tmp_path / 'l.txt'}", f"--predictions={tmp_path / 'scores.npz'}"]
    )
    for order in (rows, rows[::-1], rows[3:] + rows[:3]):
        write(tmp_path / "l.txt", "".join(order))
        run()
        assert json.loads(capsys.readouterr().out)["top1_acc"] == 1
    write(tmp_path / "l.txt", "".join(rows + rows[:1]))
    with pytest.raises(SystemExit, match="the list has 'run/0.mp4' twice"):
        run()
