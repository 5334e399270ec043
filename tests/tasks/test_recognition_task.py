"""The recognition task: views averaged, losses per video, metrics of rows."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import drawn, jitted

import actjax
from actjax.config.files import load_config
from actjax.losses import cross_entropy
from actjax.models import TSM
from actjax.tasks import build
from actjax.tasks.building import Network
from actjax.tasks.recognition.outputs import probabilities
from actjax.tasks.recognition.scoring import task_score
from actjax.tasks.recognition.task import recognition_task
from actjax.tasks.recognition.trained import make_predictor
from actjax.tasks.videos import records_of

MODEL = TSM(num_classes=5, depth=10, width=8, small_input=True, dropout=0.0)


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    return {"video": rng.integers(0, 256, (3, 2, 4, 32, 32, 3), dtype=np.uint8), "label": np.array([0, 4, 2], np.int32)}


@pytest.mark.parametrize("average_clips", ["prob", "score"])
def test_views_are_averaged_as_asked(batch, average_clips):
    task = recognition_task(MODEL, average_clips=average_clips)
    variables = drawn(task.init)
    scores = jax.jit(task.predict)(variables, batch)["scores"]
    each = jnp.stack([jitted(MODEL)(variables, batch["video"][:, view]) for view in range(2)])
    expected = (jax.nn.softmax(each) if average_clips == "prob" else each).mean(0)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-6)


def test_loss_is_one_number_per_video(batch):
    task = recognition_task(MODEL, average_clips="prob")
    losses, updated, extra = jax.jit(task.loss)(drawn(task.init), batch, jax.random.key(1))
    assert losses.shape == extra["top1_acc"].shape == (3,)
    assert set(updated) == {"batch_stats"}


def test_cross_entropy_by_hand():
    scores, labels = jnp.array([[0.0, 0.0], [2.0, -1.0]]), jnp.array([1, 0])
    np.testing.assert_allclose(cross_entropy(scores, labels), [np.log(2), np.log1p(np.exp(-3))], rtol=1e-6)


def test_score_counts_every_class():
    task = recognition_task(MODEL, average_clips="prob")
    scores = np.eye(5)[[0, 0, 2, 4]]
    metrics = task.score({"scores": scores}, {"label": np.array([0, 1, 2, 4], np.int32)})
    assert metrics["top1_acc"] == 0.75 and metrics["top5_acc"] == 1.0
    assert metrics["mean_class_accuracy"] == 0.75
    expected = np.diag([1, 0, 1, 0, 1])
    expected[1, 0] = 1
    np.testing.assert_array_equal(metrics["confusion_matrix"], expected)


def test_vectors_of_labels_and_augmentation(batch):
    soft = batch | {"label": np.eye(5, dtype=np.float32)[batch["label"]]}
    task = recognition_task(MODEL, average_clips="prob")
    variables, key = drawn(task.init), jax.random.key(1)
    np.testing.assert_allclose(
        jax.jit(task.loss)(variables, batch, key)[0], jax.jit(task.loss)(variables, soft, key)[0], rtol=1e-6
    )
    inverted = recognition_task(MODEL, average_clips="prob", augment=lambda video, targets, key: (255 - video, targets))
    by_hand = batch | {"video": 255 - batch["video"]}
    np.testing.assert_allclose(
        jax.jit(inverted.loss)(variables, batch, key)[0], jax.jit(task.loss)(variables, by_hand, key)[0], rtol=1e-5
    )


def test_multi_label(batch):
    many_hot = np.float32([[1, 0, 1, 0, 0], [0, 0, 0, 0, 1], [1, 1, 0, 0, 0]])
    task = recognition_task(MODEL, average_clips="prob", multi_label=True)
    variables = drawn(task.init)
    losses, _, extra = jax.jit(task.loss)(variables, batch | {"label": many_hot}, jax.random.key(1))
    assert losses.shape == (3,) and not extra
    scores = jax.jit(task.predict)(variables, batch)["scores"]
    each = jnp.stack([jitted(MODEL)(variables, batch["video"][:, view]) for view in range(2)])
    np.testing.assert_allclose(scores, jax.nn.sigmoid(each).mean(0), rtol=1e-4, atol=1e-6)
    assert task.score({"scores": many_hot}, {"label": many_hot}) == {"mAP": 1.0, "sample_mAP": 1.0}


def test_flow_clips_have_their_own_stem():
    model = TSM(num_classes=5, in_channels=10, depth=10, width=8, small_input=True, mean=(128.0,), std=(128.0,))
    variables = drawn(recognition_task(model, average_clips="prob").init)
    assert {leaf.shape[2] for leaf in jax.tree.leaves(variables["params"]) if leaf.ndim == 4} >= {10}


def test_views_in_parts_score_as_all_at_once(batch):
    """Five views, two at a time and all, for every way to average."""
    rng = np.random.default_rng(1)
    batch = batch | {"video": rng.integers(0, 256, (3, 5, 4, 32, 32, 3), dtype=np.uint8)}
    variables = drawn(recognition_task(MODEL, average_clips="none").init)

    def scores(average_clips, clips_at_once):
        task = recognition_task(MODEL, average_clips=average_clips, clips_at_once=clips_at_once)
        return np.asarray(jax.jit(task.predict)(variables, batch)["scores"]), task

    each, task = scores("none", 0)
    assert each.shape == (3, 5, 5)
    expected = {"none": each, "score": each.mean(1), "prob": np.asarray(jax.nn.softmax(each)).mean(1)}
    for average_clips, values in expected.items():
        np.testing.assert_allclose(scores(average_clips, 2)[0], values, rtol=1e-4, atol=1e-6)
    single = {"label": batch["label"]}
    assert task.score({"scores": each}, single)["top1_acc"] == task.score({"scores": each.mean(1)}, single)["top1_acc"]


def test_memory_is_that_of_the_views_at_once(batch):
    """What the compiler plans for 40 views, four at a time, is far below that for all."""
    video = jax.ShapeDtypeStruct((1, 40, 4, 64, 64, 3), np.uint8)
    variables = drawn(recognition_task(MODEL, average_clips="prob").init)

    def planned(clips_at_once):
        predict = recognition_task(MODEL, average_clips="prob", clips_at_once=clips_at_once).predict
        return jax.jit(predict).lower(variables, {"video": video}).compile().memory_analysis().temp_size_in_bytes

    assert planned(4) < 0.4 * planned(0)


def test_scores_keep_their_order_as_probabilities():
    scores = np.float32([[200, 199, -100, -300], [30, 20, 10, 0]])
    for several in (False, True):
        found = probabilities(scores, average_clips="score", multi_label=several)
        assert found.dtype == np.float64 and found.min() >= 0 and found.max() <= 1
        assert (np.diff(found[:, 1:]) < 0).all() and (found[:, 0] >= found[:, 1]).all()
        assert several or found.sum(1) == pytest.approx([1, 1])
    assert probabilities(scores, average_clips="prob", multi_label=False) is not scores  # they are taken as they are
    np.testing.assert_array_equal(probabilities(scores, average_clips="prob", multi_label=False), scores)


@pytest.mark.parametrize("labels", [[0, 2, 1], np.eye(3)[[0, 2, 1]]])
def test_top_k_above_the_number_of_classes_is_left_out(labels):
    score = functools.partial(task_score, {"scores": np.eye(3)}, {"label": np.asarray(labels)}, multi_label=False)
    assert set(score(topk=(1, 5))) == {"top1_acc", "mean_class_accuracy", "confusion_matrix"}
    assert set(score(topk=(1, 3, 4))) >= {"top1_acc", "top3_acc"} and "top4_acc" not in score(topk=(1, 3, 4))
    with pytest.raises(ValueError, match="topk=0; must be a whole number"):
        score(topk=(1, 0))


def test_videos_of_no_class_count_in_one_mean_only():
    """As false detections of every class; a video without a class has no order of classes to judge."""
    scores = np.array([[0.9, 0.1, 0.3], [0.8, 0.7, 0.2], [0.1, 0.6, 0.9]])
    labels = np.float32([[0, 0, 0], [1, 1, 0], [0, 0, 0]])
    found = task_score({"scores": scores}, {"label": labels}, topk=(), multi_label=True)
    assert found == {"mAP": pytest.approx((0.5 + 1) / 2), "sample_mAP": 1.0}  # class 2 has no video
    nothing = task_score({"scores": scores}, {"label": labels * 0}, topk=(), multi_label=True)
    assert np.isnan([*nothing.values()]).all()


@pytest.fixture(scope="module")
def run():
    return build(load_config("tsm_shapes").config)


def broken(variables, *, weights: float = np.nan):
    """Variables whose last weights have this value."""
    head = variables["params"]["fc_cls"]
    kernel = np.full_like(head["kernel"], weights)
    return {**variables, "params": {**variables["params"], "fc_cls": {**head, "kernel": kernel}}}


def test_predictions_that_are_not_finite_are_errors(run, media):
    variables = drawn(run.network.task.init)
    names = [str(k) for k in range(8)]
    message = "^{}: the scores are not finite: the network overflows on this video; use another checkpoint, or"
    video = media / "test.mp4"
    with contextlib.closing(make_predictor(run, broken(variables), names)) as predictor:
        for call in (predictor.predict, predictor.scores, lambda video: [*predictor.rows(records_of([video, video]))]):
            with pytest.raises(ValueError, match=message.format(video)) as caught:
                call(video)
            assert caught.value.clear and "\n" not in str(caught.value)
        with pytest.raises(ValueError, match=message.format("clip 0")):
            predictor.scores(np.zeros((1, *run.eval_clips.clip_shape[1:]), np.uint8))
        assert np.isfinite(predictor.embed(video)).all()  # the classifier alone is broken


def test_evaluations_that_are_not_finite_are_errors(shapes, tmp_path):
    config = load_config("tsm_shapes").config
    config.data = dict(name="videos", train=f"{shapes}/train.txt", val=f"{shapes}/val.txt")
    config.loader.num_workers = 0
    run = build(config)
    (tmp_path / "scores.npz").write_text("of an earlier evaluation")
    with pytest.raises(
        FloatingPointError, match="the scores of 40 of 40 videos of the validation set are not"
    ) as caught:
        run.evaluate(tmp_path, broken(drawn(run.network.task.init)))
    assert caught.value.clear
    assert (tmp_path / "scores.npz").read_text() == "of an earlier evaluation"


@pytest.mark.parametrize(
    ("train", "warned"),
    [
        (dict(view=dict(flip_ratio=0.5)), "'moving right' and 'moving left'"),
        (
            dict(view=dict(flip_ratio=0.5), flip_labels=((0, 1),)),
            "other: 'turning clockwise' and 'turning counter-clockwise'; set",
        ),
        (dict(view=dict(flip_ratio=0.5), flip_labels=((0, 1), (4, 5))), ""),
        ({}, ""),
    ],
)
def test_training_warns_of_classes_that_it_mirrors(shapes, tmp_path, monkeypatch, caplog, train, warned):
    monkeypatch.setattr(Network, "train", lambda *arguments, **options: {"num_videos": 40})
    lists = {split: f"{shapes}/{split}.txt" for split in ("train", "val")}
    data = dict(name="videos", **lists, class_names=f"{shapes}/classes.txt")
    actjax.build("tsm_shapes", data=data, train=train).train(tmp_path)
    warnings = [record.message for record in caplog.records if "mirrored" in record.message]
    assert len(warnings) == bool(warned) and all(warned in text for text in warnings)
