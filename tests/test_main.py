"""The command line, from an empty folder to predictions."""

import functools
import json
import pathlib
import re
import shutil

import av
import cv2
import numbered
import numpy as np
import pytest
from cli import ROOT, SMALL, run

from actjax.data.samples.shapes import make_shapes


@pytest.fixture(scope="module")
def trained(tmp_path_factory, cache):
    workdir = tmp_path_factory.mktemp("runs") / "small"
    return workdir, run(*SMALL, f"--workdir={workdir}", cache=cache)


def test_run_leaves_what_it_promises(trained):
    workdir, output = trained
    results = json.loads((workdir / "results.json").read_text())
    assert {
        "top1_acc",
        "top5_acc",
        "mean_class_accuracy",
        "num_videos",
        "num_broken",
        "bn",
        "decoder",
        "seconds",
    } <= results.keys()
    assert results["decoder"] == f"av {av.__version__}"
    assert results["num_videos"] == 40 and results["num_broken"] == 0
    matrix = [line.split(",") for line in (workdir / "confusion_matrix.csv").read_text().splitlines()]
    counts = np.array([row[1:] for row in matrix[1:]], int)
    assert counts.sum() == 40 and matrix[0][1] == "moving right"
    assert np.trace(counts) / 40 == pytest.approx(results["top1_acc"])
    config = json.loads((workdir / "config.json").read_text())
    assert config["run"]["batch_size"] == 8 and config["train"]["view"]["scales"] == [1.0, 0.875]
    environment = json.loads((workdir / "environment.json").read_text())
    assert environment["packages"]["jax"] and environment["devices"] == ["cpu"]
    assert environment["decoder"] == results["decoder"] and environment["packages"]["av"] == av.__version__
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if row["split"] == "train"] == list(range(1, 17))
    assert list(workdir.glob("events.out.tfevents.*"))
    for words in (
        "parameter groups",
        "MB per device",
        "clips/s",
        "eta",
        "data wait",
        "top1_acc",
        "checkpoints",
        "train.log",
    ):
        assert words in output
    assert "Warning" not in output and "Traceback" not in output
    assert "step 16/16" in (workdir / "train.log").read_text()


def test_eval_of_the_checkpoint_repeats_the_numbers(trained, cache):
    workdir, _ = trained
    output = run(
        "--mode=eval", f"--workdir={workdir}", "--checkpoint=latest", cache=cache
    )  # the config is the run's own
    trained_results, results = (
        json.loads((workdir / f"{name}.json").read_text()) for name in ("results", "results_eval")
    )
    for name in ("top1_acc", "top5_acc", "mean_class_accuracy", "num_videos"):
        assert results[name] == trained_results[name]
    assert results["step"] == 16 and "top1_acc" in output


def test_predict_a_folder_with_a_broken_file(trained, cache, media, tmp_path):
    workdir, _ = trained
    for name in ("test.mp4", "test.avi"):
        shutil.copy(media / name, tmp_path)
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "broken.mp4").write_text("no video")
    (tmp_path / "[bold]x\x1b[2J\ny.mp4").write_text("no video")
    output = run("--mode=predict", f"--workdir={workdir}", f"--video={tmp_path}", cache=cache, columns=300)
    assert r"[bold]x\x1b[2J\ny.mp4" in output and "\x1b[2J" not in output
    rows = [json.loads(line) for line in (workdir / "predictions.jsonl").read_text().splitlines()]
    assert [row["video"].rpartition("/")[2] for row in rows] == [
        "[bold]x\x1b[2J\ny.mp4", "broken.mp4", "test.avi", "test.mp4"
    ]  # fmt: skip
    assert "error" in rows[0] and "error" in rows[1] and "cannot be decoded" in output
    for row in rows[2:]:
        scores = [best["score"] for best in row["predictions"]]
        assert len(scores) == 5 and scores == sorted(scores, reverse=True) and 0 < sum(scores) <= 1.0001
        assert row["predictions"][0]["class"] in output


