import jax
import jax.numpy as jnp
import numpy as np
import pytest
from data_cases import arrays, boxes_follow, cases, follows, independent, record_draws, turned
from hypothesis import given
from hypothesis import strategies as st

from actjax.video import views
from actjax.video.rendering import render


def test_resize_sizes_match_golden():
    for case in cases("resize_sizes", "Resize"):
        steps = case["expect"].get("steps") or [case["args"] | case["expect"]]
        view = views.whole(*case["input"]["img_shape"])
        for step in steps:
            scale = turned(step["scale"]) if isinstance(step["scale"], list) else float(step["scale"])
            view = views.resize(view, scale=scale, keep_ratio=step["keep_ratio"])
            assert list(view.size) == step["img_shape"], case["id"]
            np.testing.assert_allclose(views.scale_factor(view), step["scale_factor"], rtol=1e-6)


def test_resize_pixels_match_golden():
    stored = arrays("resize_pixels")
    for case in cases("resize_pixels", "Resize"):
        frame, expected = stored[case["input"]["key"]], stored[case["expect"]["key"]]
        args = case["args"]
        view = views.resize(*frame.shape[:2], scale=turned(args["scale"]), keep_ratio=args["keep_ratio"])
        out = render(frame[None], view, interpolation=args["interpolation"])[0]
        assert out.dtype == expected.dtype
        tolerance = {"nearest": 0, "bilinear": 1 if frame.dtype == np.uint8 else 1e-5}[args["interpolation"]]
        assert np.abs(out.astype(float) - expected).max() <= tolerance, case["id"]


CROPS = {"CenterCrop": views.center_crop, "ThreeCrop": views.three_crop, "TenCrop": views.ten_crop}


def test_crops_match_golden():
    stored = arrays("crops_det")
    for case in cases("crops_det"):
        (height, width), expect = case["input"]["img_shape"], case["expect"]
        taken = CROPS[case["fn"]](height, width, crop_size=turned(case["args"]["crop_size"]))
        taken = [taken] if case["fn"] == "CenterCrop" else taken
        frames = case["input"].get("num_frames", 1)
        boxes = np.repeat([view.box for view in taken], frames, axis=0)
        if case["fn"] == "CenterCrop":
            boxes = boxes[0]
        assert boxes.tolist() == expect["crop_bbox"], case["id"]
        assert all(list(view.size) == expect["img_shape"] for view in taken)
        if "npz" in case["input"]:
            for fused in (True, False):
                out = render(stored[case["id"] + "__in"], taken, fused=fused)
                np.testing.assert_array_equal(out, stored[case["id"] + "__out"])


def boxes_of(view_of, *shape, num=20_000):
    """The boxes of the views that `view_of` makes of what records draw -> int [num, views, 4]."""
    u = record_draws("view", *shape, num=num)
    return np.array(jax.jit(jax.vmap(lambda u: jnp.array([view.box for view in view_of(u)])))(u)).round().astype(int)


def test_random_crop_law_matches_golden():
    for case in cases("random_crops", "RandomCrop"):
        image, size = case["input"]["img_shape"], case["args"]["size"]
        boxes = boxes_of(lambda u, i=image, s=size: [views.random_crop(*i, size=s, u=u)], 2)[:, 0]
        assert (boxes[:, 2:] - boxes[:, :2] == size).all()
        for column, law in ((0, "x_uniform"), (1, "y_uniform")):
            low, high = case["expect"][law]
            assert follows(boxes[:, column], range(low, high + 1)), case["id"]
        assert independent(boxes[:, 0], boxes[:, 1])


def test_multi_group_crop_law_matches_golden():
    for case in cases("random_crops", "MultiGroupCrop"):
        image, groups, expect = case["input"]["img_shape"], case["args"]["groups"], case["expect"]
        size = turned(case["args"]["crop_size"])

        def taken(u, image=image, size=size, groups=groups):
            return views.multi_group_crop(*image, crop_size=size, groups=groups, u=u)

        boxes = boxes_of(taken, groups, 2)
        assert boxes.shape[1] == groups
        height, width = expect["img_shape"]
        assert (boxes[..., 2:] - boxes[..., :2] == (width, height)).all()
        for group in range(groups):
            for column, law in ((0, "x_uniform"), (1, "y_uniform")):
                low, high = expect[law]
                assert follows(boxes[:, group, column], range(low, high + 1)), case["id"]
            assert independent(boxes[:, 0, 0], boxes[:, group, 1])
        assert independent(boxes[:, 0, 1], boxes[:, 1, 1])


