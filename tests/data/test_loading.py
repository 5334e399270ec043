import errno
import functools
import json
import logging
import os
import pathlib
import signal
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pytest
from broken_records import Befallen, Crashing, Hanging, Waiting

from actjax.data.clips import spec, transforms
from actjax.data.datasets.annotations import load_annotations
from actjax.data.datasets.records import VideoRecord
from actjax.data.loading import processes
from actjax.data.loading.batches import Loader, build_dataloader, eval_batches, train_batches
from actjax.data.loading.endings import MachineError
from actjax.data.loading.order import Order, Shard, epoch_order
from actjax.data.loading.quarantine import Quarantine, TooManyBroken
from actjax.data.seeding import Place, transform_rngs
from actjax.video.errors import VideoError, VideoTimeout

SAMPLE = functools.partial(transforms.sample_frames, num_clips=4)
TRAIN = spec.ClipSpec(
    SAMPLE, functools.partial(transforms.multi_scale, short_side=45, size=40, scales=(1, 0.875), flip_ratio=0.5)
)
EVAL = spec.ClipSpec(SAMPLE, functools.partial(transforms.center, short_side=45, size=40))


@pytest.fixture
def records(shapes):
    return load_annotations("videos", shapes / "train.txt")


@pytest.fixture
def quarantine(tmp_path):
    return Quarantine(tmp_path / "quarantine.jsonl", num_records=64, max_share=0.5)


def batches(
    records, quarantine, *, num_workers=0, shard=Shard(), protocol=TRAIN, first_step=0, num_steps=10, **options
):
    batch_size = options.setdefault("batch_size", 8)
    loader = Loader(num_workers, timeout=2.0, shard=shard)
    options = dict(seed=0, position=first_step * batch_size, num_batches=num_steps - first_step) | options
    return list(train_batches(records, protocol, quarantine=quarantine, loader=loader, **options))


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
    with pytest.raises(ValueError, match="is not divisible by 3 hosts"):
        batches(records, quarantine, shard=Shard(0, 3))


def test_seed_changes_order_and_draws():
    assert (epoch_order(0, 0, 50) != epoch_order(1, 0, 50)).any()
    records = [VideoRecord("a.mp4", 0)] * 50
    assert Order(records, seed=0).place(60) == Place(0, 1, epoch_order(0, 1, 50)[10])
    draws = {
        transform_rngs(Place(seed, epoch, record))(stage).random()
        for seed in (0, 1)
        for epoch in (0, 1)
        for record in (0, 1)
        for stage in ("a", "b")
    }
    assert len(draws) == 16


def test_power_draws_classes_by_their_counts():
    labels = np.repeat([0, 1, 2], [10, 30, 60])
    records = [VideoRecord(f"{k}.mp4", int(label)) for k, label in enumerate(labels)]
    for power, law in ((1, (0.1, 0.3, 0.6)), (0, (1 / 3, 1 / 3, 1 / 3))):
        order = Order(records, seed=4, power=power)
        drawn = np.array([order.place(k).record for k in range(20_000)])
        counts, expected = np.bincount(labels[drawn], minlength=3), np.array(law) * 20_000
        assert ((counts - expected) ** 2 / expected).sum() < 28  # chi-square with 2 degrees, p = 1e-6
        within = np.bincount(drawn[labels[drawn] == 0], minlength=10)
        assert ((within - within.mean()) ** 2 / within.mean()).sum() < 46  # 9 degrees


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


class BrokenInPart(NamedTuple):
    """The first half of a video can be read."""

    path: str
    label: int = 0

    def open(self, *, backend):
        video = VideoRecord(self.path).open(backend=backend)
        return _FirstHalf(self.path, video)


class _FirstHalf(NamedTuple):
    path: str
    video: object
    num_frames = 30

    def frames(self, indices):
        if indices.max() >= self.num_frames // 2:
            raise VideoError(self.path, "broken in part")
        return self.video.frames(indices)


