import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from data_cases import cases
from hypothesis import given
from hypothesis import strategies as st

from actjax.data.clips.transforms import center, multi_scale
from actjax.data.datasets.mirrored import mirrored_pairs, mirroring_warning
from actjax.data.datasets.records import VideoRecord
from actjax.data.datasets.selecting import class_probabilities, concatenate, power_sample, repeat, shard, subset
from actjax.data.loading.order import epoch_order


def records(*labels):
    return [VideoRecord(f"{k}.mp4", label) for k, label in enumerate(labels)]


def test_repeat_matches_golden():
    for case in cases("datasets", "RepeatDataset"):
        inner, times = list(range(case["input"]["inner_length"])), case["args"]["times"]
        repeated = repeat(inner, times)
        assert len(repeated) == case["expect"]["length"] and list(repeated) == case["expect"]["order"]
        for index in (len(repeated), -len(repeated) - 1):  # the reference wraps
            with pytest.raises(IndexError, match=f"record {index} of {len(repeated)}"):
                repeated[index]


@given(st.lists(st.lists(st.integers(), max_size=5), min_size=1, max_size=5), st.integers(1, 4))
def test_lists_behind_each_other(lists, times):
    together, expected = repeat(concatenate(*lists), times), sum(lists, []) * times
    assert list(together) == expected and len(together) == len(expected)
    assert [together[-k - 1] for k in range(len(expected))] == expected[::-1]


def test_lists_that_cannot_be():
    with pytest.raises(ValueError, match="times=0; must be at least 1"):
        repeat([1], 0)
    with pytest.raises(ValueError, match="concatenate: no list"):
        concatenate()


def test_subset_of_classes_and_fractions():
    given_records = records(*([0] * 10 + [1] * 3 + [2] * 40))
    assert subset(given_records, classes=(2, 0)) == given_records[:10] + given_records[13:]
    tenth = subset(given_records, fraction=0.1)
    assert np.bincount([record.label for record in tenth]).tolist() == [1, 1, 4]  # at least one of every class
    assert tenth == subset(given_records, fraction=0.1) != subset(given_records, fraction=0.1, seed=1)
    assert tenth == sorted(tenth, key=given_records.index)
    assert subset(given_records, fraction=1.0) == subset(given_records) == given_records
    half = subset(given_records, classes=[2], fraction=0.5)
    assert {record.label for record in half} == {2} and len(half) == 20


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ((0, 1), dict(fraction=0), r"fraction=0; must be in \(0, 1\]"),
        ((0, 1), dict(fraction=1.5), "fraction=1.5"),
        ((0, 1), dict(classes=[0, 7]), r"no record of the classes \[7\]; there are \[0, 1\]"),
        ((0, 1), dict(classes=[]), "nothing is left"),
        ((np.ones(3, np.float32),), dict(classes=[0]), r"labels are float32 \[1, 3\]; expected classes, int \[n\]"),
        ((0, -1), dict(fraction=0.5), "label -1; classes count from 0"),
        ((0.5, 1.0), dict(fraction=0.5), "labels are float64"),
    ],
)
def test_subsets_that_cannot_be(labels, options, message):
    with pytest.raises(ValueError, match=message):
        subset(records(*labels), **options)


def test_power_sampling_follows_golden_law():
    for case in cases("samplers_loader", "DistributedPowerSampler"):
        if "labels" in case["input"]:
            with pytest.raises(ValueError, match=r"no record of the classes \[1\]"):
                class_probabilities(case["input"]["labels"], power=1)
            continue
        counts, law = case["input"]["class_counts"], np.array(case["expect"]["class_prob"])
        labels = np.random.default_rng(3).permutation(np.repeat(np.arange(len(counts)), counts))
        power = case["args"]["power"]
        np.testing.assert_allclose(class_probabilities(labels, power=power), law)
        drawn = power_sample(labels, power=power, u=np.random.default_rng(0).random((case["draws"], 2)))
        assert drawn.dtype == np.int64
        each = law[labels] / np.array(counts)[labels]  # uniform within its class
        for values, expected in ((labels[drawn], law * len(drawn)), (drawn, each * len(drawn))):
            found = np.bincount(values, minlength=len(expected))
            statistic, freedom = ((found - expected) ** 2 / expected).sum(), len(expected) - 1
            assert statistic < freedom + 5 * np.sqrt(2 * freedom) + 20, case["id"]  # chi-square, p < 1e-6


@pytest.mark.parametrize("power", [0, 0.5, 1])
def test_power_sampling_numpy_equals_jit(power):
    labels = np.random.default_rng(1).permutation(np.repeat([0, 1, 2], [7, 1, 20]))
    u = np.random.default_rng(2).random((5000, 2), dtype=np.float32)
    u[:2] = 0, np.nextafter(np.float32(1), np.float32(0))
    on_device = jax.jit(lambda u: power_sample(labels, power=power, u=u))(jnp.asarray(u))
    np.testing.assert_array_equal(power_sample(labels, power=power, u=u), on_device)