def test_fitting_crop_matches_golden():
    near_one = np.nextafter(1, 0)
    given_draws = [case for case in cases("random_resized_crop") if case["kind"] == "given-draws"]
    for case in given_draws:
        (height, width), expect = case["input"]["img_shape"], case["expect"]
        areas = np.array(case["input"]["area_fraction"]) * (height * width)
        aspects = np.array(case["input"]["aspect_w_over_h"])
        for u, box in ((0, "box_at_min_offsets"), (near_one, "box_at_max_offsets")):
            view = views.fitting_crop(height, width, areas=areas, aspect_ratios=aspects, u=np.full(2, u))
            assert list(view.box) == expect[box], case["id"]
            assert list(view.size[::-1]) == expect["crop_wh"]


def test_random_resized_crop_law_matches_golden():
    for case in [case for case in cases("random_resized_crop") if case["kind"] == "moments"]:
        (height, width), expect, args = case["input"]["img_shape"], case["expect"], case["args"]

        def taken(u, height=height, width=width, args=args):
            return [views.random_resized_crop(height, width, **args, u=u)]

        boxes = boxes_of(taken, 22, num=60_000)[:, 0]
        wide, tall = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
        fallback = (boxes == expect["fallback_box"]).all(1) if expect["p_fallback"] else np.zeros(len(boxes), bool)
        error = np.hypot(expect["p_fallback_se"], np.sqrt(fallback.mean() * (1 - fallback.mean()) / len(boxes)))
        assert abs(fallback.mean() - expect["p_fallback"]) < 5 * error + 1e-3, case["id"]
        columns = {
            "width": wide,
            "height": tall,
            "area_fraction": wide * tall / (width * height),
            "log_aspect": np.log(wide / tall),
        }
        for name, place, room in (
            ("x_over_room", boxes[:, 0], width - wide),
            ("y_over_room", boxes[:, 1], height - tall),
        ):
            free = (room > 0) & ~fallback
            columns[name] = place[free] / room[free]
        for name, column in columns.items():
            if expect[name] is None:
                assert not column.size
                continue
            error = np.hypot(expect[name]["se"], column.std() / np.sqrt(len(column)))
            assert abs(column.mean() - expect[name]["mean"]) < 5 * error + 1e-6, (case["id"], name)
            assert abs(column.std() - expect[name]["std"]) < 0.02 * expect[name]["std"] + 1e-6, (case["id"], name)
        for name, column in (("width", wide), ("height", tall)):
            low, high = expect["bounds"][name]
            assert low - 1 <= column.min() and column.max() <= high + 1, case["id"]


def test_flip_law_matches_golden():
    u = record_draws("view")
    for case in cases("random_crops", "Flip"):
        fires = np.array([views.flip(4, 4, u=draw, flip_ratio=case["args"]["flip_ratio"]).flip for draw in u])
        p = case["expect"]["prob"]
        assert abs(fires.mean() - p) <= 5 * np.sqrt(p * (1 - p) / len(u)), case["id"]


def test_multi_scale_crop_law_matches_golden():
    u = record_draws("view", 3)
    for case in cases("random_crops", "MultiScaleCrop"):
        args, expect = case["args"], case["expect"]
        options = dict(args, input_size=turned(args["input_size"]), scales=tuple(args.get("scales", (1,))))
        height, width = case["input"]["img_shape"]
        boxes = np.array([views.multi_scale_crop(height, width, u=draws, **options).box for draws in u])
        if args["random_crop"]:
            sizes = boxes[:, 2:] - boxes[:, :2]
            assert {tuple(size) for size in sizes} == {tuple(size) for size in expect["size_wh"]}
            assert boxes.min() == 0 and boxes[:, 2].max() == width and boxes[:, 3].max() == height
            continue
        law = dict(zip(map(tuple, expect["boxes"]), expect["prob"], strict=True))
        assert boxes_follow(boxes, law), case["id"]


def test_flip_fires_below_its_ratio():
    u = np.float32([0.0, 0.19, 0.2, 0.99])
    assert [bool(views.flip(4, 6, u=v, flip_ratio=0.2).flip) for v in u] == [True, True, False, False]
    assert not views.flip(4, 6, u=np.float32(0), flip_ratio=0.0).flip
    assert views.flip(4, 6, u=np.nextafter(np.float32(1), np.float32(0)), flip_ratio=1.0).flip


