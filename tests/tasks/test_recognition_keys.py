"""Every key of a recognition config has an effect: without it something else happens.

tests/helpers/features.py takes the keys of `CASES` into its table.
"""

import functools
import json

import cv2
import numpy as np
import pytest
from marks import slow_but
from observing import batches, digest, first, merged, nested, network, predicted, without_effect

import actjax
from actjax.data.datasets.annotations import load_annotations
from actjax.data.datasets.records import decoder_of
from actjax.video.decoding import open_video

# {folder} is that of the fixture.
BASE = {
    "task": "recognition", "data.name": "videos", "data.train": "{folder}/train.csv", "data.val": "{folder}/val.csv",
    "loader.num_workers": 0, "model.name": "TSM", "model.num_classes": 8, "model.depth": 10, "model.width": 8,
    "model.small_input": True, "train.sample.name": "sample_frames", "train.sample.num_clips": 8,
    "train.view.name": "multi_scale", "train.view.short_side": 36, "train.view.size": 32, "train.view.scales": (1.0,),
    "train.view.flip_ratio": 0.0,
    "eval.sample.name": "sample_frames", "eval.sample.num_clips": 8, "eval.view.name": "center",
    "eval.view.short_side": 36, "eval.view.size": 32, "eval.average_clips": "prob", "optim.name": "sgd",
    "optim.lr": 0.01, "optim.rules.name": "uniform", "optim.schedule.name": "cosine", "run.batch_size": 8,
    "run.epochs": 1.0, "run.log_every": 1,
}  # fmt: skip
CASES = {
    "tsm": {
        "data.train": ["{folder}/short.csv", "{folder}/bare.csv"], "data.val": "{folder}/bare.csv",
        "data.data_prefix": "{folder}/other", "data.class_names": ["one", "two", "three", "four", "five"],
        "data.select.classes": (0, 1, 2), "data.select.fraction": 0.6, "data.select.seed": 1,
        "data.select.repeat_times": 3, "loader.power": 0.0, "model.num_classes": 5, "model.num_segments": 4,
        "model.shift_div": 4, "model.shift_place": "block", "model.non_local": ((0,), (1,), (0,), (0,)),
        "model.non_local_mode": "gaussian", "model.frozen_stages": 1, "model.norm_eval": True,
        "model.mean": (100.0, 110.0, 120.0), "model.std": (50.0, 60.0, 70.0), "model.to_bgr": True,
        "model.dtype": "bfloat16", "model.dropout": 0.3, "model.init_std": 0.05, "model.width": 16,
        "model.small_input": False, "train.sample.temporal_jitter": True,
        "train.sample.frame_interval": 2, "train.sample.clip_len": 2, "train.sample.num_clips": 4,
        "train.view.scales": (1.0, 0.8, 0.6), "train.view.flip_ratio": 0.5, "train.view.max_wh_scale_gap": 0,
        "train.view.num_fixed_crops": 5, "train.view.short_side": 40, "train.view.size": 28,
        "train.flip_labels": ((0, 1), (2, 3)), "train.fused": False, "train.backend": "opencv",
        "eval.sample.clip_len": 2, "eval.sample.num_clips": 2, "eval.sample.twice_sample": True,
        "eval.sample.frame_interval": 3, "eval.view.name": "three_crop", "eval.view.short_side": 40,
        "eval.clips_at_once": 2, "eval.fused": False, "eval.backend": "opencv",
    },
    "augmented": {
        "augment.color_jitter.hue": 0.2, "augment.rand_augment.num_ops": 1, "augment.rand_augment.magnitude": 5,
        "augment.mixup.alpha": 0.3, "augment.cutmix.alpha": 0.5, "augment.random_erasing.probability": 0.5,
        "loss.label_smoothing": 0.2, "loss.class_weights": (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0),
        "loss.loss_weight": 0.5,
        "optim.lr": 0.03, "optim.lr_batch_size": 4, "optim.momentum": 0.8, "optim.nesterov": True,
        "optim.weight_decay": 1e-3, "optim.clip_norm": 5.0, "optim.warmup_epochs": 0.5, "optim.warmup_ratio": 0.3,
        "optim.rules.name": "tsm", "optim.rules.fc_lr5": False, "optim.rules.rows": (("extra", "nowhere", 2, 1),),
        "optim.schedule.name": "step", "optim.schedule.milestones": (2, 3), "optim.schedule.gamma": 0.5,
        "run.seed": 7, "run.bn": "group:2", "run.fsdp": 2, "run.accumulate": 2, "run.ema": 0.9, "run.batch_size": 16,
        "run.epochs": 2.0,
    },
    "tsn": {
        "data.name": "prepared", "data.folder": "{folder}/prepared", "data.train": "val", "data.val": "train",
        "model.name": "TSN", "model.num_classes": 8, "model.arch": "mobilenet_v2", "model.width": 8,
        "model.partial_bn": True,
        "train.view.name": "random_resized", "train.view.short_side": 36, "train.view.size": 28,
        "train.view.flip_ratio": 0.5, "train.view.area_range": (0.2, 0.4), "train.view.aspect_ratio_range": (0.4, 0.6),
        "eval.average_clips": "none", "eval.view.name": "ten_crop", "eval.view.short_side": 36, "eval.view.size": 30,
        "augment.mixup.alpha": 0.3, "loss.name": "binary_cross_entropy",
    },
    "labels": {
        "data.train": "{folder}/several.txt", "data.val": "{folder}/several.txt", "data.multi_class": True,
        "run.best": "mAP", "loss.name": "cross_entropy", "loss.label_smoothing": 0.1, "model.dtype": "float16",
        "train.view.name": "multi_group", "train.view.short_side": 36, "train.view.size": 28, "train.view.groups": 2,
        "model.temporal_pool": True, "optim.schedule.name": "constant", "optim.rules.name": "table",
        "optim.rules.rows": (("head", "fc_cls/.*", 5, 1), ("rest", ".*", 1, 0)),
    },
    "flow": {
        "data.name": "rawframes", "data.train": "{folder}/frames.txt", "data.val": "{folder}/frames.txt",
        "data.with_offset": True, "data.filename_tmpl": "{{}}_{{:03d}}.png", "data.start_index": 0,
        "data.modality": "Flow", "model.mean": (128.0,), "model.std": (128.0,), "train.modality": "Flow",
        "train.stack": 2, "train.view.name": "center", "train.view.short_side": 36, "train.view.size": 24,
        "train.sample.name": "dense_sample_frames", "train.sample.sample_range": 12, "train.sample.clip_len": 2,
        "train.sample.num_clips": 4, "eval.modality": "Flow", "eval.stack": 2,
        "eval.sample.name": "dense_sample_frames", "eval.sample.sample_range": 12, "eval.sample.clip_len": 2,
        "eval.sample.num_sample_positions": 3, "eval.sample.num_clips": 4, "eval.average_clips": "score",
        "optim.name": "adam", "optim.lr": 0.001, "optim.weight_decay": 0.1, "optim.clip_norm": 1.0,
        "optim.betas": (0.8, 0.9), "optim.eps": 1e-3, "optim.rules.name": "layerwise", "optim.rules.factor": 0.5,
        "optim.rules.decay_norms": True, "optim.rules.stages": (("stem", "backbone/stem/.*"), ("rest", "backbone/.*")),
        "optim.rules.rows": (("more", "nowhere", 2, 1),), "optim.schedule.name": "cosine", "optim.schedule.final": 0.1,
    },
}  # fmt: skip
LEARNING = ("optim", "run")  # see test_learning_keys.py
STEPS = {"tsm": 3, "augmented": 2, "tsn": 1, "labels": 2, "flow": 1}
CLASSES = [str(k) for k in range(8)]
# Their clips are looked at, and nothing is trained.
LOOKED_AT = {
    "random": {
        "train.view.name": "random", "train.view.short_side": 36, "train.view.size": 30, "train.view.flip_ratio": 0.5,
        "train.sample.frame_interval": 40, "train.sample.out_of_bound_opt": "repeat_last",
        "eval.sample.frame_interval": 20, "eval.sample.out_of_bound_opt": "repeat_last", "eval.sample.clip_len": 2,
        "eval.sample.num_clips": 4, "train.sample.clip_len": 2, "train.sample.num_clips": 4, "eval.view.size": 28,
    },
    "bottlenecks": {"model.depth": 50, "model.style": "caffe"},
    "corners": {"train.view.random_crop": True, "loader.num_workers": 1},
    "shapes": {
        "data.name": "shapes", "data.folder": "{folder}/made", "data.num_train": 16, "data.num_val": 16, "data.seed": 1,
    },
    "dense": {
        "train.sample.name": "dense_sample_frames", "train.sample.frame_interval": 9, "train.sample.clip_len": 3,
        "train.sample.num_clips": 3, "train.sample.temporal_jitter": True, "train.sample.sample_range": 12,
        "train.sample.out_of_bound_opt": "repeat_last", "eval.sample.name": "dense_sample_frames",
        "eval.sample.num_clips": 3, "eval.sample.frame_interval": 9, "eval.sample.clip_len": 3,
        "eval.sample.out_of_bound_opt": "repeat_last",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(shapes, tmp_path_factory):
    """Sixteen videos to train on and eight to validate on: as files, as pictures of flow, and as a prepared set."""
    folder = tmp_path_factory.mktemp("keys")
    train, val = (load_annotations("videos", shapes / f"{split}.txt")[:count] for split, count in
                  (("train", 16), ("val", 8)))  # fmt: skip
    lists = {
        "train.csv": ["path,label", *(f"{r.path},{r.label}" for r in train)],
        "val.csv": ["path,label", *(f"{r.path},{r.label}" for r in val)],
        "short.csv": ["path,label", *(f"{r.path},{k % 5}" for k, r in enumerate(train[:12]))],
        "bare.csv": ["path,label", *(f"{k}.mp4,{k % 5}" for k in range(8))],
        "several.txt": [f"{r.path} {r.label} {(r.label + 3) % 8}" for r in train],
        "frames.txt": [f"frames/{k} 1 14 {k}" for k in range(8)],
    }
    for name, lines in lists.items():
        (folder / name).write_text("\n".join(lines) + "\n")
    (folder / "other").mkdir()
    for k, record in enumerate(val):
        (folder / "other" / f"{k}.mp4").symlink_to(record.path)
        pictures = folder / "frames" / str(k)
        pictures.mkdir(parents=True)
        for number, frame in enumerate(open_video(record.path).frames(range(16))):
            for axis, name in enumerate("xy"):
                cv2.imwrite(str(pictures / f"{name}_{number:03d}.png"), frame[..., axis])
    prepare = actjax.build(nested(BASE, folder=folder)).prepare
    names = [str(k) for k in range(8)]
    for split, records in (("train", train), ("val", val)):
        prepare(records, str(folder / "prepared"), split=split, class_names=names, progress=lambda items, *_: items)
    return folder


def with_the_test(keys: dict) -> dict:
    """The keys of a case, and its clips of the validation once more as those of the test."""
    config = merged(BASE, keys)
    return keys | {key.replace("eval", "test", 1): config[key] for key in config if key.startswith("eval.")}


def seen(section: str, run, workdir) -> str:
    """What the keys of a section have an effect on."""
    if section in ("model", "loss", "augment"):
        return digest((network(run.network), str(run.network.groups)))
    dataset = run.open_dataset()
    data = run.loop_data(dataset, workdir)
    if section in ("eval", "test"):
        task, clips = run.tested(section)
        batch = first(data.one_pass(dataset.val, clips))
        scored = predicted(task, {"video": np.broadcast_to(np.uint8(0), clips.clip_shape)})
        return digest((batch, scored, decoder_of(dataset.val[0], clips.backend)))
    places = [(record.path, decoder_of(record, run.train_clips.backend)) for record in (*dataset.train, *dataset.val)]
    return digest((batches(data), places, dataset.class_names, run.loader.num_workers))


@pytest.mark.parametrize("case", slow_but([*CASES, *LOOKED_AT], *LOOKED_AT))
def test_every_key_has_an_effect(case, folder, tmp_path):
    see = functools.partial(seen, workdir=tmp_path)
    keys = with_the_test((CASES | LOOKED_AT)[case])
    assert without_effect(BASE, keys, see, besides=LEARNING, folder=folder) == []


@pytest.mark.parametrize("case", slow_but(CASES, "tsm", "flow"))
def test_a_run(case, folder, media, tmp_path):
    """One to three steps, a test that has the clips of the validation, and a prediction."""
    keys = with_the_test(CASES[case])
    results = actjax.train(nested(merged(BASE, keys), folder=folder), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if row["split"] == "train"] == list(range(1, STEPS[case] + 1))
    assert all(np.isfinite(row["loss"]) for row in rows if row["split"] == "train")
    with actjax.load(tmp_path) as trained:
        assert trained.class_names == keys.get("data.class_names", CLASSES)
        again = trained.evaluate()
        assert again["protocol"] == "test" and again["num_videos"] == results["num_videos"]
        assert again[keys.get("run.best", "top1_acc")] == pytest.approx(results[keys.get("run.best", "top1_acc")])
        if keys.get("eval.modality") != "Flow":
            assert len(trained.predict(media / "test.mp4", topk=3)) == 3
