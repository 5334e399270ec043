"""Untrimmed videos with proposals -> items and clips: what is cut from where, loading, broken files, the sample set."""

import functools
import logging

import numpy as np
import pytest

from actjax.data.clips.ssn_assignment import Assigner, Sampler, assign
from actjax.data.clips.ssn_clips import ProposalClips, ProposalSampling, ProposalSpec, Ticks
from actjax.data.clips.transforms import center, multi_scale
from actjax.data.datasets.annotations import load_annotations
from actjax.data.datasets.records import FramesRecord
from actjax.data.datasets.ssn import build_proposed, proposals
from actjax.data.loading.batches import Loader, eval_batches, train_batches
from actjax.data.loading.quarantine import Quarantine
from actjax.data.loading.snippet_reader import SnippetReader
from actjax.data.samples.untrimmed_shapes import draw_video, make_untrimmed, motion_actionness
from actjax.data.seeding import Place, transform_rngs
from actjax.localization import load_localize_proposal_file, save_localize_proposal_file
from actjax.video.decoding import open_video
from actjax.video.errors import VideoError
from actjax.video.rendering import render

SAMPLING = ProposalSampling(clip_len=4, frame_interval=2, body_segments=3, aug_segments=(1, 1), test_interval=5)
CENTER = functools.partial(center, short_side=45, size=40)
RANDOM = functools.partial(multi_scale, short_side=45, size=40, scales=(1.0, 0.875), flip_ratio=0.5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_untrimmed(tmp_path_factory.mktemp("data") / "untrimmed", num_train=10, num_val=4, processes=2)


@pytest.fixture(scope="module")
def data(folder):
    return build_proposed(dict(name="untrimmed_shapes", folder=str(folder), num_train=10, num_val=4), num_classes=8)


def clips(records, *, test=False, sampler=Sampler(), sampling=SAMPLING, **options):
    assigned = assign(records, Assigner(), with_gt=True)
    spec = ProposalSpec(sampling, CENTER if test else RANDOM, sampler, test=test, **options)
    return ProposalClips(spec, assigned, assigned.regression_constants())


def test_item_holds_the_frames_of_its_proposals(data):
    protocol = clips(data.train, test=True)
    record = data.train[3]
    clip = protocol.read(record, rngs=transform_rngs(None))
    assert clip.video.shape == protocol.clip_shape == (8, 5, 4, 40, 40, 3)
    assert clip.label["proposal_type"].tolist() == [0] + [1] * 6 + [2]
    drawn = protocol.draw(record, np.random.default_rng(0))
    assert set(clip.label) == set(protocol.blank(record)) < set(drawn)
    for name, blank in protocol.blank(record).items():
        assert (clip.label[name].shape, clip.label[name].dtype) == (blank.shape, blank.dtype)
    frames = open_video(record.path).frames(clip.indices[2, 3])
    boxes = CENTER(48, 64)
    np.testing.assert_array_equal(clip.video[2, 3], render(frames, boxes)[: len(frames)])
    again = protocol.read(record, rngs=transform_rngs(None))
    np.testing.assert_array_equal(again.video, clip.video)  # evaluation sees the same every time


def test_draws_decide_over_training_items(data):
    protocol, record = clips(data.train), data.train[0]
    items = [protocol.read(record, rngs=transform_rngs(Place(0, epoch, 0))) for epoch in (0, 0, 1)]
    np.testing.assert_array_equal(items[0].video, items[1].video)
    assert not np.array_equal(items[0].indices, items[2].indices)


def test_borrowed_proposals_come_from_their_own_video(data):
    """A video without backgrounds borrows one: its frames are those of the lender."""
    covered = data.train[0]._replace(proposals=data.train[0].proposals.take(slice(0, 0)))
    protocol = clips([covered, *data.train[1:]], test=True)
    drawn = [protocol.draw(covered, np.random.default_rng(seed)) for seed in range(20)]
    lenders = {int(item["video"][-1]) for item in drawn}
    assert len(lenders) > 3 and {int(item["video"][0]) for item in drawn} == {0}
    seed = next(k for k, item in enumerate(drawn) if item["video"][-1] != 0)
    clip = protocol.read(covered, rngs=lambda stage: np.random.default_rng(seed) if stage == "proposals" else None)
    lender = data.train[int(drawn[seed]["video"][-1])]
    alone = protocol._clips(lender, clip.indices[-1:], None)
    np.testing.assert_array_equal(clip.video[-1], alone[0])


def test_flow_is_stacked(tmp_path, media):
    """Five pairs of pictures are one frame of ten channels."""
    import cv2

    pictures = tmp_path / "v"
    pictures.mkdir()
    for k in range(1, 31):
        for axis in "xy":
            cv2.imwrite(str(pictures / f"{axis}_{k:05d}.jpg"), np.full((48, 64), 8 * k + (axis == "y") * 4, np.uint8))
    (tmp_path / "list.txt").write_text("# 0\nv\n30\n1\n1\n1 5 15\n2\n1 0.8 1.0 6 14\n0 0.0 0.0 20 28\n")
    records = load_annotations("ssn", tmp_path / "list.txt", filename_tmpl="{}_{:05d}.jpg", modality="Flow")
    sampling = ProposalSampling(clip_len=5, stack=5, modality="Flow", test_interval=10)
    protocol = clips(records, test=True, sampling=sampling, sampler=Sampler(2, 1, 1, 0))._replace(
        reg_norm_consts=((0, 0), (1, 1))
    )
    clip = protocol.read(records[0], rngs=transform_rngs(None))
    assert clip.video.shape == protocol.clip_shape == (2, 9, 1, 40, 40, 10)
    x = clip.video[0, 4, 0, 20, 20, ::2].astype(int)
    assert np.abs(np.diff(x) - 8).max() <= 2  # neighbours in time
    ticks = Ticks(sampling, CENTER)
    length, part = ticks.read(records[0])
    assert length.num_snippets == 3 and part.shape == (3, 1, 1, 40, 40, 10)


@pytest.fixture
def quarantine(tmp_path):
    return Quarantine(tmp_path / "quarantine.jsonl", num_records=14, max_share=0.5)


def test_batches_do_not_depend_on_the_number_of_workers(data, quarantine):
    span = dict(seed=0, batch_size=2, position=6, num_batches=2, quarantine=quarantine)
    here, there = (
        list(train_batches(data.train, clips(data.train), **span, loader=Loader(num_workers=n))) for n in (0, 2)
    )
    assert len(here) == 2 and here[0]["video"].shape == (2, 8, 5, 4, 40, 40, 3)
    for a, b in zip(here, there, strict=True):
        assert a.keys() == b.keys() == {"video", "record", *clips(data.train).blank(None)}
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_broken_video_is_left_out(data, quarantine, tmp_path):
    """In training another takes its place, in evaluation its row is masked."""
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    bad = data.val[1]._replace(frames=data.val[1].frames._replace(path=str(broken)))
    records = [data.val[0], bad, *data.val[2:]]
    protocol = clips(records, test=True, sampler=Sampler(num_per_video=8, positive_ratio=1, background_ratio=1))
    options = dict(batch_size=4, quarantine=quarantine, loader=Loader(num_workers=1))
    passes = eval_batches(records, protocol, **options)
    (batch,) = next(passes)
    passes.close()
    assert batch["mask"].tolist() == [True, False, True, True] and not batch["video"][1].any()
    assert not batch["proposal_labels"][1].any() and quarantine.files == {str(broken)}
    training = train_batches(records, protocol, seed=0, position=0, num_batches=2, **options)
    assert 1 not in np.concatenate([batch["record"] for batch in training])


def test_ticks_cover_a_video_in_chunks(data):
    ticks = Ticks(SAMPLING, CENTER, chunk=16)
    record = data.val[0]
    length, *parts = ticks.read(record)
    assert length.num_frames == record.num_frames and length.fps == pytest.approx(12, rel=0.01)
    assert [len(part) for part in parts[:-1]] == [16] * (len(parts) - 1)
    whole = np.concatenate(parts)
    assert whole.shape == (length.num_snippets, *ticks.clip_shape)
    starts = range(0, record.num_frames - 8, 5)
    assert len(starts) == length.num_snippets
    item = ticks.item(record)
    assert item.proposal_tick_list.max() <= length.num_snippets
    reader = SnippetReader(ticks)
    length_there, *parts_there = reader.read(record)
    reader.close()
    assert length_there == length
    np.testing.assert_array_equal(np.concatenate(parts_there), whole)


def test_videos_that_do_not_fit_their_list(data):
    record = data.val[0]
    ticks = Ticks(SAMPLING, CENTER)
    with pytest.raises(VideoError, match=f"{record.num_frames} frames; the proposal file says 10$"):
        record._replace(num_frames=10).open()
    with pytest.raises(VideoError, match=f"{record.num_frames} frames; the proposal file says 1000"):
        next(ticks.read(record._replace(num_frames=1000)))
    with pytest.raises(VideoError, match="num_frames=8; test mode needs more than 8, one clip"):
        short = FramesRecord(np.zeros((8, 48, 64, 3), np.uint8), record.path)
        next(ticks.read(record._replace(num_frames=8, frames=short)))
    last = list(ticks.read(record._replace(num_frames=record.num_frames + 2)))  # containers count differently
    assert last[0].num_frames == record.num_frames


def test_missing_videos_and_classes(folder, tmp_path, caplog):
    lists = dict(train=str(folder / "train_proposals.txt"), val=str(folder / "val_proposals.txt"))
    common = dict(**lists, suffix=".mp4", num_classes=8)
    with pytest.raises(FileNotFoundError, match="10 of its 10 videos do not exist, .*train_0000.mp4 the first"):
        proposals(**common, data_prefix=str(tmp_path))
    with pytest.raises(ValueError, match="has class 8; model.num_classes=7"):
        proposals(**common | dict(num_classes=7), data_prefix=str(folder / "videos"))
    with pytest.raises(ValueError, match="2 names; model.num_classes is 8"):
        proposals(**common, data_prefix=str(folder / "videos"), class_names=("a", "b"))
    for name in ("train_0001", "train_0002"):
        (tmp_path / f"{name}.mp4").symlink_to(folder / "videos" / f"{name}.mp4")
    prefixes = (str(tmp_path), str(folder / "videos"))
    caplog.set_level(logging.WARNING)
    found = proposals(**common, data_prefix=prefixes, max_missing=0.9)
    assert [(r.video, r.number, set(r.proposals.video)) for r in found.train] == [
        ("train_0001", 0, {0}), ("train_0002", 1, {1}),
    ]  # fmt: skip
    assert len(found.val) == 4 and found.class_names == [str(k) for k in range(1, 9)]
    assert "8 videos do not exist and are left out" in caplog.text


def test_rows_that_are_left_out_are_told(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    path = tmp_path / "list.txt"
    path.write_text("# 0\nv\n10\n1\n2\n3 2 5\n3 7 7\n2\n0 0 0 5 2\n0 0 0 12 19\n")
    (record,) = load_annotations("ssn", path)
    assert record.ground_truth.size == 1 and not record.proposals.size
    assert "left out 3 segments that end before they start or begin after their video's end" in caplog.text
    for text, message in (
        ("# 0\nv\n10\n1\n1\n0 2 5\n0\n", "video 'v': a ground truth has class 0"),
        ("# 0\nv\n10\n1\n1\n1 2 5\n0\n# 1\nv\n10\n1\n0\n0\n", "video 'v': is listed twice"),
        ("# 0\nv\n0\n1\n1\n1 2 5\n0\n", "video 'v': has 0 frames"),
        ("# 0\nv\n10\n1\n0\n0\n", "holds no records"),  # not one has ground truth
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            load_annotations("ssn", path)


def test_sample_set_is_made_once_and_reads_back(folder, tmp_path):
    assert make_untrimmed(folder, num_train=10, num_val=4) == folder
    videos = load_localize_proposal_file(folder / "train_proposals.txt")
    save_localize_proposal_file(videos, tmp_path / "again.txt")
    assert load_localize_proposal_file(tmp_path / "again.txt") == videos
    for video, num_frames, truths, found in videos:
        assert open_video(folder / "videos" / f"{video}.mp4").num_frames == num_frames
        assert 2 <= len(truths) <= 5 and found
    with pytest.raises(ValueError, match="num_val=0; must be 1 or more"):
        make_untrimmed(tmp_path / "none", num_val=0)


def test_actions_move_more_than_their_background():
    frames, truths = draw_video(np.random.default_rng(1))
    actionness = motion_actionness(frames)
    assert actionness.shape == (len(frames),) and actionness.min() >= 0 and actionness.max() <= 1
    inside = np.concatenate([np.arange(start, end) for _, start, end in truths])
    assert actionness[inside].mean() > np.delete(actionness, inside).mean() + 0.2