def chain(u, height=120, width=90):
    view = views.resize(height, width, scale=(-1, 64))
    view = views.multi_scale_crop(view, input_size=56, scales=(1, 0.875, 0.75, 0.66), num_fixed_crops=13, u=u[:3])
    view = views.flip(views.resize(view, scale=(48, 56), keep_ratio=False), u=u[3])
    view = views.random_crop(views.flip(view, u=u[4], direction="vertical"), size=44, u=u[5:7])
    return views.multi_group_crop(view, crop_size=(40, 42), groups=2, u=u[7:11].reshape(2, 2))[1]


def test_numpy_equals_jit_and_vmap():
    u = np.random.default_rng(3).random((256, 11), dtype=np.float32)
    on_device = jax.jit(jax.vmap(chain))(jnp.asarray(u))
    for i, draws in enumerate(u):
        on_host = chain(draws)
        row = jax.tree.map(lambda leaf, i=i: np.broadcast_to(leaf, (len(u),))[i], on_device)
        np.testing.assert_allclose(on_host.box, row.box, rtol=1e-5, atol=1e-4)
        assert (bool(on_host.flip), bool(on_host.flip_vertical)) == (bool(row.flip), bool(row.flip_vertical))
        assert [tuple(map(int, s.box)) for s in on_host.steps] == [tuple(map(int, s.box)) for s in row.steps]


def test_random_resized_crop_on_numpy_and_under_jit():
    """Sides may round to neighbours where float32 arithmetic differs; the draws of this seed do so at most rarely."""
    u = np.random.default_rng(4).random((1000, 22), dtype=np.float32)
    boxes = np.array(jax.jit(jax.vmap(lambda u: jnp.array(views.random_resized_crop(120, 90, u=u).box)))(u))
    on_host = np.array([views.random_resized_crop(120, 90, u=draws).box for draws in u])
    different = np.abs(boxes - on_host).max(1)
    assert different.max() <= 1 and (different > 0).sum() <= 2


@given(st.integers(8, 300), st.integers(8, 300), st.integers(0, 2**32 - 1))
def test_every_view_lies_in_the_frame(height, width, seed):
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.random(shape, dtype=np.float32)
    side = int(rng.integers(1, min(height, width) + 1))
    tall, wide = (int(rng.integers(1, room + 1)) for room in (height, width))
    start = views.flip(views.flip(height, width, u=draw()), u=draw(), direction="vertical")
    found = [
        views.random_crop(start, size=side, u=draw(2)),
        views.random_resized_crop(start, u=draw(22)),
        views.multi_scale_crop(start, input_size=side, scales=(1, 0.5), u=draw(3)),
        views.center_crop(start, crop_size=(tall, wide)),
        views.crop(start, box=(width - wide, 0, width, tall)),
        *views.three_crop(start, crop_size=(height, wide)),
        *views.three_crop(start, crop_size=(tall, width)),
        *views.ten_crop(start, crop_size=(tall, wide)),
        *views.multi_group_crop(start, crop_size=(tall, wide), groups=2, u=draw(2, 2)),
    ]
    again = views.random_resized_crop(views.resize(found[0], scale=(-1, 9)), u=draw(22))
    frame = np.zeros((1, height, width), np.uint8)
    for view in [*found, again]:
        x0, y0, x1, y1 = view.box
        assert -1e-4 <= x0 < x1 <= width + 1e-4 and -1e-4 <= y0 < y1 <= height + 1e-4
        assert view.size[0] >= 1 and view.size[1] >= 1
        for fused in (True, False):
            assert render(frame, view, fused=fused).shape == (1, *view.size)


@given(st.integers(0, 2**32 - 1))
def test_fused_is_near_step_by_step(seed):
    rng = np.random.default_rng(seed)
    grid = np.linspace(0, 6, 120)[:, None] + np.linspace(0, 5, 90)
    frame = (127 + 100 * np.sin(grid[..., None] + np.arange(3))).astype(np.uint8)
    view = chain(rng.random(11, dtype=np.float32))
    fused, stepped = (render(frame[None], view, fused=f).astype(int) for f in (True, False))
    assert fused.shape == stepped.shape == (1, 40, 42, 3)
    # A smooth picture: half a pixel of rounded box is worth at most this much.
    assert np.abs(fused - stepped).mean() < 4


