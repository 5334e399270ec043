"""Data and workdirs in an object store: gs:// is a stand-in that speaks its protocol."""

import importlib.util
import json
import subprocess
import time

import cli
import numpy as np
import object_store
import pytest
from lines import SETTINGS, Killed, dying_data, line_data, line_task, optimizer, rows
from ml_collections import ConfigDict

from actjax import paths, workdir
from actjax.data.datasets import features
from actjax.data.datasets.annotations import load_annotations, load_class_names, save_annotations
from actjax.data.loading.order import Shard
from actjax.data.loading.quarantine import Quarantine
from actjax.data.samples.shapes import make_shapes
from actjax.tasks.loading import quarantine_file
from actjax.tasks.recognition.browsing import save_png
from actjax.training import restore_variables, train
from actjax.training.reporting import Report
from actjax.video.errors import VideoError, VideoTimeout
from actjax.video.finding import find_videos

pytestmark = pytest.mark.skipif(importlib.util.find_spec("gcsfs") is None, reason="pip install gcsfs")


@pytest.fixture(scope="module")
def store():
    with object_store.serving() as store:
        yield store


@pytest.fixture
def bucket(store):
    """An empty bucket."""
    store.objects.clear()
    return paths.to_path(f"gs://{object_store.BUCKET}")


def test_local_paths_stay_local(tmp_path):
    assert paths.to_path(tmp_path, "a") == tmp_path / "a" and type(paths.to_path("a")) is type(tmp_path)
    spool = paths.Spool(tmp_path)
    assert spool.path is tmp_path and spool.file("log") == tmp_path / "log"
    for text in ("one\n", "two\n"):
        paths.append(spool.file("log"), text)
    spool.upload()
    assert [file.name for file in tmp_path.iterdir()] == ["log"] and (tmp_path / "log").read_text() == "one\ntwo\n"


def test_urls_that_cannot_be_used_say_what_to_do(monkeypatch):
    with pytest.raises(ValueError, match=r"ftp://a/b: must be a local path, or .*'gs'.*; copy it first"):
        paths.to_path("ftp://a/b")
    with pytest.raises(ValueError, match=r"^--out gs://a/b must be a local path; copy it"):
        paths.local("gs://a/b", "--out")
    monkeypatch.setattr(paths, "PACKAGES", {"s3": "no_such_package"})
    with pytest.raises(
        ValueError, match=r"needs \['no_such_package'\]; pip install 'actjax\[remote\]' no_such_package"
    ):
        paths.to_path("s3://bucket/list.txt")


def test_lists_and_class_names(bucket):
    (bucket / "lists" / "train.txt").write_text("a.mp4 0\ngs://other/b.mp4 1\n")
    (bucket / "lists" / "classes.txt").write_text("run\njump\n")
    records = load_annotations("videos", "gs://bucket/lists/train.txt")
    assert [record.path for record in records] == ["gs://bucket/lists/a.mp4", "gs://other/b.mp4"]
    assert load_class_names("gs://bucket/lists/classes.txt") == ["run", "jump"]
    save_annotations(records, "gs://bucket/clean.csv")
    assert load_annotations("videos", "gs://bucket/clean.csv") == records
    with pytest.raises(FileNotFoundError, match="gs://bucket/lists/val.txt does not exist"):
        load_annotations("videos", "gs://bucket/lists/val.txt")


def test_features(bucket):
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    (bucket / "features" / "b.csv").write_text("x,y,z\n" + "".join(",".join(map(str, row)) + "\n" for row in table))
    with (bucket / "features" / "a.npy").open("wb") as file:
        np.save(file, table)
    source = features.open_features("gs://bucket/features")
    assert source.among("abc") == {"a", "b"}
    for name in "ab":
        np.testing.assert_array_equal(source.read(name), table.T)


def test_a_prepared_set_is_to_be_copied(bucket):
    (bucket / "set" / "index" / "train.json").write_text("{}")
    for read in (lambda: load_annotations("prepared", "gs://bucket/set", split="train"),
                 lambda: features.open_features("gs://bucket/set", split="train")):  # fmt: skip
        with pytest.raises(ValueError, match="^the prepared set in gs://bucket/set must be a local path; copy it"):
            read()


def test_videos_of_a_folder(bucket):
    for name in ("b.mp4", "a.mp4", "list.txt"):
        (bucket / "videos" / name).write_text("x")
    assert list(map(str, find_videos("gs://bucket/videos").files)) == [f"gs://bucket/videos/{x}.mp4" for x in "ab"]
    assert list(map(str, find_videos("gs://bucket/vid*/b*").files)) == ["gs://bucket/videos/b.mp4"]


def test_quarantine_grows_and_is_read_again(bucket):
    file = bucket / "run" / "quarantine.jsonl"
    quarantine = Quarantine(file, num_records=2, max_share=1.0)
    quarantine.add(VideoError("a.mp4", "broken"))
    quarantine.add(VideoTimeout("b.mp4", "took too long"))
    again = Quarantine(file, num_records=2, max_share=1.0)
    assert again.files == {"a.mp4", "b.mp4"} and again.skips("b.mp4") and not again.skips("a.mp4")
    skipping = Quarantine("none.jsonl", num_records=2, skip="gs://bucket/run/quarantine.jsonl")
    assert skipping.skips("a.mp4")


def test_hosts_do_not_overwrite_each_others_quarantine(tmp_path, bucket):
    assert quarantine_file(tmp_path, Shard(1, 2)) == tmp_path / "quarantine.jsonl"
    assert quarantine_file(bucket, Shard(0, 1)) == bucket / "quarantine.jsonl"
    assert quarantine_file(bucket, Shard(1, 2)).name == "quarantine-00001-of-00002.jsonl"