def test_a_file_broken_in_part_makes_no_batch_depend_on_the_past(records, quarantine):
    """Also after a restart, with a quarantine that knows all of them."""
    clip = functools.partial(transforms.sample_frames, num_clips=1, clip_len=4)
    protocol = TRAIN._replace(sample=clip)
    damaged = [BrokenInPart(record.path, record.label) for record in records[:16]] + records[16:]
    taken = batches(damaged, quarantine, num_steps=32, protocol=protocol)
    used = {damaged[k].path for batch in taken for k in batch["record"]}
    assert used & quarantine.files and len(quarantine.files) == 16
    assert_equal(batches(damaged, quarantine, first_step=20, num_steps=32, protocol=protocol), taken[20:])


def test_hanging_and_crashing_decoders_do_not_end_a_run(records, quarantine):
    damaged = list(records)
    damaged[2], damaged[5] = Hanging(), Crashing()
    taken = batches(damaged, quarantine, num_steps=16, num_workers=2)  # two epochs
    order = np.concatenate([batch["record"] for batch in taken])
    assert len(order) == 128 and not np.isin(order, [2, 5]).any()
    rows = [json.loads(line) for line in quarantine.path.read_text().splitlines()]
    assert {row["path"]: row["reason"] for row in rows} == {
        "hanging.mp4": "decoding took more than 2 s",
        "crashing.mp4": "the decoder crashed its process (SIGSEGV)",
    }
    assert len(rows) == 2


@pytest.fixture
def hasty(monkeypatch):
    """Looks at silent readers often, and gives them up soon."""
    monkeypatch.setattr(processes, "TICK", 0.25)
    monkeypatch.setattr(processes, "GRACE", 0.5)


@pytest.mark.parametrize("what", ["SIGKILL", "SIGSTOP", "SIGHUP", "SIGALRM"])
def test_what_befalls_readers_changes_no_batch(records, quarantine, tmp_path, caplog, hasty, what):
    """Killed, for lack of memory for example; stopped; or waiting in the kernel, where no deadline reaches them."""
    befallen = list(records)
    killed = what in ("SIGKILL", "SIGHUP")
    for k in (2, 9, 30):
        (tmp_path / str(k)).mkdir()
        befallen[k] = Befallen(*records[k][:2], str(tmp_path / str(k)), what, times=2 if killed else 1)
    with caplog.at_level(logging.WARNING, "actjax"):
        taken = batches(befallen, quarantine, num_workers=2)
    assert_equal(taken, batches(records, quarantine))
    assert not quarantine.files and not quarantine.path.exists()
    said = "was killed" if killed else "did not answer, or was stopped"
    assert sum(said in record.getMessage() for record in caplog.records) >= 3


def test_readers_that_are_always_killed_end_the_run_for_lack_of_memory(records, quarantine, tmp_path):
    killing = [Befallen(*record[:2], str(tmp_path), "SIGKILL", times=10**6) for record in records]
    with pytest.raises(MachineError, match="was killed .SIGKILL., 3 times .* memory is short; .*num_workers") as caught:
        batches(killing, quarantine, num_workers=2)
    assert caught.value.clear and not any(record.path in str(caught.value) for record in killing)
    assert not quarantine.files and not quarantine.path.exists()


def test_a_file_that_no_deadline_ends_counts_as_too_slow_at_last(records, quarantine, tmp_path, hasty):
    waiting = list(records)
    waiting[2] = Befallen(*records[2][:2], str(tmp_path), "SIGALRM", times=10**6)
    order = np.concatenate([batch["record"] for batch in batches(waiting, quarantine, num_steps=8, num_workers=2)])
    assert len(order) == 64 and 2 not in order
    (row,) = map(json.loads, quarantine.path.read_text().splitlines())
    assert row == dict(path=records[2].path, reason="decoding took more than 2 s", timeout=True)


def digests(folder: str, train: str) -> None:
    """In another process: prints a digest of each batch, and what the quarantine holds."""
    records = load_annotations("videos", train)
    for k in (3, 17):
        records[k] = Waiting(*records[k][:2], folder)
    listed = Quarantine(pathlib.Path(folder, "quarantine.jsonl"), num_records=64, max_share=1.0)
    for batch in batches(records, listed, num_workers=2):
        print(zlib.crc32(batch["video"]), batch["record"].tolist(), batch["label"].tolist())
    print(sorted(listed.files))


