"""TSM ResNet-101, 8 frames, Something-Something V2: top-1 63.84, top-5 88.30 from 6 crops, 60.88 and 86.56 from one.

The checkpoint of release 0.6 (59.12, 85.74; lr 0.02) has 339 classes: `--config.model.num_classes=339`.
"""

from actjax.recipes import THREE_CROP, segments, tsm


def get_config(arg=None):
    return tsm(
        arg,
        data="sthv2",
        lr=0.01,
        epochs=50,
        milestones=(20, 40),
        weight_decay=5e-4,
        flip_ratio=0.0,
        model=dict(depth=101),
        test=dict(sample=segments(8, twice_sample=True), view=THREE_CROP, clips_at_once=6),
    )