def test_crop_of_a_mirrored_view_counts_from_its_right_edge():
    mirrored = views.flip(4, 10, u=np.float32(0), flip_ratio=1.0)
    view = views.center_crop(mirrored, crop_size=(4, 3))  # x 3..6 of the mirrored picture = 4..7 of the frame
    assert view.box == (4, 0, 7, 4)
    frame = np.arange(40, dtype=np.uint8).reshape(1, 4, 10)
    np.testing.assert_array_equal(render(frame, view), frame[:, :, 6:3:-1])
    np.testing.assert_array_equal(render(frame, view, fused=False), frame[:, :, 6:3:-1])


def test_crops_of_mirrored_views_are_crops_of_the_mirrored_picture():
    frames = np.random.default_rng(0).integers(0, 256, (2, 9, 12, 3), dtype=np.uint8)
    for horizontal in (True, False):
        for vertical in (True, False):
            view = views.flip(9, 12, u=np.float32(0), flip_ratio=float(horizontal))
            view = views.flip(view, u=np.float32(0), flip_ratio=float(vertical), direction="vertical")
            expected = frames[:, :: -1 if vertical else 1, :: -1 if horizontal else 1]
            for box in ((0, 0, 12, 9), (1, 2, 6, 5), (11, 8, 12, 9)):
                part = expected[:, box[1] : box[3], box[0] : box[2]]
                for fused in (True, False):
                    np.testing.assert_array_equal(render(frames, views.crop(view, box=box), fused=fused), part)
    twice = views.flip(views.flip(9, 12, u=np.float32(0)), u=np.float32(0))
    np.testing.assert_array_equal(render(frames, twice), frames)


def test_render_several_views_one_after_the_other():
    frames = np.random.default_rng(0).integers(0, 256, (2, 6, 8, 3), dtype=np.uint8)
    whole, mirrored = views.whole(6, 8), views.flip(6, 8, u=np.float32(0))
    out = render(frames, [whole, mirrored])
    np.testing.assert_array_equal(out, np.concatenate([frames, frames[:, :, ::-1]]))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: views.center_crop(10, 10, crop_size=11),
            ValueError,
            "crop 11x11 does not fit into 10x10; resize first",
        ),
        (lambda: views.center_crop(10, 10, crop_size=2.5), TypeError, "whole number"),
        (lambda: views.center_crop(10, 10, crop_size=0), ValueError, "at least 1"),
        (lambda: views.center_crop(10, crop_size=3), TypeError, "height and a width"),
        (lambda: views.resize(10, 10, scale=-1.0), ValueError, "must be positive"),
        (lambda: views.resize(10, 10, scale=3), TypeError, "expected a float factor"),
        (lambda: views.resize(10, 10, scale=0.5, keep_ratio=False), TypeError, "with keep_ratio"),
        (lambda: views.crop(10, 10, box=(0, 0, 11, 5)), ValueError, "does not lie in a picture of 10x10"),
        (lambda: views.crop(10, 10, box=(0, 0, 0.5, 5)), TypeError, "whole numbers"),
        (lambda: views.random_crop(10, 10, size=4, u=np.zeros(3)), ValueError, "expected \\(2,\\)"),
        (lambda: views.random_resized_crop(10, 10, u=np.zeros(20)), ValueError, "expected \\(22,\\)"),
        (lambda: views.multi_group_crop(9, 9, crop_size=4, groups=2, u=np.zeros(4)), ValueError, "expected \\(2, 2\\)"),
        (lambda: views.resize(10, 10, scale=(-1, -1)), ValueError, "at most one"),
        (lambda: views.resize(10, 10, scale=(0, 5), keep_ratio=False), ValueError, "at least 1"),
        (lambda: views.flip(10, 10, u=np.float32(0), flip_ratio=2), ValueError, "in \\[0, 1\\]"),
        (lambda: views.multi_scale_crop(9, 9, input_size=8, u=np.zeros(2)), ValueError, "expected \\(3,\\)"),
        (lambda: views.multi_scale_crop(9, 9, input_size=8, u=np.zeros(3), scales=(2,)), ValueError, "in \\(0, 1\\]"),
        (lambda: views.multi_scale_crop(9, 9, input_size=8, u=np.zeros(3), num_fixed_crops=7), ValueError, "5, 13"),
        (lambda: render(np.zeros((1, 4, 4, 3), np.uint8), []), ValueError, "views of one size"),
        (
            lambda: render(np.zeros((1, 4, 4, 3), np.uint8), views.whole(4, 4), interpolation="linear"),
            ValueError,
            "choose from",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