def test_files_of_a_run(bucket, caplog):
    run = bucket / "run"
    for epochs in (1, 2):
        workdir.save_description(run, ConfigDict({"epochs": epochs}), ["x", "y"])
    assert json.loads((run / "config.json").read_text()) == {"epochs": 2}
    assert json.loads((run / "config.json.old").read_text()) == {"epochs": 1}
    workdir.save_scores(run / "scores.npz", ["a"], np.ones((1, 2)), np.array([1]))
    with (run / "scores.npz").open("rb") as file:
        assert np.load(file)["scores"].shape == (1, 2)
    workdir.save_results(run, "results", {"top1": 0.5, "confusion": np.eye(2)}, ["x", "y"])
    assert (run / "confusion.csv").read_text().splitlines()[1] == "x,1.0,0.0"
    matrix = [[1, 0], [0, 1]]  # as evaluations return it
    workdir.save_results(run, "results", {"[bold]top1": 0.5, "own/confusion": matrix}, ["[/x]", "[bold]y"])
    assert (run / "own_confusion.csv").read_text().splitlines()[1] == "[/x],1,0"
    save_png(run / "browse.png", np.zeros((4, 4, 3), np.uint8))
    assert (run / "browse.png").read_bytes()[1:4] == b"PNG"


def test_report_uploads_what_changed(bucket):
    (bucket / "run" / "metrics.jsonl").write_text('{"step": 1, "split": "train"}\n{"step": 2, "sp')
    report = Report(bucket / "run", first_step=1, steps=4, batch_size=8)
    report.evaluation(2, 0.5, {"loss": 1.0})
    assert len((bucket / "run" / "metrics.jsonl").read_text().splitlines()) == 2  # not yet
    report.upload()
    assert [row["split"] for row in map(json.loads, (bucket / "run" / "metrics.jsonl").read_text().splitlines())] == [
        "train",
        "val",
    ]
    report.close()


def test_killed_training_goes_on(bucket):
    """As `test_resume_continues_and_forgets_what_it_repeats`, with all of the run behind a URL."""

    run, settings, asked = bucket / "run", SETTINGS._replace(log_every=1), []
    with pytest.raises(Killed):
        train(line_task(), dying_data(7), optimizer, settings, run)
    metrics = train(line_task(), line_data(asked), optimizer, settings, run)
    assert asked[0] == 6
    assert [row["step"] for row in rows(run, "train")] == list(range(1, 11))
    assert any(file.name.startswith("events.out.tfevents") for file in run.iterdir())
    best = min(rows(run, "val"), key=lambda row: row["loss"])["step"]
    for which, step in (("latest", 10), ("best", best)):
        assert restore_variables(line_task(), settings, run, which)[1] == step
    assert restore_variables(line_task(), settings, run, "latest")[0]["params"]["w"] > 0
    assert metrics["num_videos"] == 20


@pytest.mark.slow  # training until it is killed, the rest of it, evaluation, a refusal: a process each
def test_command_line(bucket, store, tmp_path):
    """Videos, lists and the run in a bucket: train, kill, go on, evaluate."""
    shapes = make_shapes(tmp_path / "shapes", num_train=32, num_val=16, processes=2)
    for file in shapes.rglob("*"):
        if file.is_file():
            store.objects[f"shapes/{file.relative_to(shapes)}"] = next(store.generation), file.read_bytes()
    lists = {split: f"gs://bucket/shapes/{split}.txt" for split in ("train", "val")}
    config = tmp_path / "remote.py"
    config.write_text(
        f"""
import sys
sys.path.insert(0, {str(cli.ROOT / "configs")!r})
import tsm_shapes
from ml_collections import ConfigDict

def get_config():
    config = tsm_shapes.get_config()
    names = "gs://bucket/shapes/classes.txt"
    config.data = ConfigDict(dict(name="videos", train={lists["train"]!r}, val={lists["val"]!r}, class_names=names))
    return config
"""
    )
    train = [f"--config={config}", "--workdir=gs://bucket/run", "--config.run.batch_size=8", "--config.run.epochs=2.0",
             "--config.run.log_every=1", "--config.model.width=8", "--config.run.save_every=2"]  # fmt: skip
    log = (tmp_path / "log").open("w+")
    process = subprocess.Popen(cli.command(*train), cwd=cli.ROOT, env=cli.environment(tmp_path), stdout=log, stderr=log)
    deadline = time.monotonic() + 200
    while "run/checkpoints/2/commit_success.txt" not in store.objects:
        assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
        time.sleep(0.1)
    process.kill()
    process.wait(timeout=30)
    assert "steps 1 to 8 " not in cli.run(*train, cache=tmp_path)
    names = {file.name for file in (bucket / "run").iterdir()}
    assert {"config.json", "metrics.jsonl", "results.json", "confusion_matrix.csv"} <= names
    assert "step 8/8" in (bucket / "run" / "train.log").read_text()
    assert [row["step"] for row in rows(bucket / "run", "train")] == list(range(1, 9))
    cli.run("--workdir=gs://bucket/run", "--mode=eval", cache=tmp_path)
    assert json.loads((bucket / "run" / "results_eval.json").read_text())["num_videos"] == 16
    refused = cli.run("--workdir=gs://bucket/run", "--mode=export", "--out=gs://bucket/a.pth", cache=tmp_path, status=1)
    assert "error: --out gs://bucket/a.pth must be a local path" in refused
