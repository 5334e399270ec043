r"""TSM on the sample set: eight classes of motion in real video files, generated on first use.

python -m actjax.main --config=tsm_shapes --workdir=runs/tsm_shapes

`tsm_shapes:tsn` is the same network without the temporal shift: blind to order, it cannot exceed 50 %.
"""

import ml_collections
from ml_collections.config_dict import placeholder

from actjax.config import parse_arg


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    arg = parse_arg(arg, tsn=False)
    sample = dict(name="sample_frames", clip_len=1, num_clips=8)
    return ml_collections.ConfigDict(
        dict(
            task="recognition",
            data=dict(name="shapes", folder="", num_train=1280, num_val=320, seed=0),
            loader=dict(num_workers=2, max_broken=0.05),
            model=dict(
                name="TSN" if arg.tsn else "TSM",
                num_classes=8,
                depth=10,
                width=24,
                small_input=True,
                dropout=0.0,
                init_std=0.01,
                dtype="float32",
            ),
            train=dict(
                sample=sample,
                # No flip: mirroring would turn right into left.
                view=dict(name="multi_scale", short_side=45, size=40, scales=(1.0, 0.875), flip_ratio=0.0),
                backend="pyav",
            ),
            eval=dict(sample=sample, view=dict(name="center", short_side=45, size=40), average_clips="prob"),
            optim=dict(
                name="sgd",
                lr=0.1,
                lr_batch_size=16,
                momentum=0.9,
                weight_decay=1e-4,
                clip_norm=20.0,
                rules=dict(name="uniform"),
                schedule=dict(name="cosine"),
                warmup_epochs=1.0,
            ),
            run=dict(
                seed=0,
                epochs=8.0,
                batch_size=16,
                bn="global",
                fsdp=1,
                accumulate=1,
                ema=placeholder(float),
                log_every=20,
                eval_every=2.0,
                save_every=200,
                keep=2,
                best="top1_acc",
            ),
        )
    )
