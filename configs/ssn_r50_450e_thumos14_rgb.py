r"""SSN-R50, THUMOS14, RGB, TAG proposals. Published mAP at tIoU 0.3 / 0.4 / 0.5: 29.37 / 22.15 / 15.69.

python -m actjax.main --config=ssn_r50_450e_thumos14_rgb --workdir=runs/ssn_thumos14

`:videos=FOLDER` reads FOLDER/val/*.mp4 and FOLDER/test/*.mp4 instead of extracted frames. As is usual for THUMOS14, SSN
is trained on the validation videos and evaluated on the test videos, because only these splits have annotations.
"""

import ml_collections
from ml_collections.config_dict import placeholder

from actjax.config import parse_arg
from actjax.recipes import CENTER, IMAGENET

CLASSES = (
    "BaseballPitch", "BasketballDunk", "Billiards", "CleanAndJerk", "CliffDiving", "CricketBowling", "CricketShot",
    "Diving", "FrisbeeCatch", "GolfSwing", "HammerThrow", "HighJump", "JavelinThrow", "LongJump", "PoleVault",
    "Shotput", "SoccerPenalty", "TennisSwing", "ThrowDiscus", "VolleyballSpiking",
)  # fmt: skip


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    arg = parse_arg(arg, videos="", scratch=False)
    root = arg.videos or "data/thumos14/rawframes"
    config = dict(
        task="ssn",
        data=dict(
            name="proposals",
            train="data/thumos14/thumos14_tag_val_proposal_list.txt",
            val="data/thumos14/thumos14_tag_test_proposal_list.txt",
            # Folders of the two splits; "" for the folder of each list.
            data_prefix=(f"{root}/val", f"{root}/test"),
            suffix=".mp4" if arg.videos else "",
            filename_tmpl="img_{:05d}.jpg",
            # JSON file with frame counts, for normalised lists.
            frame_counts="",
            class_names=CLASSES,
            # The frame rate of almost all videos, for detections in seconds. 0: taken from the video files.
            fps=0.0 if arg.videos else 30.0,
            max_missing=0.05,
            filter_gt=True,
        ),
        loader=dict(num_workers=8, timeout=60.0, max_broken=0.05, skip=""),
        sample=dict(
            clip_len=1,
            frame_interval=1,
            body_segments=5,
            aug_segments=(2, 2),
            aug_ratio=(0.5, 0.5),
            test_interval=6,
            backend="pyav",
            modality="RGB",
            stack=1,
        ),
        assigner=dict(
            positive_iou_threshold=0.7,
            background_iou_threshold=0.01,
            incomplete_iou_threshold=0.3,
            background_coverage_threshold=0.02,
            incomplete_overlap_threshold=0.01,
        ),
        sampler=dict(
            num_per_video=8, positive_ratio=1, background_ratio=1, incomplete_ratio=6, add_gt_as_proposals=True
        ),
        model=dict(
            num_classes=20,
            depth=50,
            partial_bn=True,
            dropout=0.8,
            head_dropout=0.0,
            stpp_stage=(1, 1, 1),
            use_regression=True,
            init_std=0.001,
            mean=(104.0, 117.0, 128.0),
            std=(1.0, 1.0, 1.0),
            to_bgr=True,
            dtype="float32",
        ),
        load_from=dict(path=IMAGENET[50], inflate_stem=False, strict=False),
        train=dict(view=CENTER, video_centric=True, reg_norm_consts=()),
        test=dict(view=CENTER, chunk=16, divide_parts=True),
        loss=dict(completeness_weight=0.1, regression_weight=0.1),
        optim=dict(
            name="sgd",
            lr=0.001,
            lr_batch_size=8,
            momentum=0.9,
            weight_decay=1e-6,
            clip_norm=35.0,
            rules=dict(name="uniform"),
            schedule=dict(name="step", milestones=(200, 400), gamma=0.1),
            warmup_epochs=0.0,
        ),
        run=dict(
            seed=0,
            epochs=450.0,
            batch_size=8,
            eval_batch_size=8,
            bn="device",
            fsdp=1,
            accumulate=1,
            ema=placeholder(float),
            log_every=20,
            eval_every=25.0,
            save_every=500,
            keep=2,
            best="loss",
        ),
        detect=dict(top_k=2000, nms=0.2, use_regression=True, protocol="thumos14"),
        checkpoint="latest",
    )
    if arg.scratch:
        del config["load_from"]
    return ml_collections.ConfigDict(config)
