"""Losses, augmentations and data sets that are not ours, named in a config and tried at launch."""

import json
import re
import time

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import own_functions
import pytest
from conftest import ROOT
from ml_collections import ConfigDict

import actjax
from actjax.config.files import load_config
from actjax.data.datasets import build_dataset, load_names
from actjax.tasks import build
from actjax.tasks.recognition import modes
from actjax.tasks.running import Call

MIXUP = (dict(name="mixup", alpha=0.2),)


def config(folder=None, **sections) -> ConfigDict:
    found = load_config(str(ROOT / "configs" / "tsm_shapes.py")).config
    found.model.width = 8
    found.loader.num_workers = 0
    if folder:
        found.data = dict(name="videos", train=f"{folder}/train.txt", val=f"{folder}/val.txt")
    found.update(sections)
    return found


@pytest.mark.parametrize("augment", [(), MIXUP], ids=["int labels", "mixed labels"])
def test_the_task_trains_with_a_loss_of_ones_own(augment):
    run = build(config(loss=dict(name="own_functions:focal", gamma=1.5), augment=augment))
    rng = np.random.default_rng(0)
    video = rng.integers(0, 256, (2, *run.train_clips.clip_shape), dtype=np.uint8)
    batch = {"video": video, "label": np.array([3, 5], np.int32)}
    variables = run.network.task.init(jax.random.key(0))
    losses, _, _ = jax.jit(run.network.task.loss)(variables, batch, jax.random.key(1))
    guessed = np.log(8) * (7 / 8) ** 1.5
    np.testing.assert_allclose(losses, [guessed, guessed], rtol=0.1)


@pytest.mark.parametrize(
    ("loss", "augment", "message"),
    [
        ("own_functions:mean_loss", (), r"returned float32 \[\] for logits float32 \[9, 8\] and labels int32 \[9\]"),
        (
            "own_functions:counted",
            (),
            r"loss.name='own_functions:counted' returned int32 \[9\] .*one float per clip, \[9\]",
        ),
        ("own_functions:nothing", (), "loss.name='own_functions:nothing' returned NoneType"),
        ("own_functions:failing", MIXUP, "loss.name='own_functions:failing' failed on .*KeyError: 'no such class'"),
        ("own_functions:focal_of_classes", MIXUP, r"failed on .* labels float32 \[9, 8\]: "),
        ("binary_cross_entropy", (), r"loss.name='binary_cross_entropy' failed on .* labels int32 \[9\]: "),
        ("own_functions:focl", (), "loss.name='own_functions:focl'.*did you mean 'focal'"),
        ("focal", (), "loss.name='focal' is unknown; .*or write 'package.module:name'"),
    ],
)
def test_a_loss_that_breaks_the_contract_is_refused_at_launch(loss, augment, message):
    with pytest.raises(ValueError, match=message):
        build(config(loss=dict(name=loss), augment=augment))


def test_losses_that_fit_their_labels_are_accepted():
    """Of classes without mixing; of vectors with mixing, or for several labels."""
    build(config(loss=dict(name="own_functions:focal_of_classes")))
    build(config(loss=dict(name="binary_cross_entropy"), augment=MIXUP))
    weights = dict(class_weights=(1.0, 2.0))
    with pytest.raises(ValueError, match="loss.class_weights has 2 numbers; the model has 8 classes"):
        build(config(loss=weights))
    with pytest.raises(ValueError, match="loss.'gama' is unknown; did you mean 'gamma'"):
        build(config(loss=dict(name="own_functions:focal", gama=2.0)))


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        (
            (dict(name="own_functions:cut"),),
            r"'own_functions:cut' returned clips float32 \[2, 8, 39, 40, 3\]; expected",
        ),
        ((dict(name="own_functions:alone"),), r"'own_functions:alone' returned float32 \[2, 8, 40, 40, 3\]; it must"),
        ((dict(name="mixup"),), r"mixup: {}; expected dict\(alpha=...\)"),
        ("mixup", "config.augment='mixup': must be a section, a list of sections or None"),
        (dict(mix_up=dict(alpha=0.2)), "augment.'mix_up' is unknown; did you mean 'mixup'"),
    ],
)
def test_augmentations_are_tried_at_launch(augment, message):
    """With the shape of the training clips."""
    with pytest.raises(ValueError, match=message):
        build(config(augment=augment))