def test_a_run_that_is_suspended_is_the_quiet_run(shapes, tmp_path, root):
    """A laptop's lid, `scontrol suspend`, a container's freeze: the whole group stops, for longer than the timeout."""
    code = f"import test_loading; test_loading.digests(*{(str(tmp_path), str(shapes / 'train.txt'))})"
    paths = [str(root), str(root / "tests" / "data"), str(root / "tests" / "helpers")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    options = dict(stdout=subprocess.PIPE, text=True, env=environment)
    with subprocess.Popen([sys.executable, "-c", code], start_new_session=True, **options) as run:
        try:
            for _ in range(1200):
                if (tmp_path / "opened").exists():
                    break
                time.sleep(0.05)
            os.killpg(run.pid, signal.SIGSTOP)
            (tmp_path / "go").touch()  # it was about to be read
            time.sleep(5)  # of 2
            os.killpg(run.pid, signal.SIGCONT)
            suspended, _ = run.communicate(timeout=120)
        finally:
            run.kill()
    quiet = subprocess.run([sys.executable, "-c", code], timeout=120, check=True, **options)
    assert suspended == quiet.stdout and suspended.endswith("\n[]\n") and suspended.count("\n") == 11


def test_files_of_an_earlier_quarantine_are_not_opened(records, tmp_path, quarantine):
    skipped = [records[k].path for k in (1, 8)]
    path = tmp_path / "earlier.jsonl"
    path.write_text("".join(json.dumps({"path": p, "reason": "old"}) + "\n" for p in skipped))
    skipping = Quarantine(tmp_path / "own.jsonl", num_records=64, max_share=0.0, skip=str(path))
    order = np.concatenate([batch["record"] for batch in batches(records, skipping, num_steps=8)])
    assert len(order) == 64 and not np.isin(order, [1, 8]).any() and not skipping.files
    passes = eval_batches(records, EVAL, batch_size=8, quarantine=skipping, loader=Loader(0))
    seen = np.concatenate([batch["record"][batch["mask"]] for batch in next(passes)])
    assert seen.tolist() == [k for k in range(64) if k not in (1, 8)]
    passes.close()
    with pytest.raises(FileNotFoundError, match="does not exist"):
        Quarantine(tmp_path / "own.jsonl", num_records=1, skip=str(tmp_path / "none"))
    path.write_text("not json\n")
    with pytest.raises(ValueError, match="expected lines"):
        Quarantine(tmp_path / "own.jsonl", num_records=1, skip=str(path))


def test_too_many_broken_files_end_a_run_with_one_line_that_tells_how_to_go_on(tmp_path):
    """They count again in the next run, once each, as they are met: some may have been repaired."""
    path = tmp_path / "quarantine.jsonl"
    for _ in range(2):
        quarantine = Quarantine(path, num_records=20, max_share=0.1)
        for k in (0, 1, 0, 1):
            quarantine.add(VideoError(f"{k}.mp4", "broken"))
        with pytest.raises(TooManyBroken) as caught:
            quarantine.add(VideoError("2.mp4", "torn"))
        assert caught.value.clear and str(caught.value) == (
            "3 of 20 videos cannot be decoded, more than loader.max_broken=0.1 allows, the last one 2.mp4: torn. "
            f"{path} lists them: repair them or raise loader.max_broken, then repeat the command, which resumes where "
            "it stopped"
        )
    assert [json.loads(line)["path"] for line in path.read_text().splitlines()] == ["0.mp4", "1.mp4", "2.mp4"]
    quarantine = Quarantine(path, num_records=20, max_share=0.1)
    quarantine.add(VideoError("3.mp4", "broken"))
    assert quarantine.files == {f"{k}.mp4" for k in range(4)}


def test_lines_of_a_quarantine_that_a_killed_run_tore_block_nothing(tmp_path, caplog):
    path = tmp_path / "quarantine.jsonl"
    path.write_bytes(b'{"path": "a.mp4", "reason": "slow", "timeout": true}\n\0\0\0\n[]\n{"path": 3}\n{"path": "b.m')
    with caplog.at_level(logging.WARNING, "actjax"):
        quarantine = Quarantine(path, num_records=10, max_share=1.0)
        assert quarantine.files == {"a.mp4"} and quarantine.skips("a.mp4")
        quarantine.add(VideoError("c.mp4", "broken"))
    assert Quarantine(path, num_records=10).files == {"a.mp4", "c.mp4"}
    assert sum("left out" in record.getMessage() for record in caplog.records) == 4
    torn = Quarantine(tmp_path / "own.jsonl", num_records=10, skip=str(_torn(tmp_path / "torn.jsonl")))
    assert torn.skips("a.mp4")


def _torn(path):
    path.write_text('{"path": "a.mp4", "reason": "slow"}\n{"path": "b.m')
    return path


def test_a_quarantine_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    lost = Quarantine(tmp_path / "file" / "quarantine.jsonl", num_records=10, max_share=1.0)
    with pytest.raises(MachineError, match="jsonl cannot be written .Not a directory., to list a.mp4: broken"):
        lost.add(VideoError("a.mp4", "broken"))

    def full(path, text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("actjax.data.loading.quarantine.append", full)
    quarantine = Quarantine(tmp_path / "quarantine.jsonl", num_records=10, max_share=1.0)
    with pytest.raises(
        MachineError, match="cannot be written .No space left on device., .* repeat the command"
    ) as caught:
        quarantine.add(VideoError("a.mp4", "broken"))
    assert caught.value.clear and "\n" not in str(caught.value)


def test_label_vectors_become_rows(records, quarantine):
    soft = [record._replace(label=np.float32([0.25, 0.75, 0])) for record in records]
    batch = batches(soft, quarantine, num_steps=1)[0]
    assert batch["label"].shape == (8, 3) and batch["label"].dtype == np.float32


def test_mirrored_videos_swap_their_classes(records, quarantine):
    view = functools.partial(transforms.multi_scale, short_side=45, size=40, scales=(1,), flip_ratio=0.5)
    protocol = TRAIN._replace(view=view, flip_labels=((0, 1),))
    plain, swapped = (
        np.concatenate([b["label"] for b in batches(records, quarantine, num_steps=16, protocol=p)])
        for p in (TRAIN._replace(view=view), protocol)
    )
    changed = plain != swapped
    assert set(plain[changed]) == {0, 1} and (plain[changed] + swapped[changed] == 1).all()
    pairs = np.isin(plain, (0, 1))
    assert 0.2 < changed[pairs].mean() < 0.8
    vector = spec._label(
        np.arange(4), [protocol.view(48, 64, rng=np.random.default_rng(1))[0]._replace(flip=True)], ((1, 3),)
    )
    assert vector.tolist() == [0, 3, 2, 1]


def test_nothing_decodable(tmp_path, quarantine):
    message = "none of the videos can be decoded, the last one .*missing.mp4: no such file"
    with pytest.raises(RuntimeError, match=message) as raised:
        batches([VideoRecord(str(tmp_path / "missing.mp4"), 0)] * 3, quarantine, batch_size=2)
    assert raised.value.clear


def test_a_fault_in_the_code_is_not_a_broken_video(records, quarantine):
    def fault(num_frames, *, rng):
        raise ZeroDivisionError("a fault")

    with pytest.raises(ZeroDivisionError, match="a fault"):
        batches(records, quarantine, protocol=FaultyProtocol(*TRAIN._replace(sample=fault)))


class FaultyProtocol(spec.ClipSpec):
    """Its shape is known although its sampler fails."""

    clip_shape = TRAIN.clip_shape


@pytest.mark.parametrize(("num_workers", "hosts"), [(0, 1), (2, 1), (0, 2)])
def test_evaluation_sees_every_record_once_in_every_pass(records, quarantine, tmp_path, num_workers, hosts):
    records = list(records[:21])
    records[4] = VideoRecord(str(tmp_path / "missing.mp4"), 1)
    for host in range(hosts):
        loader = Loader(num_workers, shard=Shard(host, hosts))
        passes = eval_batches(records, EVAL, batch_size=8, quarantine=quarantine, loader=loader)
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
    sample = functools.partial(transforms.sample_frames, num_clips=8)
    protocol = spec.ClipSpec(sample, functools.partial(transforms.center, short_side=48, size=44), fused=False)
    record = VideoRecord(str(media / "test.mp4"))
    clip = spec.read_clip(record, protocol, rngs=transform_rngs(None)).video
    assert clip.shape == protocol.clip_shape == (1, 8, 44, 44, 3)
    out = np.asarray(normalize(clip[0])).transpose(0, 3, 1, 2)
    difference = np.abs(out - arrays["tsm_val"])
    assert difference.max() <= 1.05 / 57.12 and difference.mean() <= 0.15 / 57.12


def test_twice_sample_makes_two_views(media):
    sample = functools.partial(transforms.sample_frames, num_clips=4, twice_sample=True)
    protocol = EVAL._replace(sample=sample)
    clip = spec.read_clip(VideoRecord(str(media / "test.mp4")), protocol, rngs=transform_rngs(None))
    assert clip.video.shape == (2, 4, 40, 40, 3)


def test_dataloader_matches_golden(golden, records, quarantine):
    """Lengths and order of the batches of an epoch."""
    for case in json.loads((golden / "data" / "samplers_loader.json").read_text())["cases"]:
        if case["fn"] != "build_dataloader":
            continue
        options, expect = {k: v for k, v in case["args"].items() if k != "dist"}, case["expect"]
        some = records[: case["input"]["dataset_length"]]
        taken = list(build_dataloader(some, EVAL, quarantine=quarantine, loader=Loader(0), **options))
        assert [len(batch["video"]) for batch in taken] == expect["batch_lengths"], case["id"]
        seen = [batch["record"].tolist() for batch in taken]
        if options["shuffle"]:
            assert sorted(sum(seen, [])) == list(range(len(some))) != sum(seen, [])
        else:
            assert seen == expect["idx"], case["id"]


def test_dataloader_leaves_broken_files_out(records, quarantine, tmp_path):
    records = [*records[:3], VideoRecord(str(tmp_path / "missing.mp4"), 1), *records[3:5]]
    options = dict(videos_per_gpu=2, shuffle=False, quarantine=quarantine, loader=Loader(1))
    assert [batch["record"].tolist() for batch in build_dataloader(records, EVAL, **options)] == [[0, 1], [2], [4, 5]]


def test_stacked_flow_has_the_channels_of_the_reference():
    flow = np.arange(2 * 6 * 3 * 4 * 2, dtype=np.uint8).reshape(2, 6, 3, 4, 2)
    out = spec.stacked(flow, 3)
    assert out.shape == (2, 2, 3, 4, 6)
    for k in range(3):
        np.testing.assert_array_equal(out[:, 1, ..., 2 * k : 2 * k + 2], flow[:, 3 + k])


def test_processes_share_a_quarantine(tmp_path):
    """What one finds the other knows when it writes next; together they are bounded; no line is torn or twice."""
    path, name = tmp_path / "quarantine.jsonl", "video" * 2000
    hosts = [Quarantine(path, num_records=100, max_share=0.2) for _ in range(2)]
    hosts[0].add(VideoTimeout("slow.mp4", "hangs"))
    hosts[1].add(VideoError("slow.mp4", "hangs"))
    assert hosts[1].skips("slow.mp4") and hosts[1].files == {"slow.mp4"}

    def add(host: int) -> None:
        for k in range(15):
            hosts[host].add(VideoError(f"{name}{k if k < 5 else 100 * host + k}", "broken"))

    with ThreadPoolExecutor(2) as threads, pytest.raises(RuntimeError, match=r"2[12] of 100 videos"):
        for done in [threads.submit(add, host) for host in range(2)]:
            done.result(timeout=60)
    files = [json.loads(line)["path"] for line in path.read_text().splitlines()]
    assert len(files) == len(set(files)) >= 21
    assert Quarantine(path, num_records=100).files == set(files)
