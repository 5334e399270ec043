r"""TSM ResNet-50, 8 frames, Kinetics-400 from video files: top-1 70.25, top-5 89.66 in MMAction2 0.6.

Published on 8 GPUs with 8 videos each; from an ImageNet ResNet-50.

python -m actjax.main --config=configs/tsm_r50_video_1x1x8_50e_kinetics400_rgb.py --workdir=runs/tsm_k400 \
    --config.data.train=k400/train.txt --config.data.val=k400/val.txt --config.data.data_prefix=k400/videos

`:prepared=FOLDER` trains from what `--mode=prepare --out=FOLDER` wrote.
"""

import ml_collections

from actjax.config import parse_arg


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    arg = parse_arg(arg, prepared="")
    lists = dict(
        name="videos",
        train="data/kinetics400/kinetics400_train_list_videos.txt",
        val="data/kinetics400/kinetics400_val_list_videos.txt",
        # Folder that relative file names start from; "" stands for the lists' own folders.
        data_prefix="",
        # File with one name per line; "" numbers the classes.
        class_names="",
    )
    sample = dict(name="sample_frames", clip_len=1, frame_interval=1, num_clips=8)
    return ml_collections.ConfigDict(
        dict(
            task="recognition",
            data=dict(name="prepared", folder=arg.prepared) if arg.prepared else lists,
            loader=dict(num_workers=8, timeout=30.0, max_broken=0.05),
            model=dict(
                name="TSM", num_classes=400, depth=50, shift_div=8, dropout=0.5, init_std=0.001, dtype="float32"
            ),
            train=dict(
                sample=sample,
                view=dict(
                    name="multi_scale",
                    short_side=256,
                    size=224,
                    scales=(1.0, 0.875, 0.75, 0.66),
                    max_wh_scale_gap=1,
                    num_fixed_crops=13,
                    flip_ratio=0.5,
                ),
                fused=True,
                backend="decord",
            ),
            eval=dict(
                sample=sample,
                view=dict(name="center", short_side=256, size=224),
                average_clips="prob",
                fused=True,
                backend="decord",
            ),
            optim=dict(
                name="sgd",
                lr=0.02,
                lr_batch_size=64,
                momentum=0.9,
                weight_decay=1e-4,
                clip_norm=20.0,
                rules=dict(name="tsm", fc_lr5=True),
                schedule=dict(name="step", milestones=(20, 40), gamma=0.1),
                warmup_epochs=0.0,
            ),
            prepare=dict(short_side=256, quality=95),
            run=dict(
                seed=0,
                epochs=50.0,
                batch_size=64,
                # Statistics per device, as the published numbers were made: 8 videos each on 8 devices.
                bn="device",
                log_every=20,
                eval_every=5.0,
                save_every=2000,
                keep=2,
                best="top1_acc",
            ),
        )
    )