def test_built_in_colours_do_not_fit_flow():
    flow = config(augment=dict(color_jitter=dict(hue=0.1)))
    flow.model.update(mean=(128.0,), std=(128.0,))
    for section in ("train", "eval"):
        flow[section].update(modality="Flow", stack=1)
    with pytest.raises(ValueError, match=r"color_jitter: video is float32 \(2, 8, 40, 40, 2\); expected"):
        build(flow)


def test_a_saved_sequence_is_the_same():
    """JSON turns tuples into lists."""
    given = config(augment=(dict(name="own_functions:noise", sigma=4.0), *MIXUP))
    again = ConfigDict(json.loads(given.to_json_best_effort()))
    video, targets = np.zeros((4, 1, 8, 8, 3), np.uint8), np.eye(8, dtype=np.float32)[:4]
    one, other = (build(c).augment(video, targets, jax.random.key(3)) for c in (given, again))
    assert (one[0] == other[0]).all() and (one[1] == other[1]).all() and one[0].any()


def test_browse_shows_a_sequence(shapes, tmp_path):
    """Inverted twice: as it was; inverted once: the negative."""
    sheets = []
    for number, times in enumerate((0, 2, 1)):
        given = config(shapes, augment=(dict(name="own_functions:invert"),) * times)
        modes.browse(build(given), Call("browse", given, tmp_path / str(number), time.perf_counter(), num=2))
        sheets.append(cv2.imread(str(tmp_path / str(number) / "browse.png")))
    plain, twice, once = sheets
    np.testing.assert_array_equal(plain, twice)
    pictures = slice(32, 72)  # below two lines of text
    np.testing.assert_array_equal(plain[pictures, :40], 255 - once[pictures, :40])


def test_focal_loss_of_the_tests():
    """Both forms agree, and gamma 0 is the cross-entropy."""
    logits, labels = jnp.asarray([[1.0, 2.0, -1.0], [0.0, 0.5, 3.0]]), jnp.asarray([1, 0])
    np.testing.assert_allclose(
        own_functions.focal(logits, labels), own_functions.focal_of_classes(logits, labels), rtol=1e-6
    )
    hot = jax.nn.one_hot(labels, 3)
    expected = -(hot * jax.nn.log_softmax(logits)).sum(1)
    np.testing.assert_allclose(own_functions.focal(logits, hot, gamma=0.0), expected, rtol=1e-6)


def labelled(**options):
    return build_dataset(dict(name="own_functions:labelled", **options), num_classes=2)


