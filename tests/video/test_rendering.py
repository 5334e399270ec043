"""From frames to pixels, and from files to clips, against the reference's own pipelines."""

import cv2
import numpy as np
import pytest
from data_cases import arrays, cases, turned
from hypothesis import given
from hypothesis import strategies as st

from actjax.mmaction2 import format_shape, normalize
from actjax.models import normalize as normalize_on_device
from actjax.video import views
from actjax.video.decoding import open_video
from actjax.video.rendering import render
from actjax.video.sampling import dense_sample_frames, sample_frames

ALWAYS = dict(u=np.float32(0), flip_ratio=1.0)


def paired(stack):
    """The reference's flow x0, y0, x1, y1, ... [2n, h, w] -> [n, h, w, 2]."""
    return np.stack([stack[0::2], stack[1::2]], axis=-1)


def test_flip_pixels_match_golden():
    stored = arrays("flip")
    for case in cases("flip"):
        frames, expected, modality = (
            stored[case["input"]["key"]],
            stored[case["expect"]["key"]],
            case["input"]["modality"],
        )
        if modality == "Flow":
            frames, expected = paired(frames), paired(expected)
        view = views.flip(*frames.shape[1:3], u=np.float32(0), **case["args"])
        for fused in (True, False):
            np.testing.assert_array_equal(render(frames, view, modality=modality, fused=fused), expected)


def test_lazy_chains_match_golden():
    stored = arrays("lazy_fuse")
    for case in cases("lazy_fuse"):
        view, interpolation = views.whole(*case["input"]["img_shape"]), "bilinear"
        for step in case["input"]["steps"]:
            if step["op"] == "crop":
                view = views.crop(view, box=step["box"])
            elif step["op"] == "resize":
                view = views.resize(view, scale=tuple(step["out_hw"]), keep_ratio=False)
                interpolation = step["interpolation"]
            else:
                view = views.flip(view, **ALWAYS | dict(flip_ratio=float(step["flip"]), direction=step["direction"]))
            if "lazy_crop_bbox" in step:
                np.testing.assert_allclose(view.box, step["lazy_crop_bbox"], atol=1e-3)
                assert list(view.size) == step["img_shape"]
        modality = case["input"].get("modality", "RGB")
        frames = stored[case["input"]["key"]]
        expected = stored[case["expect"].get("accept_fixed_key", case["expect"]["key"])]
        if modality == "Flow":
            frames, expected = paired(frames), paired(expected)
        out = render(frames, view, interpolation=interpolation, modality=modality)
        difference = np.abs(out.astype(int) - expected).max()
        assert difference <= (1 if interpolation == "bilinear" else 0), case["id"]


def decoded(case, media):
    """The frames that the pipeline of a case samples, and their numbers."""
    record, pipeline = case["input"], case["args"]["pipeline"]
    (sampler,) = (step for step in pipeline if "SampleFrames" in step["type"])
    options = {key: value for key, value in sampler.items() if key not in ("type", "test_mode")}
    sample = {"SampleFrames": sample_frames, "DenseSampleFrames": dense_sample_frames}[sampler["type"]]
    if "filename" in record:
        video = open_video(media / record["filename"].removeprefix("media/"))
        indices = sample(video.num_frames, **options).ravel()
        return video.frames(indices), indices
    indices = sample(record["total_frames"], **options).ravel() + record["start_index"]
    files, template = media / "imgs", record["filename_tmpl"]
    if record["modality"] == "RGB":
        return np.stack([cv2.imread(str(files / template.format(i)))[..., ::-1] for i in indices]), indices
    read = lambda name: cv2.imread(str(files / name), cv2.IMREAD_GRAYSCALE)
    return np.stack([np.stack([read(template.format(c, i)) for c in "xy"], axis=-1) for i in indices]), indices


def boxes_of(case, height, width):
    """The views that the geometry of a pipeline describes."""
    view = views.whole(height, width)
    for step in case["args"]["pipeline"]:
        match step["type"]:
            case "Resize":
                view = views.resize(view, scale=turned(step["scale"]), keep_ratio=step.get("keep_ratio", True))
            case "CenterCrop":
                view = views.center_crop(view, crop_size=step["crop_size"])
            case "ThreeCrop":
                return views.three_crop(view, crop_size=step["crop_size"])
            case "TenCrop":
                return views.ten_crop(view, crop_size=step["crop_size"])
            case "Flip":
                view = views.flip(view, u=np.float32(0), flip_ratio=float(step["flip_ratio"]))
    return [view]


@pytest.mark.parametrize("case", cases("end_to_end"), ids=lambda case: case["id"])
def test_whole_pipelines_match_golden(case, media):
    steps = {step["type"]: step for step in case["args"]["pipeline"]}
    frames, indices = decoded(case, media)
    assert indices.tolist() == case["expect"]["frame_inds"]
    taken = boxes_of(case, *frames.shape[1:3])
    pixels = render(frames, taken, fused="Fuse" in steps, modality=case["input"]["modality"])
    options = {key: steps["Normalize"][key] for key in ("mean", "std")}
    options["to_bgr"] = steps["Normalize"].get("to_bgr", False)
    if steps["Normalize"].get("adjust_magnitude"):
        options["scale_factor"] = views.scale_factor(taken[0])
    sampler = steps.get("SampleFrames") or steps["DenseSampleFrames"]
    clip = format_shape(
        normalize(pixels, **options),
        steps["FormatShape"]["input_format"],
        num_clips=sampler["num_clips"],
        clip_len=sampler["clip_len"],
    )
    expected = arrays("end_to_end")[case["id"]]
    assert clip.dtype == expected.dtype and clip.shape == expected.shape
    difference, least = np.abs(clip - expected), min(steps["Normalize"]["std"])
    assert difference.max() <= 1.05 / least and difference.mean() <= 0.15 / least


