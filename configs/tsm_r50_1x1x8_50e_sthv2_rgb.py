"""TSM ResNet-50, 8 frames, Something-Something V2: top-1 61.82, top-5 86.80 from 6 crops, 59.11 and 85.39 from one."""

from actjax.recipes import THREE_CROP, segments, tsm


def get_config(arg=None):
    return tsm(
        arg,
        data="sthv2",
        videos_per_gpu=6,
        lr=0.0075,
        epochs=50,
        milestones=(20, 40),
        weight_decay=5e-4,
        flip_ratio=0.0,
        test=dict(sample=segments(8, twice_sample=True), view=THREE_CROP, clips_at_once=6),
    )
