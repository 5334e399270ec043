import functools
import json

import numpy as np
import pytest

from actjax.data import stages
from actjax.data.annotations import VideoRecord, load_annotations
from actjax.data.loading import Quarantine, Shard, epoch_order, eval_batches, record_rngs, train_batches, train_record

SAMPLE = functools.partial(stages.sample_frames, num_clips=4)
TRAIN = stages.Protocol(
    SAMPLE, functools.partial(stages.multi_scale, short_side=45, size=40, scales=(1, 0.875), flip_ratio=0.5)
)
EVAL = stages.Protocol(SAMPLE, functools.partial(stages.center, short_side=45, size=40))


@pytest.fixture
def records(shapes):
    return load_annotations("videos", shapes / "train.txt")


@pytest.fixture
def quarantine(tmp_path):
    return Quarantine(tmp_path / "quarantine.jsonl", num_records=64, max_share=0.5)


def batches(records, quarantine, **options):
    options = dict(seed=0, batch_size=8, first_step=0, num_steps=10, num_workers=0) | options
    return list(train_batches(records, TRAIN, quarantine=quarantine, **options))


def assert_equal(left, right):
    for a, b in zip(left, right, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_every_record_once_per_epoch_and_new_draws_each(records, quarantine):
    taken = batches(records, quarantine, batch_size=24, num_steps=16 // 2)  # 192 clips = 3 epochs, batches span them
    order = np.concatenate([batch["record"] for batch in taken])
    for epoch in range(3):
        assert sorted(order[64 * epoch : 64 * (epoch + 1)]) == list(range(64))
    assert (order[:64] != order[64:128]).any()
    clips = np.concatenate([batch["video"] for batch in taken])
    first, second = clips[np.argmax(order == 5)], clips[64 + np.argmax(order[64:128] == 5)]
    assert (first != second).any()
    assert clips.shape == (192, 1, 4, 40, 40, 3) and clips.dtype == np.uint8


def test_workers_do_not_matter(records, quarantine):
    reference = batches(records, quarantine)
    for num_workers in (1, 2):
        assert_equal(batches(records, quarantine, num_workers=num_workers), reference)


def test_restart_anywhere_with_other_workers(records, quarantine):
    assert_equal(batches(records, quarantine, first_step=7, num_workers=2), batches(records, quarantine)[7:])


def test_hosts_share_the_global_batch(records, quarantine):
    parts = [batches(records, quarantine, shard=Shard(host, 2)) for host in range(2)]
    joined = [{name: np.concatenate([a[name], b[name]]) for name in a} for a, b in zip(*parts, strict=True)]
    assert_equal(joined, batches(records, quarantine))
    with pytest.raises(ValueError, match="does not divide by 3 hosts"):
        batches(records, quarantine, shard=Shard(0, 3))


def test_seed_changes_order_and_draws():
    assert (epoch_order(0, 0, 50) != epoch_order(1, 0, 50)).any()
    assert train_record(60, seed=0, num_records=50) == (1, epoch_order(0, 1, 50)[10])
    draws = {
        record_rngs(seed, epoch, record)(stage).random()
        for seed in (0, 1)
        for epoch in (0, 1)
        for record in (0, 1)
        for stage in ("a", "b")
    }
    assert len(draws) == 16


def test_broken_files_are_replaced_written_once_and_bounded(records, quarantine, tmp_path):
    (tmp_path / "broken.mp4").write_text("no video")
    damaged = list(records)
    damaged[3] = VideoRecord(str(tmp_path / "broken.mp4"), 1)
    damaged[9] = VideoRecord(str(tmp_path / "missing.mp4"), 1)
    taken = batches(damaged, quarantine, num_steps=16)  # two epochs
    order = np.concatenate([batch["record"] for batch in taken])
    assert len(order) == 128 and not np.isin(order, [3, 9]).any()
    rows = [json.loads(line) for line in quarantine.path.read_text().splitlines()]
    assert {(row["path"], row["reason"]) for row in rows} >= {(str(tmp_path / "missing.mp4"), "no such file")}
    assert len(rows) == 2
    assert_equal(batches(damaged, quarantine, num_steps=16, num_workers=2), taken)  # the same substitutes
    again = Quarantine(quarantine.path, num_records=64, max_share=0.5)
    assert again.files == quarantine.files
    strict = Quarantine(tmp_path / "strict.jsonl", num_records=64, max_share=0.02)
    with pytest.raises(RuntimeError, match="2 of 64 videos cannot be decoded, more than loader.max_broken=0.02"):
        batches(damaged, strict, num_steps=16)


def test_nothing_decodable(tmp_path, quarantine):
    with pytest.raises(RuntimeError, match="not one of the videos can be decoded"):
        batches([VideoRecord(str(tmp_path / "missing.mp4"), 0)] * 3, quarantine, batch_size=2)


def test_a_fault_in_the_code_is_not_a_broken_video(records, quarantine):
    def fault(num_frames, *, rng):
        raise ZeroDivisionError("a fault")

    with pytest.raises(ZeroDivisionError, match="a fault"):
        list(
            train_batches(
                records,
                TRAIN._replace(sample=fault),
                seed=0,
                batch_size=8,
                first_step=0,
                num_steps=1,
                quarantine=quarantine,
                num_workers=0,
            )
        )


@pytest.mark.parametrize(("num_workers", "hosts"), [(0, 1), (2, 1), (0, 2)])
def test_evaluation_sees_every_record_once_in_every_pass(records, quarantine, tmp_path, num_workers, hosts):
    records = list(records[:21])
    records[4] = VideoRecord(str(tmp_path / "missing.mp4"), 1)
    for host in range(hosts):
        passes = eval_batches(
            records, EVAL, batch_size=8, quarantine=quarantine, num_workers=num_workers, shard=Shard(host, hosts)
        )
        for _ in range(2):
            taken = list(next(passes))
            assert [batch["video"].shape for batch in taken] == [(8 // hosts, 1, 4, 40, 40, 3)] * 3
            seen = np.concatenate([batch["record"][batch["mask"]] for batch in taken])
            mine = [r for r in range(21) if r != 4 and r % 8 // (8 // hosts) == host]
            assert seen.tolist() == mine
        passes.close()
    assert quarantine.files == {str(tmp_path / "missing.mp4")}


def test_protocol_matches_golden_pipeline(golden, media):
    """The TSM validation chain on a real file, to the normalised tensor."""
    from actjax.models import normalize

    arrays = np.load(golden / "data" / "end_to_end.npz")
    sample = functools.partial(stages.sample_frames, num_clips=8)
    protocol = stages.Protocol(sample, functools.partial(stages.center, short_side=48, size=44), fused=False)
    clip = stages.read_clip(media / "test.mp4", protocol, rngs=lambda stage: None)
    assert clip.shape == protocol.clip_shape == (1, 8, 44, 44, 3)
    out = np.asarray(normalize(clip[0])).transpose(0, 3, 1, 2)
    difference = np.abs(out - arrays["tsm_val"])
    assert difference.max() <= 1.05 / 57.12 and difference.mean() <= 0.15 / 57.12


def test_twice_sample_makes_two_views(media):
    sample = functools.partial(stages.sample_frames, num_clips=4, twice_sample=True)
    protocol = EVAL._replace(sample=sample)
    assert stages.read_clip(media / "test.mp4", protocol, rngs=lambda stage: None).shape == (2, 4, 40, 40, 3)
