"""The recognition task: views averaged, losses per video, metrics of rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import drawn, jitted

from actjax.losses import cross_entropy
from actjax.models import TSM
from actjax.tasks.recognition.task import recognition_task

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
