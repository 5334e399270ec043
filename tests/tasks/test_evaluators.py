"""Section `evaluators`: the numbers of each, the videos it reads, and what it refuses."""

import contextlib
import json
import os
import pathlib
import subprocess
import time

import jax
import numpy as np
import pytest
from cli import ROOT, command, environment
from cli import run as start
from ml_collections import ConfigDict

from actjax import metrics
from actjax.config.files import load_config
from actjax.config.overrides import Text, override
from actjax.data.datasets.records import VideoRecord
from actjax.tasks import TASKS, build
from actjax.tasks.recognition import modes
from actjax.tasks.running import Call

CLASSES = 8


def config(folder: pathlib.Path | None = None, **evaluators) -> ConfigDict:
    """A small run on lists of the sample set's videos; without a folder, on the sample set itself."""
    found = load_config(str(ROOT / "configs" / "tsm_shapes.py")).config
    found.model.width = 8
    found.run.update(batch_size=8, epochs=1.0, eval_every=0.5)
    found.loader.num_workers = 0
    if folder:
        found.data = dict(name="videos", train=f"{folder}/train.txt", val=f"{folder}/val.txt")
    if evaluators:
        found.evaluators = evaluators
    return found


@pytest.fixture
def hard(shapes, tmp_path) -> str:
    """A list of ten validation videos, from the last to the first."""
    lines = [f"{shapes}/{line}" for line in (shapes / "val.txt").read_text().splitlines()]
    (tmp_path / "hard.txt").write_text("\n".join(lines[:-11:-1]))
    return str(tmp_path / "hard.txt")


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """The names of the videos that are opened."""
    names, open_ = [], VideoRecord.open

    def counted(self, **options):
        names.append(pathlib.Path(self.path).name)
        return open_(self, **options)

    monkeypatch.setattr(VideoRecord, "open", counted)
    return names


def test_every_evaluator_has_its_numbers_in_all_results(shapes, hard, opened, tmp_path):
    """Trained and evaluated as by the command line; expected numbers come from the dump of the validation's scores."""
    given = config(
        shapes,
        mine=dict(metrics=("own_functions:f1", "own_functions:on_device", "mAP")),
        hard=dict(list=hard, interval=1.0),
        seen=dict(split="train", metrics="top_k_accuracy", interval=0.7),
    )
    given.run.best = "mine/f1"
    run, workdir = build(given), tmp_path / "run"
    workdir.mkdir()
    modes.train(run, Call("train", given, workdir, time.perf_counter()))
    validated = {pathlib.Path(record.path).name for record in run.open_dataset().val}
    read_ahead = 16  # of the validation, whose passes are endless
    assert 90 <= sum(name in validated for name in opened) <= 40 + 40 + 10 + read_ahead
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    steps = lambda name: [row["step"] for row in rows if name in row and row["split"] == "val"]
    assert steps("mine/f1") == steps("top1_acc") == [4, 8] and steps("hard/top1_acc") == [8]
    assert steps("seen/top5_acc") == [6, 8]
    results = json.loads((workdir / "results.json").read_text())
    counts = {name: results[f"{name}num_videos"] for name in ("", "mine/", "hard/", "seen/")}
    assert counts == {"": 40, "mine/": 40, "hard/": 10, "seen/": 64} and results["num_broken"] == 0
    assert "hard/confusion_matrix" not in results and (workdir / "hard_confusion_matrix.csv").exists()
    assert b"hard/top1_acc" in b"".join(file.read_bytes() for file in workdir.glob("events.*"))

    modes.evaluate(run, Call("eval", given, workdir, time.perf_counter(), checkpoint="latest"))
    again = json.loads((workdir / "results_eval.json").read_text())
    assert {name for name in results if "/" in name} == {name for name in again if "/" in name}
    assert all(again[name] == pytest.approx(results[name], abs=1e-6) for name in results if "/" in name)
    dump = np.load(workdir / "scores.npz")
    scores, labels = dump["scores"], dump["label"].astype(np.int64)
    assert results["mine/acc"] == pytest.approx(results["top1_acc"]) and results["mine/count"] == 40
    hot = np.eye(CLASSES, dtype=np.float32)[labels]
    assert results["mine/mAP"] == pytest.approx(metrics.class_mean_average_precision(scores, hot), abs=1e-6)
    last = slice(None, -11, -1)
    assert results["hard/top1_acc"] == metrics.top_k_accuracy(scores[last], labels[last])[0]


