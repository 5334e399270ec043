"""SSN's proposals against the golden file, and the laws of their draws through the draws of real records."""

import gzip
import hashlib
import json

import fsspec
import numpy as np
import pytest
from conftest import GOLDEN
from data_cases import cases, follows

from actjax.data.clips import ssn_assignment as ssn
from actjax.data.datasets.annotations import load_annotations
from actjax.data.datasets.ssn import proposals
from actjax.data.seeding import Place, transform_rngs
from actjax.localization.proposal_file import denormalize_proposal_file
from actjax.video.ssn_sampling import sample_proposal_frames

ANN = GOLDEN / "data" / "ann"
HAND = cases("ssn_dataset", "SSNDataset")[:4]
TRAIN = cases("ssn_dataset", "SSNDataset train sampling")
ITEMS = cases("ssn_dataset", "SSNDataset.__getitem__ (train)")
TAG = [case for case in cases("ssn_dataset", "SSNDataset") if case["id"].startswith("SSNDataset-TAG")]


def settings(args):
    return ssn.Assigner(**args["assigner"]), ssn.Sampler(**args["sampler"])


def geometry(args):
    return {name: args[name] for name in ("aug_ratio", "clip_len", "frame_interval") if name in args}


def segments(records, instances):
    return [
        [records[v].video, *segment]
        for v, segment in zip(instances.video.tolist(), instances.segment.tolist(), strict=True)
    ]


@pytest.fixture(scope="module")
def hand():
    return load_annotations("ssn", ANN / "ssn_hand.txt", data_prefix="root/ssn")


@pytest.fixture(scope="module")
def tag(tmp_path_factory):
    """The normalised list of ActivityNet's TAG proposals and its frame counts."""
    path = tmp_path_factory.mktemp("tag") / "tag_normalized_list.txt"
    path.write_bytes(gzip.decompress((ANN / "tag_normalized_list.txt.gz").read_bytes()))
    return path, json.loads((ANN / "tag_frame_counts.json").read_text())


def assert_instances(found, expected):
    columns = dict(num_frames="num_video_frames", label="label", best_iou="best_iou", overlap_self="overlap_self",
                   coverage="coverage", regression_targets="regression_targets")  # fmt: skip
    assert found.segment.tolist() == [[row["start_frame"], row["end_frame"]] for row in expected]
    for ours, theirs in columns.items():
        wanted = np.array([row[theirs] for row in expected]).reshape(getattr(found, ours).shape)
        np.testing.assert_allclose(getattr(found, ours), wanted, rtol=1e-6, err_msg=ours)


def assert_record(record, expected):
    assert (record.path, record.video, record.num_frames) == tuple(
        expected[name] for name in ("frame_dir", "video_id", "total_frames")
    )
    assert_instances(record.ground_truth, expected["gts"])
    assert_instances(record.proposals, expected["proposals"])


@pytest.mark.parametrize("case", HAND, ids=lambda case: case["id"])
def test_data_set_matches_golden(hand, case):
    args, expect = case["args"], case["expect"]
    assigner, sampler = settings(args)
    for record, expected in zip(hand, expect["video_infos"], strict=True):
        raw = [dict(row, regression_targets=[0, 0]) for row in expected["gts"]]
        rest = [dict(row, regression_targets=[0, 0]) for row in expected["proposals"]]
        assert_record(record, expected | dict(gts=raw, proposals=rest))
    pools = ssn.construct_proposal_pools(hand, assigner, with_gt=sampler.add_gt_as_proposals)
    assert {name: segments(hand, pool) for name, pool in pools._asdict().items()} == expect["pools"]
    if "reg_normalize_constants" not in args:
        np.testing.assert_allclose(ssn.regression_constants(hand, assigner), expect["reg_norm_consts"], rtol=1e-6)
    assert dict(zip(ssn.Pools._fields, sampler.counts, strict=True)) == expect["per_video"]


