"""Features of untrimmed videos -> batches: lengths, order, hosts, broken files, the sample set."""

import json

import numpy as np
import pytest

from actjax.data.datasets.annotations import load_annotations
from actjax.data.datasets.rescaling import linear, pooled, unchanged
from actjax.data.datasets.untrimmed import Rescaled, activitynet, build_untrimmed, sequences
from actjax.data.loading import endings
from actjax.data.loading.feature_batches import eval_items, train_items
from actjax.data.loading.order import Shard
from actjax.data.loading.quarantine import Quarantine
from actjax.data.prepared.writing import prepare_features
from actjax.data.samples.sequences import CHANNELS, CLASSES, draw_annotation, make_sequences
from actjax.video.errors import Unreachable, VideoError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_sequences(tmp_path_factory.mktemp("data") / "sequences", num_train=20, num_val=7)


@pytest.fixture
def data(folder):
    return sequences(folder=str(folder), num_train=20, num_val=7)


def quarantine(tmp_path, allowed=1.0):
    return Quarantine(tmp_path / "quarantine.jsonl", num_records=20, max_share=allowed)


def test_linear_is_torchs_interpolation():
    torch = pytest.importorskip("torch", reason="torch is the other side of this comparison")
    for steps in (1, 2, 7, 100, 350):
        feature = np.random.default_rng(steps).normal(size=(steps, 3)).astype(np.float32)
        theirs = torch.nn.functional.interpolate(torch.tensor(feature.T[None]), size=100, mode="linear")[0].T
        np.testing.assert_allclose(linear(feature, 100), theirs, atol=2e-5)


@pytest.mark.parametrize("steps", [2, 5, 99, 100, 101, 333])
def test_pooled_is_the_mean_of_three_points(steps):
    """The rule of the reference's tool, written out point by point."""
    feature = np.random.default_rng(0).normal(size=(steps, 4)).astype(np.float32)
    size, start = (steps - 1 - 2e-4) / 100, 1e-4
    expected = []
    for part in range(100):
        points = [start + part * size + k / 3 * size for k in range(3)]
        columns = [[np.interp(p, np.arange(steps), feature[:, c]) for p in points] for c in range(4)]
        expected.append(np.mean(columns, axis=1))
    np.testing.assert_allclose(pooled(feature, 100), expected, atol=1e-5)


def test_rescaling_keeps_what_is_constant():
    feature = np.full((13, 2), 3.0, np.float32)
    for rescale in (linear, pooled):
        out = rescale(feature, 50)
        assert out.shape == (50, 2) and out.dtype == np.float32
        np.testing.assert_allclose(out, 3.0, rtol=1e-6)
        np.testing.assert_allclose(rescale(feature[:1], 4), 3.0, rtol=1e-6)
    with pytest.raises(ValueError, match="13 time steps; expected 50. Set data.rescale"):
        unchanged(feature, 50)


def test_sample_set_has_the_formats_and_statistics_of_activitynet(folder):
    names = {path.name for path in folder.iterdir()}
    assert names == {"features", "anet_anno_train.json", "anet_anno_val.json", "class_scores.json", "sample_set.txt"}
    records = load_annotations("activitynet", folder / "anet_anno_train.json", data_prefix=folder / "features")
    assert len(records) == 20 and len(list((folder / "features").iterdir())) == 27
    table = (folder / "features" / "v_val_0000.csv").read_text().splitlines()
    assert table[0].startswith("f0,f1,") and len(table[1].split(",")) == CHANNELS
    scores = json.loads((folder / "class_scores.json").read_text())
    assert scores["class"] == list(CLASSES) and len(scores["results"]) == 27
    rng = np.random.default_rng(0)
    drawn = [draw_annotation(rng) for _ in range(4000)]
    single = np.mean([len(entry["annotations"]) == 1 for entry in drawn])
    assert single == pytest.approx(0.754, abs=0.03)
    seconds = np.median([entry["duration_second"] for entry in drawn])
    assert seconds == pytest.approx(114.5, rel=0.05)
    covered = [
        sum(e - s for s, e in (row["segment"] for row in entry["annotations"])) / entry["duration_second"]
        for entry in drawn
    ]
    assert 0.6 < np.median(covered) < 0.8 and max(covered) <= 1 + 1e-9
    for entry in drawn:
        segments = np.array([row["segment"] for row in entry["annotations"]])
        assert (segments[:, 0] < segments[:, 1]).all() and (segments[1:, 0] >= segments[:-1, 1] - 1e-9).all()


def test_sample_set_follows_from_the_seed(folder, tmp_path):
    again = make_sequences(tmp_path / "again", num_train=20, num_val=7)
    for file in sorted(folder.rglob("*.*")):
        assert (again / file.relative_to(folder)).read_bytes() == file.read_bytes()
    other = make_sequences(tmp_path / "other", num_train=20, num_val=7, seed=1)
    assert (other / "anet_anno_val.json").read_text() != (folder / "anet_anno_val.json").read_text()
    with pytest.raises(ValueError, match="num_val=0"):
        make_sequences(tmp_path / "none", num_val=0)


def test_prepared_features_are_those_of_the_files(data, folder, tmp_path):
    prepare_features(sorted((folder / "features").iterdir()), tmp_path / "prepared", processes=0)
    lists = dict(train=str(folder / "anet_anno_train.json"), val=str(folder / "anet_anno_val.json"))
    prepared = activitynet(features=str(tmp_path / "prepared"), **lists)
    ours, theirs = Rescaled(data, (100, CHANNELS)), Rescaled(prepared, (100, CHANNELS))
    for record in data.train:
        np.testing.assert_array_equal(ours(record), theirs(record))