def test_predictions_go_where_they_are_asked_for(trained, cache, media, tmp_path):
    workdir, _ = trained
    video = tmp_path / f"{'long-' * 12}[take1].mp4"
    shutil.copy(media / "test.mp4", video)
    arguments = (f"--workdir={workdir}", f"--video={video}", "--topk=2")
    output = run("--mode=predict", *arguments, f"--out={tmp_path}/new/found.jsonl", cache=cache, columns=60)
    (row,) = map(json.loads, (tmp_path / "new" / "found.jsonl").read_text().splitlines())
    assert row["video"] == str(video) and len(row["predictions"]) == 2
    cells = [line.split("│")[1].strip() for line in output.splitlines() if line.count("│") == 4]
    assert "".join(cells) == str(video)  # over several lines, with its brackets
    output = run("--mode=predict", *arguments, f"--out={tmp_path}", cache=cache, status=1)
    assert f"error: --out={tmp_path}: predictions are JSON lines; give a file whose name ends in .jsonl" in output


@pytest.mark.parametrize("hidden", ["", "decord"])
def test_a_saved_run_that_names_decord_is_read_by_pyav_where_decord_cannot(trained, cache, media, tmp_path, hidden):
    """Runs of earlier versions name it; decord refuses the packed file, or is not there at all."""
    workdir, _ = trained
    old, videos = tmp_path / "old", tmp_path / "videos"
    shutil.copytree(workdir, old)
    config = json.loads((old / "config.json").read_text())
    assert config["train"]["backend"] == "pyav"
    for section in ("train", "eval"):
        config[section]["backend"] = "decord"
    (old / "config.json").write_text(json.dumps(config))
    videos.mkdir()
    for name in "ab":
        numbered.write(videos / f"{name}.ts", "libx264", container="mpegts")
        (videos / f"{name}.ts").rename(videos / f"{name}.mkv")
    shutil.copy(media / "test.mp4", videos)
    output = run("--mode=predict", f"--workdir={old}", f"--video={videos}", cache=cache, hidden=hidden)
    rows = [json.loads(line) for line in (old / "predictions.jsonl").read_text().splitlines()]
    assert len(rows) == 3 and not any("error" in row for row in rows)
    warning = "decord is not installed" if hidden else "decord cannot read some videos exactly"
    assert output.count(f"{warning}; falling back to pyav") == output.count("decord") == 1
    run("--mode=eval", f"--workdir={old}", cache=cache, hidden=hidden)
    results = json.loads((old / "results_eval.json").read_text())
    assert f"av {av.__version__}" in results["decoder"]


def test_scores_of_runs_are_fused_from_the_command_line(trained, cache, tmp_path):
    """The dump of an evaluation gives its accuracy again, alone and with another that counts nothing."""
    from actjax.metrics.__main__ import main as score

    workdir, _ = trained
    run("--mode=eval", f"--workdir={workdir}", "--protocol=eval", cache=cache)
    results = json.loads((workdir / "results_eval.json").read_text())
    dump = dict(np.load(workdir / "scores.npz"))
    assert dump["scores"].shape == (40, 8) and results["protocol"] == "eval"
    flow = {**dump, "name": [f"flow/{pathlib.Path(name).stem}" for name in dump["name"]]}
    flow["scores"] = np.eye(8)[dump["label"]]  # a perfect network
    order = np.random.default_rng(0).permutation(40)
    np.savez(tmp_path / "flow.npz", **{key: np.asarray(value)[order] for key, value in flow.items()})

    def accuracy(*coefficients):
        from contextlib import redirect_stdout
        from io import StringIO

        with redirect_stdout(StringIO()) as printed:
            files = (str(workdir / "scores.npz"), str(tmp_path / "flow.npz"))[: len(coefficients)]
            score(["accuracy", "--json", "--predictions", *files, "--coefficients", *map(str, coefficients)])
        return json.loads(printed.getvalue())["top1_acc"]

    assert accuracy(1) == accuracy(1, 0) == pytest.approx(results["top1_acc"])
    assert accuracy(1, 5) == 1.0


