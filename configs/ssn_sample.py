r"""SSN on the sample set: untrimmed video files with several motions each, generated on first use.

python -m actjax.main --config=ssn_sample --workdir=runs/ssn_sample

A clip has four frames; the temporal shift among them lets the network see motion.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    return ml_collections.ConfigDict(
        dict(
            task="ssn",
            data=dict(name="untrimmed_shapes", folder="", num_train=160, num_val=40, seed=0),
            loader=dict(num_workers=2, timeout=30.0, max_broken=0.05),
            sample=dict(
                clip_len=4,
                frame_interval=3,
                body_segments=3,
                aug_segments=(1, 1),
                aug_ratio=(0.5, 0.5),
                test_interval=3,
                backend="pyav",
            ),
            assigner=dict(
                positive_iou_threshold=0.7,
                background_iou_threshold=0.01,
                incomplete_iou_threshold=0.3,
                background_coverage_threshold=0.02,
                incomplete_overlap_threshold=0.01,
            ),
            sampler=dict(
                num_per_video=8, positive_ratio=4, background_ratio=1, incomplete_ratio=3, add_gt_as_proposals=True
            ),
            model=dict(
                num_classes=8,
                num_segments=4,
                depth=10,
                width=16,
                small_input=True,
                dropout=0.0,
                stpp_stage=(1, (1, 2), 1),
                init_std=0.01,
                dtype="float32",
            ),
            train=dict(view=dict(name="multi_scale", short_side=45, size=40, scales=(1.0, 0.875), flip_ratio=0.0)),
            test=dict(view=dict(name="center", short_side=45, size=40), chunk=64),
            loss=dict(completeness_weight=0.5, regression_weight=0.5),
            optim=dict(
                name="sgd",
                lr=0.05,
                lr_batch_size=2,
                momentum=0.9,
                weight_decay=1e-4,
                clip_norm=20.0,
                rules=dict(name="uniform"),
                schedule=dict(name="cosine"),
                warmup_epochs=0.5,
            ),
            run=dict(
                seed=0,
                epochs=12.0,
                batch_size=2,
                bn="global",
                fsdp=1,
                eval_batch_size=8,
                log_every=40,
                eval_every=4.0,
                save_every=200,
                keep=2,
                best="loss",
            ),
            detect=dict(top_k=400, nms=0.2, use_regression=True, protocol="thumos14"),
        )
    )
