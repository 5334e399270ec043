"""SSN of 2 channels on five videos."""

import ml_collections

DATA = "tests/golden/saved_runs/data/untrimmed"


def get_config() -> ml_collections.ConfigDict:
    return ml_collections.ConfigDict(
        dict(
            task="ssn",
            data=dict(
                name="proposals",
                train=f"{DATA}/train_proposals.txt",
                val=f"{DATA}/val_proposals.txt",
                data_prefix=f"{DATA}/videos",
                class_names=f"{DATA}/classes.txt",
                suffix=".mp4",
            ),
            loader=dict(num_workers=0),
            sample=dict(
                clip_len=2,
                frame_interval=3,
                body_segments=3,
                aug_segments=(1, 1),
                test_interval=6,
                backend="decord",
            ),
            assigner=dict(),
            sampler=dict(num_per_video=4, positive_ratio=2, background_ratio=1, incomplete_ratio=1),
            model=dict(
                num_classes=8,
                num_segments=2,
                shift_div=2,
                depth=10,
                width=2,
                small_input=True,
                dropout=0.0,
                stpp_stage=(1, (1, 2), 1),
                init_std=0.1,
            ),
            train=dict(view=dict(name="multi_scale", short_side=24, size=24, scales=(1.0, 0.875), flip_ratio=0.0)),
            test=dict(view=dict(name="center", short_side=24, size=24)),
            loss=dict(completeness_weight=0.5),
            optim=dict(
                name="sgd",
                lr=0.02,
                lr_batch_size=2,
                momentum=0.9,
                weight_decay=1e-4,
                rules=dict(name="uniform"),
                schedule=dict(name="constant"),
            ),
            run=dict(seed=0, epochs=2.0, batch_size=3, log_every=1, eval_every=2.0, keep=1, best="loss"),
            detect=dict(top_k=100, nms=0.3),
        )
    )