def test_export_and_import_of_a_run(trained, cache, media, tmp_path):
    """A trained run leaves as a file and comes back: the same answers for a real video, the same file again."""
    from actjax.interop.importing import read_tensors

    workdir, _ = trained
    again, files = tmp_path / "again", [str(tmp_path / name) for name in ("run.pth", "again.safetensors")]
    run("--mode=export", f"--workdir={workdir}", f"--out={files[0]}", cache=cache)
    arguments = ("--mode=import", *SMALL, f"--workdir={again}", f"--from={files[0]}")
    output = run(*arguments, "--ema", cache=cache, status=1)
    assert "run.pth: has no averaged (EMA) weights" in output and "Traceback" not in output
    assert "62 tensors in the layout of MMAction2" in run(*arguments, "--noema", cache=cache)
    output = run(*arguments, cache=cache, status=1)
    assert "already holds checkpoints" in output and "Traceback" not in output
    run("--mode=export", f"--workdir={again}", f"--out={files[1]}", cache=cache)
    first, second = map(read_tensors, files)
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    for place in (workdir, again):
        run("--mode=predict", f"--workdir={place}", f"--video={media / 'test.mp4'}", cache=cache)
    assert (workdir / "predictions.jsonl").read_text() == (again / "predictions.jsonl").read_text()


def test_training_starts_from_a_file_and_goes_on_from_an_import(trained, cache, tmp_path):
    workdir, _ = trained
    run("--mode=export", f"--workdir={workdir}", f"--out={tmp_path}/file.pth", cache=cache)
    source = (ROOT / "configs" / "tsm_shapes.py").read_text()
    section = f'load_from=dict(path="{tmp_path}/file.pth"), loss=dict(label_smoothing=0.1), train='
    source = source.replace("            train=", f"            {section}")
    (tmp_path / "config.py").write_text(source.replace("dropout=0.0,", "dropout=0.0, norm_eval=True,"))
    small = [
        f"--config={tmp_path}/config.py",
        *SMALL[1:],
        "--config.run.epochs=0.125",
        "--config.optim.lr=0.0",
    ]  # nothing moves
    output = run(*small, f"--workdir={tmp_path}/run", cache=cache)
    assert "file.pth: 62 tensors in the layout of MMAction2" in output
    trained_results, results = (json.loads((w / "results.json").read_text()) for w in (workdir, tmp_path / "run"))
    assert results["top1_acc"] == trained_results["top1_acc"]
    run("--mode=import", *small, f"--workdir={tmp_path}/other", f"--from={tmp_path}/file.pth", cache=cache)
    output = run(*small, f"--workdir={tmp_path}/other", cache=cache)
    assert "tensors in the layout" not in output  # it goes on from step 0 of the import
    assert json.loads((tmp_path / "other" / "results.json").read_text())["top1_acc"] == trained_results["top1_acc"]