def test_every_number_of_a_run_can_select_the_best(shapes, hard, tmp_path):
    """Of one training, whose checkpoints are all kept; other tests train with several of them."""
    given = config(
        shapes,
        hard=dict(list=hard),
        seen=dict(list=hard, metrics=("mAP", "sample_mAP")),
        own=dict(list=hard, metrics="own_functions:on_device"),
    )
    given.data.val = hard
    given.run.update(best="hard/top5_acc", epochs=0.5, eval_every=0.125, keep=4)
    run, workdir = build(given), tmp_path / "run"
    workdir.mkdir()
    results = modes.train(run, Call("train", given, workdir, time.perf_counter()))
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    own = ("top1_acc", "top5_acc", "mean_class_accuracy")
    for best in (*own, *(f"hard/{name}" for name in own), "seen/mAP", "seen/sample_mAP", "own/acc"):
        assert best in results
        values = {row["step"]: row[best] for row in rows if best in row}
        assert list(values) == [1, 2, 3, 4]
        given.run.best = best
        _, step = build(given).network.restore(workdir, "best")
        assert values[step] == max(values.values())


def test_no_video_is_read_twice(shapes, hard, opened, tmp_path):
    """Same clips: one pass. The same list twice: one pass, too. Other clips of the same videos: another."""
    given = config(
        shapes,
        mine=dict(metrics=("own_functions:f1",)),
        test=dict(transform="test", metrics=("mAP",)),  # the config has no section `test`
        hard=dict(list=hard),
        harder=dict(list=[hard], metrics=("mAP",)),
    )
    run = build(given)
    variables = run.network.task.init(jax.random.key(0))
    found = run.evaluate(tmp_path, variables)
    names = [pathlib.Path(record.path).name for record in run.open_dataset().val]
    assert len(opened) == 40 + 10 and sorted(opened[:40]) == sorted(names)
    assert {name.partition("/")[0] for name in found if "/" in name} == {"mine", "test", "hard", "harder"}
    assert found["hard/num_videos"] == found["harder/num_videos"] == 10

    opened.clear()
    with given.unlocked():
        given.test = given.eval.copy_and_resolve_references()
        given.test.view = dict(name="three_crop", short_side=40)
    found = build(given).evaluate(tmp_path, variables, protocol="eval")
    assert len(opened) == 40 + 40 + 10
    assert found["test/num_videos"] == 40


def children() -> set[int]:
    """The processes that this one started and that still run."""
    found = set()
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            state, parent, *_ = (process / "stat").read_text().rpartition(")")[2].split()
            found |= {int(process.name)} if parent == str(os.getpid()) and state != "Z" else set()
    return found


