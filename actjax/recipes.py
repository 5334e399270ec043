"""The shared part of the published recipes; files in `configs/` add the rest.

Numbers are from MMAction2 0.24.1 if it has the recipe, else from 0.6. Learning rates are for the batch of all 8 GPUs.
"""

import copy

import ml_collections
from ml_collections.config_dict import placeholder

from actjax.config import parse_arg

TEN_CROP = dict(name="ten_crop", short_side=256, size=224)
THREE_CROP = dict(name="three_crop", short_side=256)
CENTER = dict(name="center", short_side=256, size=224)

# Non-local blocks after blocks 0 and 2 of the second stage and 0, 2 and 4 of the third.
NON_LOCAL = ((0, 0, 0), (1, 0, 1, 0), (1, 0, 1, 0, 1, 0), (0, 0, 0))

# Initial weights: torchvision's ImageNet networks. The digits begin the SHA-256 of the file.
IMAGENET = {
    50: "checkpoints/resnet50-19c8e357.pth",
    101: "checkpoints/resnet101-5d3b4d8f.pth",
    "mobilenet_v2": "checkpoints/mobilenet_v2-b0353104.pth",
}
# Name of a published file -> where it is.
PUBLISHED = {
    name: f"https://download.pytorch.org/models/{name}"
    for name in (path.rpartition("/")[2] for path in IMAGENET.values())
}

# Lists from MMAction2's scripts; names are relative to `data_prefix`, or if "" to the list's folder. Both splits share
# the prefix, so the lists of Kinetics need the split's folder before each name: see docs/model_zoo.md.
DATA = {
    "kinetics400": dict(
        name="rawframes",
        train="data/kinetics400/kinetics400_train_list_rawframes.txt",
        val="data/kinetics400/kinetics400_val_list_rawframes.txt",
        data_prefix="",
    ),
    "kinetics400_videos": dict(
        name="videos",
        train="data/kinetics400/kinetics400_train_list_videos.txt",
        val="data/kinetics400/kinetics400_val_list_videos.txt",
        data_prefix="",
    ),
    "sthv1": dict(
        name="rawframes",
        train="data/sthv1/sthv1_train_list_rawframes.txt",
        val="data/sthv1/sthv1_val_list_rawframes.txt",
        data_prefix="data/sthv1/rawframes",
        filename_tmpl="{:05d}.jpg",
    ),
    "sthv2": dict(
        name="rawframes",
        train="data/sthv2/sthv2_train_list_rawframes.txt",
        val="data/sthv2/sthv2_val_list_rawframes.txt",
        data_prefix="data/sthv2/rawframes",
    ),
}
CLASSES = {"kinetics400": 400, "kinetics400_videos": 400, "sthv1": 174, "sthv2": 174}


# Files from MMAction2's scripts.
ACTIVITYNET = dict(
    name="activitynet",
    features="data/ActivityNet/activitynet_feature_cuhk/csv_mean_100",
    train="data/ActivityNet/anet_anno_train.json",
    val="data/ActivityNet/anet_anno_val.json",
    video_info="",
    rescale="linear",
    # Video-level class scores that turn proposals into detections; "": none.
    class_scores="",
    max_missing=0.05,
)


def adam(*, lr: float, batch_size: int, weight_decay: float, milestones: tuple[int, ...] | None) -> dict:
    """Adam with a learning rate that drops tenfold at every milestone; None: left to the data, see `own_videos`."""
    return dict(
        name="adam",
        lr=lr,
        lr_batch_size=batch_size,
        weight_decay=weight_decay,
        rules=dict(name="uniform"),
        schedule=dict(name="step", milestones=placeholder(tuple) if milestones is None else milestones, gamma=0.1),
    )


def proposal_run(*, epochs: int | None, batch_size: int, best: str) -> dict:
    """The section `run` of TEM, PEM and BMN; epochs of None are left to the data, see `own_videos`."""
    return dict(
        seed=0,
        epochs=placeholder(float) if epochs is None else float(epochs),
        batch_size=batch_size,
        eval_batch_size=batch_size,
        ema=placeholder(float),
        log_every=50,
        eval_every=1.0,
        save_every=2000,
        keep=2,
        best=best,
    )


def own_videos(localizer: str, **sections) -> ml_collections.ConfigDict:
    """A recipe of a localizer, "bmn", "bsn" or "ssn", on own untrimmed videos, whose number decides the epochs.

    Args:
      sections: of the localizer, without `data`.
    """
    data = dict(videos="", train="", val="", network="tsm_shapes", interval=placeholder(int), what="scores")
    return ml_collections.ConfigDict(dict(task="own", localizer=localizer, data=data, **sections))


def segments(frames: int, **options) -> dict:
    """One frame from each of `frames` parts of the video."""
    return dict(name="sample_frames", clip_len=1, frame_interval=1, num_clips=frames, **options)


def dense(frames: int) -> dict:
    """`frames` frames from a window of 64; ten windows in a test."""
    return dict(name="dense_sample_frames", clip_len=1, frame_interval=1, num_clips=frames)