def test_prediction_of_one_file_is_the_evaluations(trained, cache, shapes):
    """The same protocol: a file predicted alone scores as it does inside an evaluation."""
    import jax

    from actjax.data.datasets.annotations import load_annotations
    from actjax.data.loading.batches import Loader, eval_batches
    from actjax.data.loading.quarantine import Quarantine
    from actjax.tasks import build
    from actjax.tasks.recognition.trained import make_predictor

    workdir, _ = trained
    experiment = build(json.loads((workdir / "config.json").read_text()))
    variables, _ = experiment.network.restore(workdir, "latest")
    predict = jax.jit(experiment.network.task.predict)
    predictor = make_predictor(experiment, variables, [str(k) for k in range(8)])
    records = load_annotations("videos", shapes / "val.txt")[:8]
    quarantine = Quarantine(workdir / "none.jsonl", num_records=8)
    passes = eval_batches(records, experiment.eval_clips, batch_size=8, quarantine=quarantine, loader=Loader(0))
    scores = np.asarray(predict(variables, next(next(passes)))["scores"])
    passes.close()
    for record, row in zip(records, scores, strict=True):
        for best in predictor.predict(record.path):
            assert best["score"] == pytest.approx(float(row[best["label"]]), rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mode=train"], "--config=RECIPE or --config=FILE.py is missing"),
        (["--config.run.epochs=1"], "no --config, and no .*config.json"),
        (["--config=configs/tsm_shapes.py", "--devices=4"], "--devices works only with --mode=explain"),
        (["--config=tsm_shapes", "--topk=3"], "--topk works only with --mode=predict, not with --mode=train"),
        (
            ["--mode=eval", "--workdir=docs", "--out=x"],
            "--out works only with --mode=predict or localize or extract or export or",
        ),
        (
            ["--config=tsm_shapes", "--checkpoint=best"],
            "--checkpoint works only with --mode=eval or predict or localize or extract",
        ),
        (["--mode=eval"], "needs --workdir"),
        (["--mode=quarantine"], "needs --workdir"),
        (
            ["--mode=eval", "--workdir=docs", "--checkpoint="],
            "--checkpoint= is empty; give it a value, or leave it out",
        ),
        (["--config=tsm_shapes", "--clear=all"], "--clear works only with --mode=quarantine"),
        (["--mode=eval", "--workdir=nowhere"], "needs --workdir, the folder of a trained run; nowhere is no folder"),
        (["--mode=eval", "--workdir=docs"], "no --config, and no docs/config.json"),
        (["--mode=predict", "--workdir=nowhere"], "needs --video"),
        (
            ["--config=configs/tsm_shapes.py", "--config.train.view.siz=3"],
            "train.view.'siz' is unknown; did you mean 'size'",
        ),
        (
            ["--config=configs/tsm_shapes.py", "--config.run.emma=0.9"],
            "config.run.'emma' is unknown; did you mean 'ema'",
        ),
        (
            ["--config=configs/tsm_shapes.py", "--config.optim.nesterov=maybe"],
            "--config.optim.nesterov=maybe: expected true or false",
        ),
        (["--config=configs/tsm_shape.py"], "^error: config file configs/tsm_shape.py does not exist"),
        (
            ["--config=configs/tsm_shape.py", "--config.run.epochs=1"],
            "^error: config file configs/tsm_shape.py does not exist",
        ),
        (["--config=tsm_shape"], r"^error: recipe 'tsm_shape' is unknown; did you mean 'tsm_shapes'\? .*\n$"),
        (["--config", "tsm_shapes:tms"], "'tms' is unknown; did you mean 'tsn'"),
        (["--config=elsewhere/tsm_shapes.py:tsn"], "a recipe has a bare name, --config=tsm_shapes:tsn$"),
        (["--config=configs/tsm_shapes.py:tms"], "'tms' is unknown; did you mean 'tsn'"),
        (["--config=configs/tsm_shapes.py", "--config.model.name=TMS"], "model.name='TMS' is unknown; did you mean"),
        (
            ["--config=configs/tsm_r50_video_1x1x8_50e_kinetics400_rgb.py"],
            r"load_from.path=checkpoints/resnet50-19c8e357.pth does not exist",
        ),
        (["--mode=import"], "--mode=import needs --from=FILE"),
        (["--mode=export", "--workdir=docs"], "--mode=export needs --out=FILE.pth"),
        (
            ["--config=configs/tsm_r50_video_1x1x8_50e_kinetics400_rgb.py:scratch"],
            "kinetics400_train_list_videos.txt does not exist",
        ),
        (["--config=configs/tsm_shapes.py", "stray"], "unknown arguments"),
        (["--config=configs/tsm_shapes.py", "--distributed=h:1,2"], "--distributed=h:1,2: expected HOST:PORT,N,I or"),
        (["--mode=train", "--distributed=h:1,2,0"], "needs --workdir, the same folder for all processes"),
        (["--mode=browse", "--distributed=h:1,2,0"], "--mode=browse runs in one process; remove --distributed="),
        (["--config=configs/tsm_shapes.py", "--heartbeat=5"], "--heartbeat=5: 5 is not integer >= 10"),
    ],
)
def test_wrong_calls_end_at_once_with_one_clear_message(arguments, message, cache, tmp_path):
    workdir = [] if any("workdir" in a or a.startswith("--mode") for a in arguments) else [f"--workdir={tmp_path}/run"]
    output = run(*arguments, *workdir, cache=cache, status=1, timeout=60)
    assert re.search(message, output), output
    assert "Traceback" not in output


