"""TSM of 2 channels on eight clips, with a moving average of its variables."""

import ml_collections

DATA = "tests/golden/saved_runs/data/clips"


def get_config() -> ml_collections.ConfigDict:
    sample = dict(name="sample_frames", clip_len=1, num_clips=4)
    view = dict(name="center", short_side=24, size=24)
    return ml_collections.ConfigDict(
        dict(
            task="recognition",
            data=dict(
                name="videos", train=f"{DATA}/train.txt", val=f"{DATA}/val.txt", class_names=f"{DATA}/classes.txt"
            ),
            loader=dict(num_workers=0),
            model=dict(
                name="TSM", num_classes=4, depth=10, width=2, shift_div=2, small_input=True, dropout=0.0, init_std=0.1
            ),
            train=dict(
                sample=sample,
                view=dict(name="multi_scale", short_side=24, size=24, scales=(1.0, 0.875), flip_ratio=0.0),
                backend="decord",
            ),
            eval=dict(sample=sample, view=view, average_clips="prob", backend="decord"),
            test=dict(sample=dict(sample, twice_sample=True), view=view, average_clips="prob", backend="decord"),
            optim=dict(
                name="sgd",
                lr=0.05,
                lr_batch_size=4,
                momentum=0.9,
                weight_decay=1e-4,
                clip_norm=20.0,
                rules=dict(name="tsm"),
                schedule=dict(name="step", milestones=(3,)),
            ),
            run=dict(seed=0, epochs=2.0, batch_size=4, ema=0.5, log_every=1, eval_every=2.0, keep=1, best="top1_acc"),
        )
    )