@pytest.mark.parametrize(
    ("labels", "u", "message"),
    [
        ([0, 1], np.zeros(4), r"u has shape \(4,\); expected \[m, 2\]"),
        ([], np.zeros((1, 2)), "no labels"),
        ([1, 2], np.zeros((1, 2)), r"no record of the classes \[0\]"),
        ([[0, 1]], np.zeros((1, 2)), "expected classes"),
    ],
)
def test_power_sampling_bad_input(labels, u, message):
    with pytest.raises(ValueError, match=message):
        power_sample(labels, power=1, u=u)


def test_shards_match_golden():
    for case in cases("samplers_loader", "DistributedSampler"):
        length, count = case["input"]["dataset_length"], case.get("args", case["input"])["num_replicas"]
        parts = [shard(range(length), index=k, count=count).tolist() for k in range(count)]
        if "per_rank" in case["expect"]:
            assert parts == case["expect"]["per_rank"], case["id"]
        elif "exception" in case["expect"]:  # the reference fills up once only
            assert parts == [[k % length] for k in range(count)]
        else:
            first, again, other = (epoch_order(0, epoch, length).tolist() for epoch in (1, 1, 2))
            assert first == again != other
            joined = np.stack([shard(first, index=k, count=count) for k in range(count)], axis=1).ravel()
            assert joined.tolist() == first


@given(st.integers(1, 50), st.integers(1, 20))
def test_shards_are_even_and_miss_nothing(length, count):
    parts = [shard(range(length), index=k, count=count) for k in range(count)]
    assert {len(part) for part in parts} == {-(-length // count)}
    assert set(np.concatenate(parts).tolist()) == set(range(length))


@pytest.mark.parametrize(("length", "index", "count"), [(0, 0, 1), (3, 2, 2), (3, -1, 2), (3, 0, 0)])
def test_shards_that_cannot_be(length, index, count):
    with pytest.raises(ValueError, match=f"shard: {length} indices for process {index} of {count}"):
        shard(range(length), index=index, count=count)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("left", "right"),
        ("turn_left", "turn_right"),
        ("Turning left", "turning RIGHT"),
        ("LeftTurn", "RightTurn"),
        ("turnLeft", "turn-right"),
        ("TURN_LEFT", "TURN_RIGHT"),
        ("push from left to right", "push from right to left"),
        ("lefthand wave", "righthand wave"),
        ("left-handed", "right handed"),
        ("moving leftwards", "moving rightwards"),
        ("clockwise", "counterclockwise"),
        ("turn clockwise", "turn counter-clockwise"),
        ("RotateClockwise", "RotateAntiClockwise"),
        ("rotate clockwise", "rotate anticlockwise"),
        ("spin_cw", "spin_ccw"),
        ("wave left 1", "wave right 1"),
        ("jeter à left", "jeter à right"),
    ],
)
def test_names_that_a_mirror_turns_into_each_other(one, other):
    assert mirrored_pairs(["run", one, "jump", other]) == [(1, 3)]
    assert mirrored_pairs([other, one]) == [(0, 1)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("bright", "blight"),
        ("copyleft", "copyright"),
        ("turn left", "go right"),
        ("left 1", "right 2"),
        ("left", "left "),
        ("turn left", "turn around"),
        ("left to right", "left to right again"),
        ("cwm", "ccwm"),
        ("0", "1"),
        ("clockwise", "wise"),
        ("à gauche", "à droite"),
    ],
)
def test_names_that_are_no_pair(one, other):
    assert mirrored_pairs([one, other]) == []


def test_training_warns_of_mirrored_classes():
    names = ["run", "turn left", "turn right", "roll clockwise", "roll counter-clockwise"]
    view = functools.partial(multi_scale, short_side=45, size=40, flip_ratio=0.5)
    assert mirroring_warning(names, view, ()) == (
        "clips are mirrored (train.view.flip_ratio=0.5), which turns classes into each other: 'turn left' and "
        "'turn right', 'roll clockwise' and 'roll counter-clockwise'; set train.view.flip_ratio=0, or "
        "train.flip_labels=((1, 2), (3, 4)) to swap them, too"
    )
    assert "'roll clockwise'" in (told := mirroring_warning(names, view, ((2, 1),))) and "'turn" not in told
    assert "train.flip_labels=((2, 1), (3, 4))" in told
    assert mirroring_warning(names, view, ((1, 2), (4, 3))) == ""
    assert mirroring_warning(names, functools.partial(view, flip_ratio=0), ()) == ""
    assert mirroring_warning(names, functools.partial(center, short_side=45, size=40), ()) == ""
    assert mirroring_warning(["run", "jump"], view, ()) == ""
    many = [f"{side} {k}" for k in range(9) for side in ("left", "right")]
    assert mirroring_warning(many, view, ()).endswith("and 4 more pairs; set train.view.flip_ratio=0")