def test_too_many_broken_videos_are_one_line_and_repaired_ones_train_again(cache, tmp_path):
    arguments = (*SMALL, f"--config.data.folder={tmp_path / 'set'}", f"--workdir={tmp_path / 'run'}")
    folder = make_shapes(tmp_path / "set", num_train=64, num_val=40, processes=1)
    videos = sorted((folder / "videos").glob("train_*"))[:7]
    whole = [video.read_bytes() for video in videos]
    for video in videos:
        video.write_bytes(b"no video")
    for _ in range(2):  # it does not go a little further each time
        output = run(*arguments, cache=cache, status=1)
        told = r"^error: 6 of 104 videos cannot be decoded, more than loader.max_broken=0.05 .* raise"
        assert re.search(told, output, re.M)
        assert "Traceback" not in output and output.count("error: ") == 1
    for video, content in zip(videos, whole, strict=True):
        video.write_bytes(content)
    run(*arguments, cache=cache)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["num_broken_val"] == 0 and results["num_broken_train"] == 6  # listed, and not cleared


def test_a_quarantine_is_shown_and_cleared(tmp_path, cache):
    """In any folder that holds one: neither config nor checkpoint are needed."""
    names = ("[bold]slow.mp4", "broken.mp4", "odd\udcff.mp4")  # the last is no Unicode
    rows = [{"path": name, "reason": "why not", "timeout": name == names[0]} for name in names]
    listed = tmp_path / "quarantine.jsonl"
    listed.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"path": "to')
    call = functools.partial(run, "--mode=quarantine", f"--workdir={tmp_path}", cache=cache, timeout=60)
    table = call()
    assert re.search(r"\[bold\]slow.mp4 +. why not . yes +. skipped", table)
    assert re.search(r"broken.mp4 +. why not . no +. tried again", table)
    assert "lists no such file; write all, timeouts" in call("--clear=none.mp4", status=1)
    for which, left in (("timeouts", names[1:]), ("odd\udcff.mp4", names[1:2]), ("all", ())):
        shown = call(f"--clear={which}")
        assert "1 removed from the quarantine, to be tried again" in shown
        assert [json.loads(line)["path"] for line in listed.read_text().splitlines()] == list(left)
        assert all((name.partition("\udcff")[0] in shown) == (name in left) for name in names)
    assert "no file is in quarantine" in call()
    assert "needs --workdir" in run("--mode=quarantine", cache=cache, status=1, timeout=60)
    assert "--clear works only with --mode=quarantine" in run(
        "--config=tsm_shapes", "--clear=all", cache=cache, status=1
    )


def test_help(cache):
    output = run("--help", cache=cache, timeout=60)
    for flag in ("--config", "--workdir", "--mode", "--video", "--checkpoint"):
        assert flag in output


