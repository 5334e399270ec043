"""Several classes a video, or none: from the list to predictions, and through a prepared set."""

import json
import re
import shutil

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import actjax
from actjax import metrics
from actjax.config.files import load_config
from actjax.config.overrides import override
from actjax.metrics.__main__ import main as score
from actjax.metrics.score_files import load_scores
from actjax.tasks import TASKS, build
from actjax.tasks.opening import open_workdir
from actjax.tasks.recognition import modes
from actjax.tasks.running import Call

SMALL = dict(
    model=dict(width=8, num_classes=3), loader=dict(num_workers=1), run=dict(batch_size=8, epochs=1.0, eval_every=0.5)
)
BITS = np.array([[k >> c & 1 for c in range(3)] for k in range(8)], np.float32)  # class 0 of the sample set: no class


@pytest.fixture(scope="module")
def lists(shapes, tmp_path_factory) -> dict:
    """The sample set's videos with the bits of their class's number as classes: from none to three."""
    folder = tmp_path_factory.mktemp("lists")
    for split in ("train", "val"):
        rows = [line.rsplit(maxsplit=1) for line in (shapes / f"{split}.txt").read_text().splitlines()]
        lines = [" ".join([f"{shapes}/{name}", *map(str, np.flatnonzero(BITS[int(k)]))]) for name, k in rows]
        (folder / f"{split}.txt").write_text("\n".join(lines))
    return dict(name="videos", train=f"{folder}/train.txt", val=f"{folder}/val.txt", multi_class=True)


@pytest.fixture(scope="module")
def trained(lists, tmp_path_factory):
    """The workdir and the results of a run on these lists, with evaluators."""
    workdir = tmp_path_factory.mktemp("several") / "run"
    own = dict(metrics=("own_functions:on_several",))
    options = SMALL | dict(
        data=lists, evaluators=dict(own=own, seen=dict(split="train", metrics=("mAP", "sample_mAP")))
    )
    options["run"] = SMALL["run"] | dict(best="mAP")
    return workdir, actjax.train("tsm_shapes", workdir, **options)


def test_from_the_list_to_predictions(trained, media):
    workdir, results = trained
    numbers = {"mAP", "sample_mAP", "own/lowest", "own/positives", "seen/mAP", "seen/sample_mAP", "num_videos"}
    assert numbers <= results.keys() and "top1_acc" not in results and "confusion_matrix" not in results
    assert all(np.isfinite(results[name]) for name in numbers)
    assert results["own/positives"] == 60 and results["own/lowest"] >= 0  # 40 videos, 5 of each of 8 kinds
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses and max(losses) < 1.2  # a softmax over many-hot rows would begin near 1.5 x log 3
    evaluated = actjax.evaluate(workdir, checkpoint="latest")
    assert {name: evaluated[name] for name in numbers} == pytest.approx({name: results[name] for name in numbers})
    with np.load(workdir / "scores.npz") as dump:
        scores, labels = dump["scores"], dump["label"]
    assert scores.min() > 0 and scores.max() < 1 and (abs(scores.sum(1) - 1) > 1e-3).any()
    assert sorted(map(tuple, labels)) == sorted(map(tuple, np.repeat(BITS, 5, axis=0)))
    assert results["mAP"] == pytest.approx(metrics.class_mean_average_precision(scores, labels))
    some = labels.any(1)
    assert results["sample_mAP"] == pytest.approx(metrics.sample_mean_average_precision(scores[some], labels[some]))
    with actjax.load(workdir) as network:
        best = network.predict(media / "test.mp4")
        assert [row["score"] for row in best] == sorted(network.scores(media / "test.mp4").tolist(), reverse=True)
        assert len(best) == 3


def test_scores_of_the_run_are_scored_by_the_metrics(trained, lists, capsys):
    workdir, _ = trained
    results = actjax.evaluate(workdir, checkpoint="latest")
    dump = f"{workdir}/scores.npz"
    for truth in ([], ["--ground-truth", lists["val"], "--multi-label"]):
        capsys.readouterr()
        score(["accuracy", "--predictions", dump, "--json", *truth])
        numbers = json.loads(capsys.readouterr().out)
        assert numbers["mAP_over_classes"] == pytest.approx(results["mAP"])
        assert numbers["mAP_over_samples"] == pytest.approx(results["sample_mAP"])


