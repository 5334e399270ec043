"""Every key of SSN's sections has an effect: without it something else happens."""

import functools
import json

import cv2
import jax
import numpy as np
import pytest
from learning import small
from marks import slow_but
from observing import batches, digest, merged, nested, network, traced, without_effect

import actjax
from actjax.data.samples.untrimmed_shapes import make_untrimmed
from actjax.localization import load_localize_proposal_file, save_localize_proposal_file
from actjax.models import tick_features, tick_scores
from actjax.video.decoding import open_video

BASE = small("ssn")[1] | {
    "data.folder": "{folder}", "data.num_train": 8, "data.num_val": 4, "loader.num_workers": 0, "run.batch_size": 8,
    "run.epochs": 1.0, "run.log_every": 1, "run.best": "loss",
}  # fmt: skip
FILES = {
    "data.name": "proposals", "data.train": "{folder}/train_proposals.txt", "data.val": "{folder}/val_proposals.txt",
    "data.suffix": ".mp4", "data.data_prefix": "{folder}/videos",
}  # fmt: skip
CASES = {
    "network": {
        "model.num_classes": 9, "model.width": 4, "model.small_input": False,
        "model.frozen_stages": 1, "model.norm_eval": True, "model.dropout": 0.3, "model.init_std": 0.05,
        "model.mean": (100.0, 110.0, 120.0), "model.std": (50.0, 60.0, 70.0), "model.to_bgr": True,
        "model.dtype": "bfloat16", "model.num_segments": 2, "model.shift_div": 4, "model.shift_place": "block",
        "model.non_local": ((0,), (1,), (0,), (0,)), "model.non_local_mode": "gaussian",
        "model.head_dropout": 0.1, "model.stpp_stage": (1, (1, 3), 1),
        "loss.completeness_weight": 0.2, "loss.regression_weight": 0.3,
    },
    "other network": {"model.partial_bn": True, "model.temporal_pool": True, "model.use_regression": False},
    "bottlenecks": {"model.depth": 50, "model.style": "caffe"},
    "own backbone": {"model.arch": "outside_nets:TinyNet", "model.arch_options": {"channels": 12}},
    "scales": {
        "train.view.scales": (1.0, 0.7), "train.view.max_wh_scale_gap": 0, "train.view.num_fixed_crops": 5,
        "train.view.flip_ratio": 0.5, "test.view.name": "ten_crop", "test.view.short_side": 45, "test.view.size": 40,
    },
    "corners": {"train.view.random_crop": True},
    "areas": {
        "train.view.name": "random_resized", "train.view.short_side": 45, "train.view.size": 40,
        "train.view.flip_ratio": 0.5, "train.view.area_range": (0.2, 0.4), "train.view.aspect_ratio_range": (0.4, 0.6),
    },
    "mobilenet": {"model.arch": "mobilenet_v2"},
    "clips": {
        "sample.clip_len": 2, "sample.frame_interval": 2, "sample.body_segments": 4, "sample.aug_segments": (2, 1),
        "sample.aug_ratio": (0.3, 0.2), "sample.test_interval": 9, "sample.backend": "opencv", "sample.fused": False,
        "model.num_segments": 2, "sampler.num_per_video": 6, "sampler.positive_ratio": 2,
        "sampler.background_ratio": 2, "sampler.incomplete_ratio": 2, "sampler.add_gt_as_proposals": False,
        "assigner.positive_iou_threshold": 0.5, "assigner.background_iou_threshold": 0.1,
        "assigner.incomplete_iou_threshold": 0.45, "assigner.background_coverage_threshold": 0.08,
        "assigner.incomplete_overlap_threshold": 0.3, "train.video_centric": False,
        "train.view.flip_ratio": 0.5, "train.view.size": 36, "test.view.size": 36, "test.chunk": 7,
        "test.divide_parts": False, "data.seed": 1,
        "data.num_train": 6, "data.num_val": 3, "data.folder": "{folder}-other",
    },
    "constants": {"train.reg_norm_consts": ((0.1, 0.0), (0.2, 0.3)), "loader.num_workers": 1},
    "files": FILES | {
        "data.class_names": [f"motion {k}" for k in range(8)], "data.fps": 24.0, "data.filter_gt": False,
        "data.train": "{folder}/some.txt", "data.max_missing": 0.5, "test.view.name": "three_crop",
        "test.view.short_side": 40, "train.view.name": "random", "train.view.short_side": 45, "train.view.size": 40,
        "train.view.flip_ratio": 0.5,
    },
    "fractions": FILES | {"data.val": "{folder}/fractions.txt", "data.train": "{folder}/fractions.txt",
                          "data.frame_counts": "{folder}/counts.json"},
    "flow": {
        "data.name": "proposals", "data.train": "{folder}/pictures.txt", "data.val": "{folder}/pictures.txt",
        "data.data_prefix": "{folder}/pictures", "data.filename_tmpl": "{{}}_{{:03d}}.png", "data.start_index": 0,
        "data.modality": "Flow", "sample.modality": "Flow", "sample.stack": 2, "model.num_segments": 2,
        "model.mean": (128.0,), "model.std": (128.0,), "train.view.name": "center", "train.view.short_side": 45,
        "train.view.size": 40, "sampler.background_ratio": 0, "sampler.incomplete_ratio": 1,
        "sampler.positive_ratio": 1, "sampler.num_per_video": 4,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A sample set; lists of it with a video that is missing or without ground truth, in fractions, and of pictures."""
    folder = make_untrimmed(tmp_path_factory.mktemp("keys") / "untrimmed", num_train=8, num_val=4, processes=2)
    videos = load_localize_proposal_file(folder / "train_proposals.txt")
    (name, length, truths, rows), last = videos[0], videos[-1]
    nothing = (last[0], last[1], [], [["0", "0", "0", *row[-2:]] for row in last[3]])
    save_localize_proposal_file([*videos[:-1], nothing, ("missing", 90, *videos[1][2:])], folder / "some.txt")
    share = lambda row: [*row[:-2], *(f"{int(end) / length:.6f}" for end in row[-2:])]
    fractions = [(name, length, list(map(share, truths)), list(map(share, rows)))]
    save_localize_proposal_file(fractions, folder / "fractions.txt")
    (folder / "counts.json").write_text(json.dumps({name: length}))
    save_localize_proposal_file([videos[0]], folder / "pictures.txt")
    (folder / "pictures" / name).mkdir(parents=True)
    for number, frame in enumerate(open_video(folder / "videos" / f"{name}.mp4").frames(range(length))):
        for axis, plane in enumerate("xy"):
            cv2.imwrite(str(folder / "pictures" / name / f"{plane}_{number:03d}.png"), frame[..., axis])
    return folder


def seen(section: str, run, workdir) -> str:
    """What the keys of a section have an effect on."""
    model = run.network.model
    if section in ("model", "loss"):
        return digest((network(run.network), str(run.network.groups)))
    dataset = run.open_dataset()
    if section == "test":
        parts = list(run.ticks.read(dataset.val[0]))
        variables = jax.eval_shape(run.network.task.init, jax.random.key(0))
        features = jax.eval_shape(functools.partial(tick_features, model), variables, parts[1])
        score = functools.partial(tick_scores, model, divide_parts=run.scoring.divide_parts)
        return digest(([np.shape(part) for part in parts[1:]], parts[1:], traced(score, variables, features)))
    data = batches(run.loop_data(dataset, run.targets(dataset), workdir))
    names = [(r.path, r.decoder(run.ticks.sampling.backend)) for r in (*dataset.train, *dataset.val)]
    along = run.ticks.sampling.test_indices(80)
    return digest((data, names, dataset.class_names, dataset.fps, along, run.loader.num_workers))


@pytest.mark.parametrize(
    "case", slow_but(CASES, "own backbone", "scales", "corners", "areas", "constants", "files", "fractions", "flow")
)
def test_every_key_has_an_effect(case, folder, tmp_path):
    see = functools.partial(seen, workdir=tmp_path)
    assert without_effect(BASE, CASES[case], see, folder=folder) == []


@pytest.mark.slow
def test_a_run_detects_as_told(folder, tmp_path):
    """One step, and four evaluations of it with other values of `detect`, of which each changes the results."""
    keys = {"model.use_regression": True, "checkpoint": "best", "run.epochs": 2.0}
    first = actjax.train(nested(merged(BASE, keys), folder=folder), tmp_path)
    changes = dict(top_k=3, nms=0.9, use_regression=False, protocol="activitynet")
    found = [actjax.evaluate(tmp_path, detect={key: value}) for key, value in changes.items()]
    plain = actjax.evaluate(tmp_path)
    without_time = lambda results: {name: value for name, value in results.items() if name != "seconds"}
    same = lambda results: without_time(results) == without_time(plain)
    assert [key for key, results in zip(changes, found, strict=True) if same(results)] == []
    assert plain["average_mAP"] == first["average_mAP"]


def test_the_recipe_for_thumos14_reads_videos_from_scratch():
    """`:videos=FOLDER,scratch`"""
    recipe = "ssn_r50_450e_thumos14_rgb"
    changed = actjax.build(f"{recipe}:videos=there,scratch")
    assert changed.data["suffix"] == ".mp4" and list(changed.data["data_prefix"]) == ["there/val", "there/test"]
    assert changed.network.load_from is None and actjax.build(recipe).network.load_from is not None
    assert actjax.build(f"{recipe}:scratch").data["data_prefix"] != changed.data["data_prefix"]
    assert actjax.build(f"{recipe}:scratch", data=dict(fps=25.0)).data["fps"] == 25.0 != changed.data["fps"]
