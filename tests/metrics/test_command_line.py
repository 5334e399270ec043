"""`python -m actjax.metrics` as a user types it."""

import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import TESTS

from actjax.literal import literal
from actjax.metrics.__main__ import main

ACTIVITYNET, THUMOS14 = TESTS / "annotations" / "activitynet_validation.json.gz", TESTS / "annotations" / "thumos14"
TRUTH = {"v_a": {"annotations": [{"segment": [0, 10], "label": "x"}, {"segment": [20, 30], "label": "y"}]}}


@pytest.fixture
def files(tmp_path):
    """Ground truth, and a result file with one perfect and one late detection."""
    rows = [{"segment": [0, 10], "score": 0.9, "label": "x"}, {"segment": [22, 32], "score": 0.8, "label": "y"}]
    (tmp_path / "gt.json").write_text(json.dumps(TRUTH))
    (tmp_path / "pred.json").write_text(json.dumps({"version": "VERSION 1.3", "results": {"a": rows}}))
    return ["--ground-truth", str(tmp_path / "gt.json"), "--predictions", str(tmp_path / "pred.json")]


def report(capsys, *arguments) -> dict:
    main([*arguments, "--json"])
    return json.loads(capsys.readouterr().out)


def test_activitynet_detection(files, capsys, tmp_path):
    numbers = report(capsys, "activitynet-detection", *files, "--plot", str(tmp_path / "ap.png"), "--per-class")
    assert numbers["mAP@0.50"] == 1.0 and numbers["mAP@0.95"] == 0.5  # IoU of the late one: 8 / 12
    assert numbers["average_mAP"] == pytest.approx((4 * 1 + 6 * 0.5) / 10)
    assert numbers["average_AP_per_class"] == pytest.approx({"x": 1.0, "y": 0.4})
    assert numbers["ground_truth"] == "gt.json, all subsets, block list none: 1 videos, 2 instances, 2 classes"
    assert (tmp_path / "ap.png").read_bytes().startswith(b"\x89PNG")


def test_classes_of_any_name_are_printed_as_they_stand(tmp_path, capsys):
    """As markup they ended the program after all was computed; a terminal obeys some."""
    names = ["[/x]", "[bold]run", "walk [left]", "c", r"$\alpha$", "\x1b[2J", "two\nlines"]
    row = {"segment": [0, 10], "score": 0.9}
    truth = {"v_a": {"annotations": [row | {"label": name} for name in names]}}
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    (tmp_path / "pred.json").write_text(json.dumps({"results": {"a": [row | {"label": name} for name in names]}}))
    files = ("--ground-truth", str(tmp_path / "gt.json"), "--predictions", str(tmp_path / "pred.json"))
    main(["activitynet-detection", *files, "--per-class", "--plot", str(tmp_path / "ap.png")])
    shown = capsys.readouterr().out
    assert all(literal(name, lines=False) in shown for name in names) and "\x1b" not in shown
    with pytest.raises(SystemExit, match=r"error: .*absent\\x1b\[2J"):
        main(["activitynet-detection", "--ground-truth", "absent\x1b[2J", "--predictions", "absent"])


def test_activitynet_proposals(files, capsys, tmp_path):
    numbers = report(capsys, "activitynet-proposals", *files, "--plot", str(tmp_path / "ar.png"))
    assert numbers["AR@100"] == pytest.approx(0.7) and numbers["recall@100, tIoU 0.50"] == 1.0
    assert (tmp_path / "ar.png").read_bytes().startswith(b"\x89PNG")


def test_thumos14_names_its_variant(capsys, tmp_path):
    lines = (THUMOS14 / "Billiards_test.txt").read_text().splitlines()
    results = {}
    for line in lines:
        video, start, end = line.split()
        entry = {"segment": [float(start), float(end)], "score": 1.0, "label": "Billiards"}
        results.setdefault(video, []).append(entry)
    (tmp_path / "pred.json").write_text(json.dumps({"results": results}))
    arguments = ["thumos14", "--ground-truth", str(THUMOS14), "--predictions", str(tmp_path / "pred.json")]
    numbers = report(capsys, *arguments, "--cliff-diving", "diving", "--ambiguous", "ignore", "--per-class")
    assert "ambiguous rows: ignore, CliffDiving rows: diving" in numbers["ground_truth"]
    assert numbers["average_AP_per_class"]["Billiards"] == 1.0
    assert numbers["mAP@0.10"] == numbers["mAP@0.90"] == pytest.approx(1 / 19)


def test_accuracy_fuses_models(capsys, tmp_path):
    (tmp_path / "list.txt").write_text("a 0\nb 1\n")
    np.save(tmp_path / "rgb.npy", [[0.6, 0.4], [0.6, 0.4]])
    np.save(tmp_path / "flow.npy", [[0.5, 0.5], [0.1, 0.9]])
    scores = [str(tmp_path / "rgb.npy"), str(tmp_path / "flow.npy")]
    arguments = ["accuracy", "--ground-truth", str(tmp_path / "list.txt"), "--predictions"]
    assert report(capsys, *arguments, scores[0])["top1_acc"] == 0.5
    assert report(capsys, *arguments, *scores, "--coefficients", "1", "1.5")["top1_acc"] == 1.0


