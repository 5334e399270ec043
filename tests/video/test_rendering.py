"""From a file to the pixels of a clip, against the reference's own pipeline."""

import json

import numpy as np

from actjax.models import normalize
from actjax.video import views
from actjax.video.decoding import open_video
from actjax.video.rendering import render
from actjax.video.sampling import sample_frames


def test_fused_chain_matches_the_references_lazy_pipeline(golden, media):
    cases = json.loads((golden / "data" / "end_to_end.json").read_text())["cases"]
    (case,) = [c for c in cases if c["id"] == "lazy"]
    video = open_video(media / "test.mp4")
    indices = sample_frames(video.num_frames, clip_len=2, frame_interval=3, num_clips=2)
    assert indices.ravel().tolist() == case["expect"]["frame_inds"]
    frames = video.frames(indices)
    view = views.center_crop(views.resize(*frames.shape[1:3], scale=(-1, 96)), crop_size=86)
    view = views.flip(views.resize(view, scale=(48, 48), keep_ratio=False), u=np.float32(0), flip_ratio=1.0)
    clip = np.asarray(normalize(render(frames, view)))
    out = clip.reshape(2, 2, 48, 48, 3).transpose(0, 4, 1, 2, 3)  # clips, channels, frames, height, width
    difference = np.abs(out - np.load(golden / "data" / "end_to_end.npz")["lazy"])
    assert difference.max() <= 1.05 / 57.12 and difference.mean() <= 0.15 / 57.12