@pytest.mark.parametrize(
    "options",
    [
        {},
        dict(train=np.array([1, 0]), val=[np.int64(1), np.array(0)]),
        dict(train=[np.float32([0.3, 0.7])]),
        dict(train=[np.float32([1, 1]), [0, 1], (0, 0)], val=[[1, 0.5]], multi_class=True),
    ],
    ids=["classes", "of NumPy", "distributions", "several"],
)
def test_data_sets_of_ones_own(options):
    labelled(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(train=[0, 1, 2, 3]), "train: record 2, '2.mp4', has label 2; expected a whole number in 0..1"),
        (dict(val=[0, -1]), "val: record 1, '1.mp4', has label -1; expected a whole"),
        (dict(train=[0.5]), "train: record 0, '0.mp4', has label 0.5; expected a whole"),
        (dict(train=[0, "1"]), "train: record 1, '1.mp4', has label '1'; expected a whole"),
        (dict(train=[True]), "has label True; expected a whole"),
        (dict(train=[[1, [2]]]), "has label [1, [2]]; expected a whole"),
        (dict(train=[0, [0, 1]]), "record 1, '1.mp4', has label [0, 1]; expected a whole"),
        (dict(train=[[0, 1], 0]), "record 1, '1.mp4', has label 0; expected 2 numbers in [0, 1], one for each class"),
        (dict(train=[[0, 0, 1]]), "has label [0, 0, 1]; expected 2 numbers"),
        (dict(train=[[0, np.nan]]), "has label [0, nan]; expected 2 numbers"),
        (dict(train=[["0", "1"]]), "has label ['0', '1']; expected 2 numbers"),
        (dict(train=[[1, 1]]), "has label [1, 1]; expected weights that sum to 1, as data.multi_class is not set"),
        (dict(multi_class=True), "train: record 0, '0.mp4', has label 0; expected 2 numbers"),
        (dict(train=[[2, 0]], multi_class=True), "has label [2, 0]; expected 2 numbers"),
        (dict(names={"a": 0, "b": 1}), "class_names is dict; it must be a list of text, name k of class k"),
        (dict(names=["a"]), "has 1 class names, but model.num_classes=2"),
        (dict(train=[]), "train has no records"),
        (dict(val=[]), "val has no records"),
        (dict(val=None), "val is NoneType; it must be a sequence of records, such as a list"),
        (dict(as_records=iter), "train is list_iterator; it must be a sequence of records"),
        (dict(as_records=lambda records: ["a.mp4"]), "train: record 0, str, has no attribute 'path'"),
    ],
)
def test_a_data_set_that_breaks_the_contract_is_refused_at_launch(options, message):
    with pytest.raises(ValueError, match=f"data.name='own_functions:labelled'.*{re.escape(message)}"):
        labelled(**options)


def test_the_names_of_a_data_set_need_no_records():
    """For uses of a trained network where its videos are not."""
    config = dict(name="own_functions:labelled", train=[])
    assert load_names(config, num_classes=2) == ["0", "1"]


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (
            dict(name="own_functions:untraceable"),
            r"name='own_functions:untraceable' failed on a traced epoch.*TracerBoolConversionError: [^\n]*\Z",
        ),
        (dict(name="own_functions:without_epochs"), "failed on a traced epoch.*unexpected keyword argument 'epochs'"),
        (dict(name="own_functions:falling", to=float("nan")), "own_functions:falling' returned nan for epoch 0 of"),
        (dict(name="own_functions:falling", to=-1.0), r"returned -0\.\d+ for epoch .*finite number, 0 or more"),
        (dict(name="own_functions:several_rates"), r"returned .*\(2,\).* for an epoch; it must return one number"),
    ],
)
def test_schedules_are_tried_at_launch(schedule, message):
    given = config()
    given.optim.schedule = schedule
    with pytest.raises(ValueError, match=message):
        build(given)


def test_schedules_of_ones_own():
    for schedule in (dict(name="own_functions:half_way"), dict(name="own_functions:falling", to=0.0)):
        given = config()
        given.optim.schedule = schedule
        build(given)


@pytest.mark.parametrize("kind", ["none", "number", "text"])
def test_rules_that_are_no_rows_are_refused(kind):
    given = config()
    given.optim.rules = dict(name="own_functions:rules_of", kind="rows")
    build(given)
    given.optim.rules.kind = kind
    with pytest.raises(ValueError, match=r"optim.rules.name='own_functions:rules_of' returned (NoneType|int|str); it"):
        build(given)


def test_an_optimizer_takes_parameters_schedule_and_rules():
    with pytest.raises(ValueError, match="optim.name='optax:adamw' has no argument 'params'; an optimizer of your own"):
        actjax.build("tsm_shapes", optim=dict(name="optax:adamw"))


def test_without_a_batch_size_of_its_own_the_learning_rate_does_not_scale():
    config = load_config("tsm_shapes").config
    del config.optim.lr_batch_size
    config.optim.update(lr=0.25, warmup_epochs=0.0)
    for size in (8, 16):
        config.run.batch_size = size
        assert float(actjax.build(config).network.optimizer.schedule(10.0)(0)) == 0.25