def tsm(
    arg: str | None,
    *,
    data: str,
    epochs: int,
    milestones: tuple[int, int],
    lr: float,
    videos_per_gpu: int = 8,
    frames: int = 8,
    weight_decay: float = 1e-4,
    flip_ratio: float = 0.5,
    train_sample: dict | None = None,
    eval_sample: dict | None = None,
    test: dict | None = None,
    model: dict | None = None,
) -> ml_collections.ConfigDict:
    """A recipe of TSM.

    Args:
      arg: text after the colon of `--config=FILE:`.
      data: a key of `DATA`.
      train_sample, eval_sample: sampling in training and validation; None: `segments(frames)`.
      test: sample, view and clips_at_once of the published test; None: as in validation.
      model: attributes beyond ResNet-50's.
    """
    attributes = dict(
        name="TSM",
        shift_div=8,
        shift_place="blockres",
        num_segments=placeholder(int),
        dropout=0.5,
        init_std=0.001,
    ) | (model or {})
    if attributes.get("arch", "resnet") == "resnet":
        attributes = dict(depth=50) | attributes
    return _recipe(
        arg,
        data=data,
        model=attributes,
        train_sample=train_sample or segments(frames),
        eval=dict(sample=eval_sample or segments(frames), view=CENTER, average_clips="prob"),
        test=test and test | dict(average_clips="prob"),
        num_fixed_crops=13,
        flip_ratio=flip_ratio,
        optim=dict(lr=lr, weight_decay=weight_decay, clip_norm=20.0, rules=dict(name="tsm", fc_lr5=True)),
        milestones=milestones,
        epochs=epochs,
        batch_size=8 * videos_per_gpu,
    )


def tsn(
    arg: str | None,
    *,
    data: str,
    epochs: int,
    milestones: tuple[int, int],
    lr: float,
    videos_per_gpu: int,
    frames: int,
    test: dict,
) -> ml_collections.ConfigDict:
    """A recipe of TSN; arguments as in `tsm`. Averaging logits over all crops equals averaging their features."""
    return _recipe(
        arg,
        data=data,
        model=dict(name="TSN", depth=50, dropout=0.4, init_std=0.01),
        train_sample=segments(frames),
        eval=dict(sample=segments(frames), view=CENTER, average_clips="score"),
        test=test | dict(average_clips="score"),
        num_fixed_crops=5,
        flip_ratio=0.5,
        optim=dict(lr=lr, weight_decay=1e-4, clip_norm=40.0, rules=dict(name="uniform")),
        milestones=milestones,
        epochs=epochs,
        batch_size=8 * videos_per_gpu,
    )


def _recipe(
    arg, *, data, model, train_sample, eval, test, num_fixed_crops, flip_ratio, optim, milestones, epochs, batch_size
) -> ml_collections.ConfigDict:
    """All sections of a recipe.

    Arguments of every recipe: `prepared=FOLDER`: the output of `--mode=prepare`; `scratch`: no ImageNet weights;
    `flow`: optical flow in place of RGB. Some keys are here with their defaults because the command line can only
    override keys that a config has.
    """
    arg = parse_arg(arg, prepared="", scratch=False, flow=False)
    # File with one class name per line; "": class numbers serve as names.
    lists = DATA[data] | dict(class_names="")
    reading = dict(fused=True) | (dict(backend="pyav") if lists["name"] == "videos" else {})
    sections = dict(
        task="recognition",
        data=dict(name="prepared", folder=arg.prepared) if arg.prepared else lists,
        loader=dict(num_workers=8, timeout=30.0, max_broken=0.05),
        model=dict(
            num_classes=CLASSES[data],
            frozen_stages=-1,
            norm_eval=False,
            partial_bn=False,
            dtype="float32",
            **model,
        ),
        load_from=dict(path=_imagenet(model), inflate_stem=False, strict=False),
        loss=dict(label_smoothing=0.0),
        train=dict(
            sample=train_sample,
            view=dict(
                name="multi_scale",
                short_side=256,
                size=224,
                scales=(1.0, 0.875, 0.75, 0.66),
                max_wh_scale_gap=1,
                num_fixed_crops=num_fixed_crops,
                flip_ratio=flip_ratio,
            ),
            **reading,
        ),
        eval=eval | reading,
        test=test and test | reading,
        optim=dict(
            name="sgd",
            lr_batch_size=batch_size,
            momentum=0.9,
            schedule=dict(name="step", milestones=milestones, gamma=0.1),
            warmup_epochs=0.0,
            **optim,
        ),
        prepare=dict(short_side=256, quality=95),
        extract=dict(interval=16, num_frames=placeholder(int), what="scores", chunk=16, suffix=".csv"),
        run=dict(
            seed=0,
            epochs=float(epochs),
            batch_size=batch_size,
            # Videos at a time; fewer in a test with many crops.
            eval_batch_size=8 if test else batch_size,
            # Statistics per device, as in the published runs on 8 devices.
            bn="device",
            fsdp=1,
            accumulate=1,
            ema=placeholder(float),
            log_every=20,
            eval_every=5.0,
            save_every=2000,
            keep=2,
            best="top1_acc",
        ),
    )
    if arg.scratch:
        del sections["load_from"]
    # Sections that share a value (`sample` of train and eval) get a copy each: an override changes only one.
    sections = {name: copy.deepcopy(value) for name, value in sections.items() if value}
    return ml_collections.ConfigDict(_of_flow(sections) if arg.flow else sections)


def _imagenet(model: dict) -> str:
    """The ImageNet checkpoint of a network; "" for a network of another package."""
    arch = model.get("arch", "resnet")
    return IMAGENET[model["depth"]] if arch == "resnet" else IMAGENET.get(arch, "")


def _of_flow(sections: dict) -> dict:
    """The same recipe for x and y images of optical flow: a frame is five adjacent pairs, ten channels."""
    if sections["data"]["name"] == "videos":
        raise ValueError("config argument 'flow': video files have no flow; choose a rawframes recipe, or prepared=")
    if sections["data"]["name"] == "rawframes":
        sections["data"] |= dict(modality="Flow", filename_tmpl="{}_{:05d}.jpg")
    sections["model"] |= dict(mean=(128.0,), std=(128.0,))
    for name in {"train", "eval", "test"} & set(sections):
        sections[name] |= dict(modality="Flow", stack=5)
        sections[name]["sample"]["clip_len"] = 5
    if "load_from" in sections:
        sections["load_from"]["inflate_stem"] = True
    return sections