def test_a_prepared_set_trains_alike_or_says_what_to_set(lists, tmp_path):
    prepared = dict(name="prepared", folder=str(tmp_path / "set"))
    options = SMALL | dict(run=SMALL["run"] | dict(best="sample_mAP"), data=lists)
    config = changed(**options, prepare=dict(quality=100, short_side=0))
    modes.prepare(build(config), Call("prepare", config, tmp_path / "none", 0.0, out=str(tmp_path / "set")))
    with pytest.raises(ValueError, match=r"^data.folder=.*/set: .* several classes there; set data.multi_class=True$"):
        actjax.train("tsm_shapes", tmp_path / "run", **options | dict(data=prepared, run=SMALL["run"]))
    prepared["multi_class"] = True
    results = actjax.train("tsm_shapes", tmp_path / "run", **options | dict(data=prepared))
    assert {"mAP", "sample_mAP"} <= results.keys() and "top1_acc" not in results
    actjax.evaluate(tmp_path / "run")
    with np.load(tmp_path / "run" / "scores.npz") as dump:
        assert (dump["label"].sum(1) == 0).sum() == 5 and all(re.search(r"val_\d+.*\.mp4$", n) for n in dump["name"])
    with actjax.load(tmp_path / "run") as network:
        assert network._opened.run.multi_label


@pytest.mark.parametrize("names", [["a", "b"], ["a", "b", "c", "d"]])
def test_another_number_of_names_is_refused_by_every_mode(trained, tmp_path, names, media):
    """In class_names.json, which predict and export read, and in data.class_names, which all do."""
    workdir, count = tmp_path / "run", len(names)
    shutil.copytree(trained[0], workdir)
    (workdir / "class_names.json").write_text(json.dumps(names))
    opened = open_workdir(workdir, {})
    call = Call("", opened.config, workdir, 0.0, video=str(media / "test.mp4"), out=str(tmp_path / "out.pth"))
    message = f"^{count} class names for a network with 3 classes; correct class_names.json"
    for use in (
        lambda: modes.MODES["export"](opened.run, call),
        lambda: modes.predict(opened.run, call._replace(out=None)),
        lambda: actjax.load(workdir),
    ):
        with pytest.raises(ValueError, match=message):
            use()
    shutil.copy(trained[0] / "class_names.json", workdir)
    opened = open_workdir(workdir, {"data.class_names": names})
    call = call._replace(config=opened.config)
    for mode in ("predict", "export"):
        with pytest.raises(ValueError, match=message):
            modes.MODES[mode](opened.run, call._replace(out=call.out if mode == "export" else None))
    for mode in ("train", "eval", "browse", "prepare", "check", "import", "extract"):
        with pytest.raises(ValueError, match=f"^data.class_names has {count} names, but model.num_classes=3"):
            modes.MODES[mode](opened.run, call._replace(source="no.pth", video=None, out=str(tmp_path / "out")))
    assert not [*tmp_path.glob("out*")] and not (workdir / "predictions.jsonl").exists()


@pytest.mark.parametrize("average_clips", ["prob", "score", "none"])
@pytest.mark.parametrize("several", [False, True])
def test_scores_that_users_see_are_probabilities(shapes, lists, several, average_clips, tmp_path):
    """In scores.npz and for own metrics; they rank videos and classes as the metrics of the run do."""
    classes = 3 if several else 8
    plain = dict(name="videos", train=f"{shapes}/train.txt", val=f"{shapes}/val.txt")
    config = changed(
        data=lists if several else plain,
        model=dict(width=8, num_classes=classes),
        eval=dict(view=dict(name="three_crop", short_side=40), average_clips=average_clips),
    )
    config.run.best = "mAP" if several else "top1_acc"
    config.evaluators = dict(own=dict(metrics=("own_functions:extremes", "mAP")))
    run = build(config)
    variables = run.network.task.init(jax.random.key(0))
    head = variables["params"]["fc_cls"]
    head["kernel"] = head["kernel"] * 40 / abs(head["kernel"]).max()  # logits far from each other
    found = run.evaluate(tmp_path, variables)
    with np.load(tmp_path / "scores.npz") as dump:
        scores, labels = dump["scores"], dump["label"]
    assert scores.shape == ((40, 3, classes) if average_clips == "none" else (40, classes))
    assert scores.min() >= 0 and scores.max() <= 1 and 0 <= found["own/lowest"] <= found["own/highest"] <= 1
    rows = load_scores(tmp_path / "scores.npz", [record.path for record in run.open_dataset().val])
    hot = labels if several else np.eye(8)[labels]
    assert found["own/mAP"] == pytest.approx(metrics.class_mean_average_precision(rows, hot), abs=1e-6)
    if several:
        assert found["mAP"] == pytest.approx(found["own/mAP"], abs=1e-6)
        return
    np.testing.assert_allclose(scores.sum(-1), 1, atol=1e-5)
    assert found["own/sum"] == pytest.approx(1, abs=1e-6)
    assert [found["top1_acc"], found["top5_acc"]] == metrics.top_k_accuracy(rows, labels, topk=(1, 5))


def changed(**changes) -> ConfigDict:
    """The config of the sample set with these changes."""
    return ConfigDict(override(load_config("tsm_shapes").config, SMALL | changes, TASKS["recognition"].reader))