@pytest.mark.skipif(not pathlib.Path("/proc/self/task").exists(), reason="Linux lists processes there")
def test_readers_do_not_outlive_their_pass(shapes, hard, tmp_path):
    given = config(shapes, hard=dict(list=hard), seen=dict(split="train"))
    given.loader.num_workers = 1
    run, before = build(given), children()
    dataset = run.open_dataset()
    data = run.loop_data(dataset, tmp_path)
    for records, size in ((dataset.train, 64), (next(iter(dataset.lists.values())), 10)):
        passes = data.one_pass(records, run.eval_clips)()
        batches = next(passes)
        count = next(batches)["mask"].sum()
        assert len(children() - before) == 1
        assert count + sum(batch["mask"].sum() for batch in batches) == size
        assert not children() - before
        with pytest.raises(StopIteration):
            next(passes)
    passes = data.one_pass(dataset.train, run.eval_clips)()
    next(next(passes))
    passes.close()  # in the middle of a pass
    assert not children() - before


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (dict(split="vla"), r"evaluators.own.split='vla' is unknown; did you mean 'val'"),
        (dict(transform="tset"), r"evaluators.own.transform='tset' is unknown; did you mean 'test'"),
        (dict(metrics=("top_k_acuracy",)), r"evaluators.own.metrics='top_k_acuracy'.* did you mean 'top_k_accuracy'"),
        (dict(metrics="own_functions:f2"), r"evaluators.own.metrics='own_functions:f2': in .* did you mean 'f1'"),
        (dict(metrics=()), r"evaluators.own.metrics=\(\); expected one name or several"),
        (dict(metrics=("mAP", "mAP")), r"metric 'mAP' returned 'mAP', as another metric does"),
        (dict(metrics=(3,)), r"evaluators.own.metrics=\(3,\): must be text, a list of text or None"),
        (
            dict(metrics="own_functions:nothing"),
            "metric 'own_functions:nothing' returned None; it must return a number",
        ),
        (
            dict(metrics="own_functions:array"),
            r"'own_functions:array' returned an array \[16\]; it must return a number",
        ),
        (dict(metrics="own_functions:empty"), r"'own_functions:empty' returned the names \[\]; expected text"),
        (
            dict(metrics="own_functions:num_videos"),
            "returned 'num_videos', which is the name of another",
        ),
        (dict(metrics="own_functions:slashed"), r"'own_functions:slashed' returned the names \['a/b'\]"),
        (
            dict(metrics="own_functions:failing"),
            r"evaluators.own.metrics, on made-up scores: metric 'own_functions:failing' failed on scores \[16, 8\] and "
            r"labels int64 \[16\]: KeyError: 'no such class'",
        ),
        (dict(interval=0), "evaluators.own.interval=0; must be a positive number of epochs"),
        (dict(interval=-1.0), "evaluators.own.interval=-1.0; must be"),
        (dict(interval="1"), "evaluators.own.interval='1': must be a number"),
        (dict(interval=float("nan")), "evaluators.own.interval=nan; must be"),
        (dict(list=()), r"evaluators.own.list=\(\); expected one name or several"),
        (dict(list="", split=None), "evaluators.own.list=.*; expected one name or several"),
        (dict(list="a.txt", split="val"), "evaluators.own: set split or list, not both"),
        (dict(metric="mAP"), "evaluators.own.'metric' is unknown; did you mean 'metrics'"),
        ("mAP", "evaluators.own: expected a section"),
    ],
)
def test_a_bad_section_is_refused_at_launch(section, message, shapes):
    with pytest.raises(ValueError, match=message):
        build(config(shapes, own=section))


@pytest.mark.parametrize("name", ["top1_acc", "mean_class_accuracy", "num_videos", "a/b", "train", "val"])
def test_a_name_that_is_taken_is_refused(name):
    with pytest.raises(ValueError, match=f"evaluators.{name}: choose another name, without a slash and none of"):
        build(config(**{name: dict(split="val")}))


def test_lists_need_a_data_set_of_lists(hard):
    with pytest.raises(ValueError, match="evaluators.own.list: data.name='shapes' is not read from annotation files"):
        build(config(own=dict(list=hard)))


def test_a_bad_list_is_refused_before_anything_compiles(shapes, tmp_path):
    (tmp_path / "bad.txt").write_text(f"{shapes}/videos/0.mp4 8\n")
    (tmp_path / "empty.txt").write_text("\n")
    for name, error, message in (
        ("bad", ValueError, "bad.txt, line 1.*label 8 needs model.num_classes > 8"),
        ("empty", ValueError, "empty.txt holds no records"),
        ("missing", FileNotFoundError, "missing.txt does not exist"),
    ):
        run = build(config(shapes, own=dict(list=(f"{shapes}/val.txt", f"{tmp_path}/{name}.txt"))))
        with pytest.raises(error, match=message):
            run.open_dataset()


def test_nan_is_refused_with_the_name_of_the_metric(shapes, tmp_path):
    """It may be NaN for made-up scores."""
    run = build(config(shapes, own=dict(metrics=("own_functions:nan_of_few",))))
    variables = run.network.task.init(jax.random.key(0))
    with pytest.raises(ValueError, match="'own_functions:nan_of_few' returned nan; it must return finite numbers"):
        run.evaluate(tmp_path, variables)


def test_best_is_a_metric_of_an_evaluator():
    given = config(mine=dict(metrics=("own_functions:f1",)))
    given.run.best = "mine/f1"
    assert build(given).network.settings.best == "mine/f1"
    given.run.best = "mine/f1_mean"
    with pytest.raises(ValueError, match="run.best='mine/f1_mean' is unknown; did you mean 'mine/f1'"):
        build(given)


