import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actjax.video import views
from actjax.video.rendering import render


def cases(golden, name, *functions):
    return [c for c in json.loads((golden / "data" / f"{name}.json").read_text())["cases"] if c["fn"] in functions]


def turned(size):
    """The reference's (w, h) -> (h, w)."""
    return tuple(size[::-1]) if isinstance(size, list) else size


def test_resize_sizes_match_golden(golden):
    for case in cases(golden, "resize_sizes", "Resize"):
        steps = case["expect"].get("steps") or [case["args"] | case["expect"]]
        view = views.whole(*case["input"]["img_shape"])
        for step in steps:
            scale = turned(step["scale"]) if isinstance(step["scale"], list) else float(step["scale"])
            view = views.resize(view, scale=scale, keep_ratio=step["keep_ratio"])
            assert list(view.size) == step["img_shape"], case["id"]


def test_resize_pixels_match_golden(golden):
    arrays = np.load(golden / "data" / "resize_pixels.npz")
    for case in cases(golden, "resize_pixels", "Resize"):
        frame, expected = arrays[case["input"]["key"]], arrays[case["expect"]["key"]]
        args = case["args"]
        view = views.resize(*frame.shape[:2], scale=turned(args["scale"]), keep_ratio=args["keep_ratio"])
        out = render(frame[None], view, interpolation=args["interpolation"])[0]
        tolerance = 1 if args["interpolation"] == "bilinear" else 0
        assert np.abs(out.astype(int) - expected).max() <= tolerance, case["id"]


def test_center_crop_matches_golden(golden):
    for case in cases(golden, "crops_det", "CenterCrop"):
        view = views.center_crop(*case["input"]["img_shape"], crop_size=turned(case["args"]["crop_size"]))
        assert list(view.box) == case["expect"]["crop_bbox"] and list(view.size) == case["expect"]["img_shape"]


def test_multi_scale_crop_law_matches_golden(golden):
    rng = np.random.default_rng(2)
    for case in cases(golden, "random_crops", "MultiScaleCrop"):
        args, expect = case["args"], case["expect"]
        options = dict(args, input_size=turned(args["input_size"]), scales=tuple(args.get("scales", (1,))))
        height, width = case["input"]["img_shape"]
        draw = lambda h=height, w=width, o=options: views.multi_scale_crop(h, w, u=rng.random(3, dtype=np.float32), **o)
        boxes = np.array([draw().box for _ in range(20_000)])
        if args["random_crop"]:
            sizes = boxes[:, 2:] - boxes[:, :2]
            assert {tuple(size) for size in sizes} == {tuple(size) for size in expect["size_wh"]}
            assert boxes.min() == 0 and boxes[:, 2].max() == width and boxes[:, 3].max() == height
            continue
        law = {tuple(box): p for box, p in zip(expect["boxes"], expect["prob"], strict=True)}
        found, counts = np.unique(boxes, axis=0, return_counts=True)
        assert {tuple(box) for box in found.tolist()} <= set(law), case["id"]
        expected = np.array([law[tuple(box)] for box in found.tolist()]) * len(boxes)
        statistic, freedom = ((counts - expected) ** 2 / expected).sum(), len(law) - 1
        assert statistic < freedom + 5.2 * np.sqrt(2 * freedom) + 20, case["id"]


def test_flip_fires_below_its_ratio():
    u = np.float32([0.0, 0.19, 0.2, 0.99])
    assert [bool(views.flip(4, 6, u=v, flip_ratio=0.2).flip) for v in u] == [True, True, False, False]
    assert not views.flip(4, 6, u=np.float32(0), flip_ratio=0.0).flip
    assert views.flip(4, 6, u=np.nextafter(np.float32(1), np.float32(0)), flip_ratio=1.0).flip


def chain(u, height=120, width=90):
    view = views.resize(height, width, scale=(-1, 64))
    view = views.multi_scale_crop(view, input_size=56, scales=(1, 0.875, 0.75, 0.66), num_fixed_crops=13, u=u[:3])
    view = views.flip(views.resize(view, scale=(48, 56), keep_ratio=False), u=u[3])
    return views.center_crop(view, crop_size=(40, 50))


def test_numpy_equals_jit_and_vmap():
    u = np.random.default_rng(3).random((256, 4), dtype=np.float32)
    on_device = jax.jit(jax.vmap(chain))(jnp.asarray(u))
    for i, draws in enumerate(u):
        on_host = chain(draws)
        row = jax.tree.map(lambda leaf, i=i: np.broadcast_to(leaf, (len(u),))[i], on_device)
        np.testing.assert_allclose(on_host.box, row.box, rtol=1e-5)
        assert bool(on_host.flip) == bool(row.flip)
        assert [tuple(map(int, s.box)) for s in on_host.steps] == [tuple(map(int, s.box)) for s in row.steps]


@given(st.integers(0, 2**32 - 1))
def test_fused_is_near_step_by_step(seed):
    rng = np.random.default_rng(seed)
    grid = np.linspace(0, 6, 120)[:, None] + np.linspace(0, 5, 90)
    frame = (127 + 100 * np.sin(grid[..., None] + np.arange(3))).astype(np.uint8)
    view = chain(rng.random(4, dtype=np.float32))
    fused, stepped = (render(frame[None], view, fused=f).astype(int) for f in (True, False))
    assert fused.shape == stepped.shape == (1, 40, 50, 3)
    # A smooth picture: half a pixel of rounded box is worth at most this much.
    assert np.abs(fused - stepped).mean() < 4


def test_crop_of_a_mirrored_view_counts_from_its_right_edge():
    mirrored = views.flip(4, 10, u=np.float32(0), flip_ratio=1.0)
    view = views.center_crop(mirrored, crop_size=(4, 3))  # x 3..6 of the mirrored picture = 4..7 of the frame
    assert view.box == (4, 0, 7, 4)
    frame = np.arange(40, dtype=np.uint8).reshape(1, 4, 10)
    np.testing.assert_array_equal(render(frame, view), frame[:, :, 6:3:-1])
    np.testing.assert_array_equal(render(frame, view, fused=False), frame[:, :, 6:3:-1])


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