def test_device_and_host_normalize_alike():
    frames = np.random.default_rng(0).integers(0, 256, (2, 5, 6, 3), dtype=np.uint8)
    options = dict(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
    on_device = normalize_on_device(frames, **options)
    np.testing.assert_allclose(on_device, normalize(frames, **options), rtol=2e-6, atol=1e-6)


def smooth(height, width, channels):
    grid = np.linspace(0, 6, height)[:, None] + np.linspace(0, 5, width)
    return (127 + 100 * np.sin(grid[..., None] + np.arange(channels))).astype(np.uint8)[None]


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 3]))
def test_fused_flow_and_pictures_are_near_step_by_step(seed, channels):
    rng = np.random.default_rng(seed)
    view = views.random_resized_crop(views.resize(90, 120, scale=(-1, 70)), u=rng.random(22, dtype=np.float32))
    view = views.resize(views.flip(view, u=rng.random(dtype=np.float32)), scale=(40, 48), keep_ratio=False)
    modality = "Flow" if channels == 2 else "RGB"
    frames = smooth(90, 120, channels)
    fused, stepped = (render(frames, view, fused=f, modality=modality).astype(int) for f in (True, False))
    assert fused.shape == stepped.shape == (1, 40, 48, channels)
    assert np.abs(fused - stepped).mean() < 4


@pytest.mark.parametrize("shape", [(3, 20, 30), (3, 20, 30, 1), (3, 20, 30, 2), (3, 20, 30, 6)])
@pytest.mark.parametrize("fused", [True, False])
def test_every_channel_is_rendered_for_itself(shape, fused):
    frames = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    view = views.resize(views.crop(20, 30, box=(3, 2, 23, 18)), scale=(24, 12), keep_ratio=False)
    view = views.flip(views.flip(view, **ALWAYS), **ALWAYS, direction="vertical")
    out = render(frames, [view, view], fused=fused)
    assert out.shape == (6, 24, 12, *shape[3:])
    planes = np.moveaxis(frames.reshape(3, 20, 30, -1), -1, 0)
    expected = [[cv2.resize(frame[2:18, 3:23], (12, 24))[::-1, ::-1] for frame in plane] for plane in planes]
    expected = np.moveaxis(np.array(expected), 0, -1).reshape(3, 24, 12, *shape[3:])
    np.testing.assert_array_equal(out, np.concatenate([expected, expected]))


def test_frames_are_left_as_they_are():
    frames = np.random.default_rng(2).integers(0, 256, (2, 8, 9, 2), dtype=np.uint8)
    before = frames.copy()
    mirrored = views.flip(8, 9, **ALWAYS)
    for fused in (True, False):
        out = render(frames, mirrored, modality="Flow", fused=fused)
        np.testing.assert_array_equal(frames, before)
        np.testing.assert_array_equal(out[..., 0], 255 - before[:, :, ::-1, 0])
        np.testing.assert_array_equal(out[..., 1], before[:, :, ::-1, 1])
        twice = render(frames, views.flip(mirrored, **ALWAYS), modality="Flow", fused=fused)
        np.testing.assert_array_equal(twice, before)


def test_a_box_smaller_than_a_pixel_shows_that_pixel():
    frames = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)
    enlarged = views.resize(3, 4, scale=(30, 40), keep_ratio=False)
    for x in range(40):
        out = render(frames, views.crop(enlarged, box=(x, 0, x + 1, 1)))
        assert out.shape == (1, 1, 1) and out[0, 0, 0] == x // 10


def test_a_view_without_steps_is_rendered_by_its_box():
    frames = np.random.default_rng(3).integers(0, 256, (1, 8, 9, 3), dtype=np.uint8)
    out = render(frames, views.View((1, 2, 6, 7), (5, 5)), fused=False)
    np.testing.assert_array_equal(out, frames[:, 2:7, 1:6])


@pytest.mark.parametrize(
    ("view", "options", "message"),
    [
        (views.whole(4, 4), dict(modality="Audio"), "choose from"),
        (views.whole(4, 4), dict(modality="Flow"), r"expected \[n, h, w, 2\]"),
        ([views.whole(4, 4), views.whole(4, 3)], dict(), "views of one size"),
    ],
)
def test_bad_input_of_render(view, options, message):
    with pytest.raises(ValueError, match=message):
        render(np.zeros((1, 4, 4, 3), np.uint8), view, **options)


@pytest.mark.parametrize("fused", [True, False])
def test_flow_is_never_turned_upside_down(fused):
    flow = np.zeros((1, 4, 4, 2), np.uint8)
    with pytest.raises(ValueError, match="flipped vertically"):
        render(flow, views.flip(4, 4, **ALWAYS, direction="vertical"), modality="Flow", fused=fused)
    assert not render(flow, views.flip(4, 4, u=np.float32(0.9), direction="vertical"), modality="Flow").any()
