"""The stages draw what their functions ask for: laws of whole clips, over the places of a training run."""

import json

import numpy as np
from data_cases import boxes_follow, cases, independent, places, slots_follow

from actjax.config import pick
from actjax.data.clips import transforms
from actjax.data.seeding import transform_rngs


def taken(stage, name, *args, num=20_000, **options):
    """What the stage function `stage` makes at `num` places."""
    return [stage(*args, rng=transform_rngs(place)(name), **options) for place in places(num)]


def test_samplers():
    for name, stage in (("sample_frames", transforms.sample_frames), ("dense_sample", transforms.dense_sample_frames)):
        case = next(case for case in cases(f"{name}_train_dist") if case["args"].get("temporal_jitter"))
        num_frames, start = case["input"]["total_frames"], case["input"]["start_index"]
        indices = np.stack(taken(stage, "sample", num_frames, **case["args"])).reshape(20_000, -1) + start
        assert slots_follow(indices, case["expect"]["slots"]), case["id"]


def test_multi_scale_and_flip():
    case = cases("random_crops", "MultiScaleCrop")[0]
    assert case["args"]["num_fixed_crops"] == 13
    options = dict(short_side=256, size=224, scales=case["args"]["scales"], flip_ratio=0.5)
    found = taken(transforms.multi_scale, "view", *case["input"]["img_shape"], **options)
    boxes, flips = np.array([view.box for (view,) in found]), np.array([view.flip for (view,) in found])
    assert boxes_follow(boxes, dict(zip(map(tuple, case["expect"]["boxes"]), case["expect"]["prob"], strict=True)))
    assert abs(flips.mean() - 0.5) < 5 * 0.5 / np.sqrt(len(flips))
    for column in boxes.T:
        assert independent(column, flips)


def test_random_crop_and_flip():
    case = next(case for case in cases("random_crops", "RandomCrop") if case["args"]["size"] == 224)
    options = dict(short_side=256, size=224, flip_ratio=0.2)
    found = taken(transforms.random, "view", *case["input"]["img_shape"], **options)
    boxes, flips = np.array([view.box for (view,) in found]), np.array([view.flip for (view,) in found])
    ranges = [dict(uniform_range=case["expect"][law]) for law in ("x_uniform", "y_uniform")]
    assert slots_follow(boxes[:, :2], ranges)
    assert abs(flips.mean() - 0.2) < 5 * 0.4 / np.sqrt(len(flips))
    assert independent(boxes[:, 0], boxes[:, 1]) and independent(boxes[:, 0], flips)


def test_neighbours_draw_independently():
    """Records side by side, one epoch and the next, the sampler and the view: no draw tells another one."""
    draws = np.array(
        [[transform_rngs(place)(stage).random() for stage in ("sample", "view")] for place in places(20_000)]
    )
    sample, view = draws.T
    for ours, theirs in ((sample, view), (sample[1:], sample[:-1]), (sample[250:], sample[:-250])):
        assert independent(ours, theirs)


# Of the golden table: our stages, and the names of its columns.
SAMPLINGS = {
    "1x1x8": dict(name="sample_frames", num_clips=8),
    "1x1x8_twice": dict(name="sample_frames", num_clips=8, twice_sample=True),
    "1x1x16": dict(name="sample_frames", num_clips=16),
    "1x1x25": dict(name="sample_frames", num_clips=25),
    "dense_1x1x8": dict(name="dense_sample_frames", num_clips=8),
}


def test_published_test_protocols_are_the_reference_s(golden):
    """Frames of every protocol at every length of the table, and the boxes of three and ten crops, in their order."""
    table = json.loads((golden / "models" / "cases" / "test_sampling.json").read_text())
    for num_frames, columns in table["frame_indices"].items():
        for column, section in SAMPLINGS.items():
            indices = pick(transforms.SAMPLERS, section, "sample", given=("num_frames", "rng"))(
                int(num_frames), rng=None
            )
            np.testing.assert_array_equal(indices.ravel(), columns[column], err_msg=f"{num_frames} {column}")
    crops = {
        "three_256": dict(name="three_crop", short_side=256),
        "ten_224": dict(name="ten_crop", short_side=256, size=224),
    }
    for size, columns in table["crop_boxes_for_height_x_width"].items():
        height, width = map(int, size.split("x"))
        for column, section in crops.items():
            given = ("height", "width", "rng")
            views = pick(transforms.EVAL_VIEWS, section, "view", given=given)(height, width)
            assert [[round(x) for x in view.box] for view in views] == columns[column], (size, column)
            mirrored = [False, True] * 5 if column == "ten_224" else [False] * 3
            assert [view.flip for view in views] == mirrored