def test_a_run_without_workdir_gets_a_readable_name(cache, tmp_path, monkeypatch):
    import os
    import subprocess

    from cli import command, environment

    subprocess.run(
        command(*SMALL, "--mode=browse", "--num=1"),
        cwd=tmp_path,
        env=environment(cache),
        timeout=300,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    (name,) = os.listdir(tmp_path / "runs")
    assert name.startswith("tsm_shapes-20")


def test_features_are_prepared_without_a_config(cache, tmp_path):
    from actjax.data.datasets.features import open_features

    rng = np.random.default_rng(0)
    (tmp_path / "csv").mkdir()
    for name in ("v_a", "v_b"):
        np.savetxt(tmp_path / "csv" / f"{name}.csv", rng.normal(size=(5, 4)), delimiter=",", header="h", comments="")
    (tmp_path / "csv" / "broken.csv").write_text("")
    run("--mode=prepare", f"--features={tmp_path}/csv", f"--out={tmp_path}/out", cache=cache)
    stored, files = open_features(tmp_path / "out"), open_features(tmp_path / "csv")
    assert list(stored.records) == ["v_a", "v_b"]
    np.testing.assert_array_equal(stored.read("v_a"), files.read("v_a"))
    (line,) = map(json.loads, (tmp_path / "out" / "features_broken.jsonl").read_text().splitlines())
    assert line["path"].endswith("broken.csv")
    shutil.rmtree(tmp_path / "csv")
    (tmp_path / "csv").mkdir()
    output = run("--mode=prepare", f"--features={tmp_path}/csv", f"--out={tmp_path}/b", cache=cache, status=1)
    assert output.startswith(f"error: --features={tmp_path}/csv contains no .csv")


def test_check_browse_and_prepare(cache, tmp_path):
    """Broken files are found and listed, clips are drawn with their augmentation, and a prepared set trains."""
    from actjax.data.datasets.annotations import load_annotations
    from actjax.data.samples.shapes import make_shapes

    folder = make_shapes(tmp_path / "shapes", num_train=16, num_val=16)
    with (folder / "val.txt").open("a") as file:
        file.write("longer.avi 0\n")
    content = bytearray(numbered.write(folder / "longer.avi", "mpeg4").read_bytes())
    length = content.index(b"strh") + 40
    content[length : length + 4] = (75).to_bytes(4, "little")
    (folder / "longer.avi").write_bytes(content)
    sound = load_annotations("videos", folder / "train.txt")
    pathlib.Path(sound[3].path).write_text("no video")
    pathlib.Path(sound[5].path).unlink()
    (tmp_path / "config.py").write_text(
        (ROOT / "configs" / "tsm_shapes.py")
        .read_text()
        .replace(
            "            loader=",
            "            augment=dict(color_jitter=dict(hue=0.5), mixup=dict(alpha=0.2)),\n            loader=",
        )
    )
    lists = f'dict(name="videos", train="{folder}/train.txt", val="{folder}/val.txt")'
    stored = f'dict(name="prepared", folder="{tmp_path}/prepared")'
    source = (tmp_path / "config.py").read_text()
    data = re.search(r"data=(dict\(.*?\)),\n", source).group(1)
    (tmp_path / "lists.py").write_text(source.replace(data, lists))
    (tmp_path / "stored.py").write_text(source.replace(data, stored))
    arguments = (f"--config={tmp_path}/lists.py", f"--workdir={tmp_path}/work")
    output = run(*arguments, "--mode=check", cache=cache)
    assert "train: 14 of 16 videos are sound" in output and "val: 17 of 17" in output
    assert "longer.avi: its header promises 75 frames; 60 can be decoded" in output
    rows = [json.loads(line) for line in (tmp_path / "work" / "broken.jsonl").read_text().splitlines()]
    assert [row["path"] for row in rows] == [sound[3].path, sound[5].path] and rows[1]["reason"] == "no such file"
    clean = load_annotations("videos", tmp_path / "work" / "train_clean.csv")
    assert [r for r in sound if r not in clean] == [sound[3], sound[5]] and len(clean) == 14
    run(*arguments, "--mode=browse", "--num=3", cache=cache)
    sheet = cv2.imread(str(tmp_path / "work" / "browse.png"))
    assert sheet.shape[1] == 8 * 44 and sheet.std() > 10
    run(*arguments, "--mode=prepare", f"--out={tmp_path}/prepared", cache=cache)
    run(
        f"--config={tmp_path}/stored.py", f"--workdir={tmp_path}/run", "--config.run.epochs=1.0",
        "--config.run.batch_size=8", "--config.model.width=8", cache=cache,
    )  # fmt: skip
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["num_videos"] == 17 and results["num_broken"] == 0 and "simplejpeg" in results["decoder"]