@pytest.mark.parametrize("case", HAND, ids=lambda case: case["id"])
def test_eval_items_match_golden(hand, case):
    options = geometry(case["args"]) | dict(test_interval=case["args"]["test_interval"])
    for record, expected in zip(hand, case["expect"]["test_items"], strict=True):
        item = ssn.eval_item(record, **options)
        assert record.num_frames == expected["num_frames"] and item.proposal_tick_list.dtype == np.int32
        for name, values in item._asdict().items():
            np.testing.assert_allclose(values, expected[name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("case", HAND, ids=lambda case: case["id"])
def test_scale_factors_match_golden(hand, case):
    for record, expected in zip(hand, case["expect"]["stage_scale_factors_per_proposal"], strict=False):
        drawn = ssn.Pools(record.proposals, record.proposals.take([]), record.proposals.take([]))
        item = ssn.training_item(drawn, reg_norm_consts=[[0, 0], [1, 1]], **geometry(case["args"]))
        np.testing.assert_allclose(item["proposal_scale_factor"], np.reshape(expected, (-1, 2)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", cases("ssn_dataset", "SSNDataset.get_positives"), ids=lambda case: case["id"])
def test_get_positives_matches_golden(hand, case):
    found = ssn.get_positives(hand[0].ground_truth, hand[0].proposals, **case["args"])
    assert found.segment.tolist() == case["expect"]["boxes"]
    np.testing.assert_allclose(found.regression_targets, case["expect"]["regression_targets"], rtol=1e-6, atol=1e-12)
    assert not hand[0].proposals.regression_targets.any()  # the given ones stay as they are


@pytest.mark.parametrize("case", cases("ssn_dataset", "SSNDataset.get_negatives"), ids=lambda case: case["id"])
def test_get_negatives_matches_golden(hand, case):
    found = ssn.get_negatives(hand[0].proposals, **case["args"])
    expected = case["expect"]["incompletes"], case["expect"]["backgrounds"]
    assert tuple(part.segment.tolist() for part in found) == expected


@pytest.mark.parametrize("case", TRAIN, ids=lambda case: case["id"])
def test_drawn_proposals_follow_their_law(hand, case):
    """Every slot uniform over its support, no proposal twice where there are enough; draws as a run makes them."""
    assigner, sampler = settings(case["args"])
    pools = ssn.construct_proposal_pools(hand, assigner, with_gt=sampler.add_gt_as_proposals)
    index = case["input"]["video_index"]
    own = ssn.proposals_by_type(hand[index], assigner, with_gt=sampler.add_gt_as_proposals)
    centric = case["args"].get("video_centric", True)

    def draw(epoch):
        u = transform_rngs(Place(0, epoch, index))("proposals").random(sampler.num_per_video)
        return ssn.sample_proposals(own, pools, sampler, u=u, video_centric=centric)

    if "exception" in case["expect"]:  # there; here the pool is drawn from with replacement
        assert draw(0).incomplete.size == sampler.counts[1]
        return
    taken = [draw(epoch) for epoch in range(4000)]
    groups = case["expect"]["groups"]
    assert [len(getattr(taken[0], g["name"]).segment) for g in groups] == case["expect"]["types"]
    for group in groups:
        support = [tuple(row) for row in group["support"]]
        rows = [getattr(item, group["name"]) for item in taken]
        chosen = np.array([
            [support.index((*place, label)) for place, label in zip(segments(hand, r), r.label.tolist(), strict=True)]
            for r in rows
        ])  # fmt: skip
        for slot in chosen.T:
            assert follows(slot, range(len(support)), group["slot_prob"])
        distinct = all(len(set(row)) == len(row) for row in chosen.tolist())
        assert distinct == group["distinct_within_a_draw"] or chosen.shape[1] == 1


@pytest.mark.parametrize("case", ITEMS, ids=lambda case: case["id"])
def test_training_item_matches_golden(hand, case):
    assigner, _ = settings(case["args"])
    chosen, expect = case["input"]["chosen"], case["expect"]
    videos = [record.video for record in hand]

    def instances(kind):
        rows = [row for row in chosen if row["type"] == kind]
        empty = hand[0].proposals.take([])
        return ssn.joined([empty, *(found(row) for row in rows)])

    def found(row):
        given = hand[videos.index(row["video_id"])]
        either = ssn.joined([given.proposals, given.ground_truth])
        place = either.segment.tolist().index([row["start"], row["end"]])
        return either.take([place])._replace(regression_targets=np.array([row["raw_targets"]]))

    item = ssn.training_item(
        ssn.Pools(*map(instances, range(3))),
        reg_norm_consts=ssn.regression_constants(hand, assigner),
        **geometry(case["args"]),
    )
    for name, values in expect.items():
        if name in item:
            np.testing.assert_allclose(item[name], values, rtol=1e-5, atol=1e-6, err_msg=name)
    assert {name: str(item[name].dtype) for name in expect["dtypes"]} == expect["dtypes"]
    assert {name: list(item[name].shape) for name in expect["shapes"]} == expect["shapes"]


def test_counts_match_golden():
    for row in cases("ssn_dataset", "SSNDataset.__init__")[0]["expect"]["table"]:
        given = {name: row[name] for name in row if name not in ssn.Pools._fields}
        assert ssn.Sampler(**given).counts == tuple(row[name] for name in ssn.Pools._fields)


def test_normalised_list_becomes_the_standard_one(tag, tmp_path):
    case = cases("ssn_dataset", "normalized list -> standard list")[0]["expect"]
    path, counts = tag
    denormalize_proposal_file(path, tmp_path / "list.txt", frame_counts=counts)
    assert hashlib.sha256((tmp_path / "list.txt").read_bytes()).hexdigest() == case["sha256"]


@pytest.mark.parametrize("case", TAG, ids=lambda case: case["id"])
def test_tag_proposals_match_golden(tag, tmp_path, case):
    path, counts = tag
    (tmp_path / "counts.json").write_text(json.dumps(counts))
    records = load_annotations("ssn", path, data_prefix="root/tag", frame_counts=tmp_path / "counts.json")
    expect, (assigner, sampler) = case["expect"], settings(case["args"])
    assert len(records) == expect["num_videos"]
    assert sum(record.num_frames for record in records) == expect["total_frames_sum"]
    assert sum(record.ground_truth.size for record in records) == expect["num_gts"]
    assert sum(record.proposals.size for record in records) == expect["num_proposals"]
    sizes = [[r.video, r.num_frames, r.ground_truth.size, r.proposals.size] for r in records]
    listed = expect.get("per_video", [])
    assert sizes[: len(listed)] == listed
    pools = ssn.construct_proposal_pools(records, assigner, with_gt=sampler.add_gt_as_proposals)
    for name, pool in pools._asdict().items():
        assert pool.size == expect["pool_sizes"][name]
        sums = [*pool.segment.sum(axis=0), pool.coverage.sum()]
        np.testing.assert_allclose(sums, expect["pool_checksums"][name], rtol=1e-6)
    targets = pools.positive.regression_targets
    np.testing.assert_allclose(targets.sum(axis=0), expect["positive_reg_target_sums"], rtol=1e-6)
    np.testing.assert_allclose((targets**2).sum(axis=0), expect["positive_reg_target_sq"], rtol=1e-6)
    np.testing.assert_allclose(ssn.regression_constants(records, assigner), expect["reg_norm_consts"], rtol=1e-6)
    by_name = {record.video: record for record in records}
    for row in expect["test_items"]:
        item = ssn.eval_item(by_name[row["video_id"]], test_interval=case["args"]["test_interval"])
        assert item.proposal_tick_list[:3].tolist() == row["ticks_first"]
        assert item.proposal_tick_list.sum(axis=0).tolist() == row["ticks_sum"]
        np.testing.assert_allclose(item.scale_factor_list.sum(axis=0), row["scale_sum"], rtol=1e-5)
        np.testing.assert_allclose(item.relative_proposal_list.sum(axis=0), row["rel_sum"], rtol=1e-5)


def test_pictures_of_a_video(media):
    """The list and the pictures of the reference's own tests."""
    case = next(case for case in cases("ssn_dataset", "SSNDataset") if case["id"] == "SSNDataset-upstream")
    records = load_annotations("ssn", media / "annotations" / "proposal_test_list.txt", data_prefix=str(media))
    pools = ssn.construct_proposal_pools(records, settings(case["args"])[0])
    assert {name: segments(records, pool) for name, pool in pools._asdict().items()} == case["expect"]["pools"]
    drawn = ssn.sample_proposals(pools, pools, ssn.Sampler(2, 1, 1, 0), u=np.array([0.9, 0.1]))
    item = ssn.training_item(drawn, reg_norm_consts=[[0, 0], [1, 1]])
    options = dict(clip_len=1, body_segments=5, aug_segments=(2, 2), aug_ratio=0.5, u=np.zeros((2, 9)))
    totals = np.array([records[v].num_frames for v in item["video"]])
    indices = sample_proposal_frames(totals, item["out_proposals"], **options)
    frames = records[0].open().frames(indices.ravel())
    assert frames.shape[0] == indices.size == 18 and frames.dtype == np.uint8


def test_every_video_stays_without_filter(hand):
    every = load_annotations("ssn", ANN / "ssn_hand.txt", filter_gt=False)
    assert [record.video for record in every] == ["vid_a", "vid_b", "vid_nogt", "vid_edges", "vid_noprop"]
    assert len(hand) == 4 and [r.proposals.video.tolist() for r in every[:3]] == [[0] * 9, [1] * 6, [2] * 2]
    assert every[0].path == str(ANN / "vid_a")


def test_bad_input(tmp_path, hand, tag):
    path = tmp_path / "list.txt"
    for text, message in (
        ("# 0\nv\n1\n1\n1\n3 0.2500 0.5\n0\n", "video 'v'.*fractions need frame_counts"),
        ("# 0\nv\n10\n1\n1\n3 2\n0\n", "'3 2'; expected label start end"),
        ("# 0\nv\n10\n1\n1\n3 2 5\n1\n3 0.5 2 5\n", "'3 0.5 2 5'; expected label best_iou overlap_self start end"),
        ("# 0\nv\n10\n1\n1\n3 -2 5\n0\n", "frames count from 0"),
        ("# 0\nv\n10\n1\n1\nx 2 5\n0\n", "video 'v'.*'x 2 5': label, start and end must be whole numbers"),
        ("# 0\nv\n10\n1\n1\n1 0.7 5\n0\n", "start and end must be whole numbers; fractions need frame_counts"),
        ("# 0\nv\n10\n1\n0\n1\n1 inf 1 2 5\n", "best_iou and overlap_self must be numbers in"),
        ("# 0\nv\ninf\n1\n0\n0\n", "list.txt:3: got 'inf'; expected the number of frames"),
        ("# 0\nv\n1e30\n1\n0\n0\n", "list.txt:3: got '1e30'; expected the number of frames"),
        ("# 0\nv\n1_0\n1\n0\n0\n", "list.txt:3: got '1_0'; expected the number of frames"),
        ("# 0\nv\n10\n1\n0\n0\n1 1 1 2 5\n", "list.txt:7: .* after the 0 proposals of 'v'"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            load_annotations("ssn", path)
    path.write_text("# 0\nv\n10\n1\n1\n3 2 5\n0\n")
    with pytest.raises(ValueError, match="'3 2 5'; with frame counts, start and end must be fractions"):
        load_annotations("ssn", path, frame_counts={"v": 10})
    with pytest.raises(KeyError, match="video 'v' has no entry among the 1 frame counts"):
        load_annotations("ssn", path, frame_counts={"w": 10})
    pools = ssn.construct_proposal_pools(hand[3:], ssn.Assigner())
    with pytest.raises(ValueError, match="6 incomplete proposals needed, but no video has any"):
        ssn.sample_proposals(pools, pools, ssn.Sampler(), u=np.zeros(8))
    with pytest.raises(ValueError, match="no proposal has an IoU above 0.7"):
        ssn.regression_constants(hand[3:], ssn.Assigner())
    with pytest.raises(ValueError, match="must be above 0"):
        ssn.training_item(pools, reg_norm_consts=np.zeros((2, 2)))
    with pytest.raises(ValueError, match="scale factors need stretches"):
        ssn.eval_item(hand[0], aug_ratio=0)
    lonely = hand[0]._replace(ground_truth=hand[0].ground_truth.take([]))
    with pytest.raises(ValueError, match="without ground truth; use filter_gt=True"):
        ssn.proposals_by_type(lonely, ssn.Assigner())
    for aug_ratio in ((0.5, 0.5, 0.5), "half"):
        with pytest.raises((ValueError, TypeError)):
            ssn.eval_item(hand[0], aug_ratio=aug_ratio)


@pytest.mark.parametrize("remote", [False, True])
def test_missing_videos_are_left_out_or_stop_the_run(tmp_path, caplog, remote):
    names = [f"v{k}" for k in range(4)]
    for split in ("train", "val"):
        blocks = [f"# {k}\n{name}\n100\n1\n1\n1 0 50\n1\n1 0.9 0.9 0 50\n" for k, name in enumerate(names)]
        (tmp_path / f"{split}.txt").write_text("".join(blocks))
    store = fsspec.filesystem("memory")
    for name in names[:3]:
        store.pipe(f"/{tmp_path.name}/{name}.mp4", b"")
        (tmp_path / f"{name}.mp4").touch()
    prefix = f"memory://{tmp_path.name}" if remote else str(tmp_path)
    lists = dict(train=str(tmp_path / "train.txt"), val=str(tmp_path / "val.txt"), data_prefix=prefix, suffix=".mp4")
    with pytest.raises(
        FileNotFoundError, match=f"train.txt: 1 of its 4 videos do not exist, {prefix}/v3.mp4 the first"
    ):
        proposals(**lists, num_classes=2)
    found = proposals(**lists, num_classes=2, max_missing=0.25)
    assert [record.video for record in found.val] == names[:3] and [record.number for record in found.val] == [0, 1, 2]
    assert "val.txt: 1 videos do not exist and are left out" in caplog.text