def test_several_labels(shapes):
    """mAP is the best metric of such a run, also of an evaluator; accuracies of one class do not fit."""
    given = config(shapes, own=dict(metrics=("mAP",)), plain=dict(split="train"))
    given.data.multi_class = True
    given.run.best = "own/mAP"
    run = build(given)
    assert [evaluator.metrics for evaluator in run.evaluators] == [("own/mAP",), ("plain/mAP", "plain/sample_mAP")]
    given.evaluators.own.metrics = ("mAP", "top_k_accuracy")
    with pytest.raises(ValueError, match="evaluators.own.metrics='top_k_accuracy' needs one class per video"):
        build(given)


def test_keys_of_evaluators_can_be_typed():
    given, reader = config(hard=dict(split="val")), TASKS["recognition"].reader
    typed = {"evaluators.hard.interval": Text("1"), "evaluators.hard.metrics": Text("mAP,top_k_accuracy")}
    changed = override(given, typed, reader)
    assert changed["evaluators"]["hard"] == dict(split="val", interval=1.0, metrics=("mAP", "top_k_accuracy"))
    added = override(given, {"evaluators.more.interval": Text("1")}, reader)
    assert added["evaluators"] == {"hard": {"split": "val"}, "more": {"interval": 1.0}}
    with pytest.raises(ValueError, match="config.evaluators.hard.'intervall' is unknown; did you mean 'interval'"):
        override(given, {"evaluators.hard.intervall": Text("1")}, reader)
    with pytest.raises(ValueError, match="interval=often: expected a number or None"):
        override(given, {"evaluators.hard.interval": Text("often")}, reader)


def val_rows(workdir: pathlib.Path) -> list[dict]:
    """The reports of evaluations; a line that is being written is left out."""
    file = workdir / "metrics.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [row for row in (json.loads(line) for line in lines if line.endswith("}")) if row["split"] == "val"]


@pytest.mark.slow
def test_a_killed_run_reports_the_same_from_the_command_line(shapes, hard, cache, tmp_path, monkeypatch):
    """With a loss, a metric and an augmentation that are not ours; evaluated later without the config file."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'tests' / 'helpers'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    source = (ROOT / "configs" / "tsm_shapes.py").read_text()
    data = source[source.index("data=dict(") : source.index("loader=")]
    own = f"""data=dict(name="videos", train="{shapes}/train.txt", val="{shapes}/val.txt"),
            loss=dict(name="own_functions:focal", gamma=1.0),
            augment=(dict(name="own_functions:noise", sigma=3.0), dict(name="mixup", alpha=0.2)),
            evaluators=dict(
                hard=dict(list="{hard}", transform="test", interval=2.0),
                mine=dict(metrics=("own_functions:f1", "top_k_accuracy")),
            ),
            """
    (tmp_path / "own.py").write_text(source.replace(data, own))
    arguments = [f"--config={tmp_path}/own.py", "--config.run.batch_size=8", "--config.run.epochs=4.0"]
    arguments += ["--config.run.eval_every=1.0", "--config.run.save_every=3", "--config.run.best=mine/f1"]
    arguments += ["--config.model.width=8", "--config.evaluators.hard.interval=1.5"]
    start(*arguments, f"--workdir={tmp_path / 'whole'}", cache=cache)
    killed = tmp_path / "killed"
    with subprocess.Popen(
        command(*arguments, f"--workdir={killed}"), cwd=ROOT, env=environment(cache), start_new_session=True
    ) as process:
        deadline = time.monotonic() + 200
        while len(val_rows(killed)) < 2 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
    assert len(val_rows(killed)) >= 2
    output = start(*arguments, f"--workdir={killed}", cache=cache)
    assert "hard/top1_acc" in output and "mine/f1" in output
    assert val_rows(killed) == val_rows(tmp_path / "whole")
    steps = [row["step"] for row in val_rows(killed) if "hard/top1_acc" in row]
    assert steps == [12, 24, 32] and len(val_rows(killed)) == 5

    start("--mode=eval", f"--workdir={killed}", "--checkpoint=latest", cache=cache)
    found = [json.loads((killed / f"{name}.json").read_text()) for name in ("results", "results_eval")]
    assert all(found[0][name] == found[1][name] for name in found[0] if "/" in name)
    start("--mode=browse", f"--config={tmp_path}/own.py", f"--workdir={tmp_path / 'browse'}", "--num=2", cache=cache)
    assert (tmp_path / "browse" / "browse.png").exists()
