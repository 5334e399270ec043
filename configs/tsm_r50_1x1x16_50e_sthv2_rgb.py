"""TSM ResNet-50, 16 frames, Something-Something V2: top-1 63.19, top-5 87.93 from 6 crops, 61.06 and 86.66 from one.

The checkpoint of release 0.6 (57.68, 83.65) has 339 classes and shifts inside each half of the clip:
`--config.model.num_classes=339 --config.model.num_segments=8`.
"""

from actjax.recipes import THREE_CROP, segments, tsm


def get_config(arg=None):
    return tsm(
        arg,
        data="sthv2",
        frames=16,
        videos_per_gpu=6,
        lr=0.0075,
        epochs=50,
        milestones=(20, 40),
        weight_decay=5e-4,
        flip_ratio=0.0,
        test=dict(sample=segments(16, twice_sample=True), view=THREE_CROP, clips_at_once=6),
    )