def test_training_batches_are_a_function_of_seed_and_step(tmp_path):
    item = lambda k: {"feature": np.full((2, 3), k, np.float32)}
    options = dict(seed=3, batch_size=4, quarantine=quarantine(tmp_path))
    batches = list(train_items(item, 20, **options, position=0, num_batches=10))
    assert [batch["record"].shape for batch in batches] == [(4,)] * 10
    for epoch in (batches[:5], batches[5:]):
        assert sorted(np.concatenate([batch["record"] for batch in epoch])) == list(range(20))
    resumed = list(train_items(item, 20, **options, position=28, num_batches=3))
    hosts = [list(train_items(item, 20, **options, position=0, num_batches=10, shard=Shard(k, 2))) for k in (0, 1)]
    for step, batch in enumerate(batches):
        np.testing.assert_array_equal(batch["feature"][:, 0, 0], batch["record"])
        np.testing.assert_array_equal(np.concatenate([host[step]["record"] for host in hosts]), batch["record"])
        if step >= 7:
            np.testing.assert_array_equal(resumed[step - 7]["record"], batch["record"])


def broken(*bad):
    def item(k):
        if k in bad:
            raise VideoError(f"video {k}", "broken")
        return {"feature": np.full(2, k, np.float32)}

    return item


def test_features_on_a_file_server_that_is_gone_are_not_broken(tmp_path, monkeypatch):
    monkeypatch.setattr(endings, "PAUSES", (0.1, 0.1))
    faults = []

    def item(k):
        if k == 2 and len(faults) < limit:
            faults.append(k)
            raise VideoError(f"video {k}", "no answer") from TimeoutError("no answer")
        return {"feature": np.full(2, k, np.float32)}

    listed = quarantine(tmp_path)
    for limit in (2, 10):
        options = dict(batch_size=4, quarantine=listed)
        for batches in (
            train_items(item, 4, seed=0, position=0, num_batches=1, **options),
            eval_items(item, 4, **options),
        ):
            faults.clear()
            if limit == 10:
                with pytest.raises(Unreachable, match="video 2 cannot be reached .no answer; tried 3 times"):
                    list(batches)
            else:
                assert sorted(next(batches)["record"]) == [0, 1, 2, 3]
    assert not listed.files


def test_broken_records_are_replaced_in_training_and_left_out_in_evaluation(tmp_path):
    options = dict(batch_size=4, quarantine=quarantine(tmp_path))
    for batch in train_items(broken(5, 6), 20, seed=0, **options, position=0, num_batches=10):
        assert not set(batch["record"]) & {5, 6} and len(batch["record"]) == 4
    assert (tmp_path / "quarantine.jsonl").read_text().count("broken") == 2
    batches = list(eval_items(broken(0, 1, 2, 3, 6), 10, **options))
    assert [list(batch["mask"]) for batch in batches] == [
        [False] * 4, [True, True, False, True], [True, True, False, False]
    ]  # fmt: skip
    assert [list(batch["record"]) for batch in batches][1] == [4, 5, -1, 7]
    assert batches[0]["feature"].shape == (4, 2) and not batches[0]["feature"].any()
    hosts = [list(eval_items(broken(0, 1, 2, 3, 6), 10, **options, shard=Shard(k, 2))) for k in (0, 1)]
    for step, batch in enumerate(batches):
        np.testing.assert_array_equal(np.concatenate([host[step]["mask"] for host in hosts]), batch["mask"])
    with pytest.raises(RuntimeError, match="none of the videos can be read"):
        list(eval_items(broken(*range(10)), 10, **options))
    with pytest.raises(RuntimeError, match="none of the videos can be read"):
        next(train_items(broken(*range(10)), 10, seed=0, **options, position=0, num_batches=1))


def test_too_many_broken_records_end_the_run(tmp_path):
    few = dict(batch_size=4, quarantine=quarantine(tmp_path, allowed=0.1))
    with pytest.raises(RuntimeError, match="3 of 20 videos"):
        list(eval_items(broken(1, 2, 3), 10, **few))


def test_features_that_do_not_fit_are_named(data, folder, tmp_path):
    with pytest.raises(VideoError, match=r"v_train_0000: features of 48 channels; model.feat_dim is 400"):
        Rescaled(data, (100, 400))(data.train[0])
    lists = dict(train=str(folder / "anet_anno_train.json"), val=str(folder / "anet_anno_val.json"))
    exact = activitynet(features=str(folder / "features"), rescale="none", **lists)
    with pytest.raises(VideoError, match="time steps; expected 3. Set data.rescale"):
        Rescaled(exact, (3, CHANNELS))(exact.train[0])
    for options, message in (
        (dict(features=str(tmp_path / "absent")), "data.features=.*absent is not a folder"),
        (dict(features=str(tmp_path)), "no features of 27 of 27 videos, 'v_train_0000' the first"),
        (dict(features=str(folder / "features"), class_scores="absent.json"), "data.class_scores=absent.json does not"),
    ):
        with pytest.raises((FileNotFoundError, ValueError), match=message):
            activitynet(**options, **lists)
    with pytest.raises(ValueError, match="data.'feature' is unknown; did you mean 'features'"):
        build_untrimmed({"name": "activitynet", "feature": "x", **lists})
    text = (folder / "anet_anno_val.json").read_text().replace('"feature_frame": ', '"feature_frame": -')
    (tmp_path / "negative.json").write_text(text)
    with pytest.raises(ValueError, match="v_val_0000.*feature_frame is -736; it must be a positive"):
        activitynet(features=str(folder / "features"), train=lists["train"], val=str(tmp_path / "negative.json"))