def test_table_and_error_of_the_program(files, tmp_path):
    command = [sys.executable, "-m", "actjax.metrics", "activitynet-detection", *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "average_mAP" in done.stdout and "0.7000" in done.stdout
    (tmp_path / "pred.json").write_text('{"results": {"b": [{"segment": [0, 1], "score": 1, "label": "x"}]}}')
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith("error: pred.json: 1 videos, 'b' the first, are not in the ground truth")


def test_missing_matplotlib_says_what_to_install(files, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(SystemExit, match=r"pip install 'actjax\[plots\]'"):
        main(["activitynet-detection", *files, "--plot", str(tmp_path / "x.png")])


@pytest.fixture
def two_subsets(files, tmp_path):
    """Ground truth of two videos in MMAction2's format, a table of their subsets, and their results."""
    row = {"segment": [0, 10], "label": "x"}
    (tmp_path / "gt.json").write_text(json.dumps({f"v_{k}": {"annotations": [row]} for k in "ab"}))
    (tmp_path / "info.csv").write_text("video,subset\nv_a,training\nv_b,validation\n")
    (tmp_path / "blocked.txt").write_text("b\n")
    results = {"a": [row | {"score": 0.9}], "b": [row | {"score": 0.8, "segment": [50, 60]}]}
    (tmp_path / "pred.json").write_text(json.dumps({"results": results}))
    return files


@pytest.mark.parametrize(
    ("task", "number"), [("activitynet-detection", "mAP@0.50"), ("activitynet-proposals", "recall@100, tIoU 0.50")]
)
def test_which_videos_of_activitynet_count(task, number, two_subsets, capsys, tmp_path):
    arguments = [task, *two_subsets, "--unknown-videos", "drop"]
    table = ["--video-info", str(tmp_path / "info.csv")]
    assert 0 < report(capsys, *arguments)[number] < 1
    assert report(capsys, *arguments, *table, "--subset", "training")[number] == 1
    assert report(capsys, *arguments, *table, "--subset", "validation")[number] == 0
    assert report(capsys, *arguments, "--block-list", str(tmp_path / "blocked.txt"))[number] == 1


def test_which_videos_of_thumos14_count(capsys, tmp_path):
    (tmp_path / "truth").mkdir()
    for subset, videos in (("test", "12"), ("val", "3")):
        names = [f"video_{'test' if subset == 'test' else 'validation'}_000000{k}" for k in videos]
        for label in ("Billiards", "Diving"):
            (tmp_path / "truth" / f"{label}_{subset}.txt").write_text("".join(f"{name} 0.0 9.0\n" for name in names))
    rows = [{"segment": [0.0, 9.0], "score": 1.0, "label": label} for label in ("Billiards", "Diving")]
    (tmp_path / "pred.json").write_text(json.dumps({"results": {"video_test_0000001": rows, "elsewhere": rows}}))
    (tmp_path / "blocked.txt").write_text("video_test_0000002\n")
    arguments = ["thumos14", "--ground-truth", str(tmp_path / "truth"), "--predictions", str(tmp_path / "pred.json")]
    with pytest.raises(SystemExit, match="elsewhere"):
        main(arguments)
    arguments += ["--unknown-videos", "drop", "--plot", str(tmp_path / "ap.png")]
    plain = report(capsys, *arguments)
    assert (tmp_path / "ap.png").read_bytes().startswith(b"\x89PNG")
    blocked = report(capsys, *arguments, "--block-list", str(tmp_path / "blocked.txt"))
    assert plain["mAP@0.50"] < blocked["mAP@0.50"] == 1
    assert report(capsys, *arguments, "--subset", "val")["mAP@0.50"] == 0


def test_accuracy_of_folders_of_frames(capsys, tmp_path):
    (tmp_path / "list.txt").write_text("run/0 120 1\nrun/1 7 0\n")
    np.savez(tmp_path / "scores.npz", name=["/d/run/1", "/d/run/0"], scores=np.eye(2), label=[0, 1])
    files = [f"--ground-truth={tmp_path / 'list.txt'}", f"--predictions={tmp_path / 'scores.npz'}"]
    assert report(capsys, "accuracy", *files, "--rawframes")["top1_acc"] == 1


def test_labels_that_a_run_knows_otherwise_are_a_warning(capsys, tmp_path, caplog):
    (tmp_path / "list.txt").write_text("0.mp4 1\n1.mp4 0\n")
    np.savez(tmp_path / "scores.npz", name=["/d/0.mp4", "/d/1.mp4"], scores=np.eye(2), label=[0, 1])
    files = [f"--ground-truth={tmp_path / 'list.txt'}", f"--predictions={tmp_path / 'scores.npz'}"]
    assert report(capsys, "accuracy", *files)["top1_acc"] == 0
    assert "scores.npz has other labels of 2 of 2 videos: of 0.mp4 [0], in the list [1]" in caplog.text


@pytest.mark.parametrize("coefficients", [["1", "nan"], ["1"], ["1", "inf"]])
def test_coefficients_are_finite_numbers_one_for_each_file(tmp_path, coefficients):
    (tmp_path / "list.txt").write_text("0.mp4 1\n")
    np.save(tmp_path / "s.npy", np.eye(2)[:1])
    files = [
        f"--ground-truth={tmp_path / 'list.txt'}",
        "--predictions",
        str(tmp_path / "s.npy"),
        str(tmp_path / "s.npy"),
    ]
    with pytest.raises(SystemExit, match="--coefficients .*: 2 files of scores need as many finite numbers"):
        main(["accuracy", *files, "--coefficients", *coefficients])


def test_accuracy_of_several_labels(capsys, tmp_path):
    (tmp_path / "list.txt").write_text("a 0 1\nb 1\n")
    np.save(tmp_path / "scores.npy", [[0.6, 0.4], [0.1, 0.9]])
    arguments = [
        "accuracy",
        "--ground-truth",
        str(tmp_path / "list.txt"),
        "--predictions",
        str(tmp_path / "scores.npy"),
    ]
    assert report(capsys, *arguments, "--multi-label")["mAP_over_classes"] == 1.0
