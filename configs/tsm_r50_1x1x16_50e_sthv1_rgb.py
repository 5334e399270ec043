"""TSM ResNet-50, 16 frames, Something-Something V1: top-1 49.03, top-5 77.83 from 6 crops, 47.77 and 76.82 from one."""

from actjax.recipes import THREE_CROP, segments, tsm


def get_config(arg=None):
    return tsm(
        arg,
        data="sthv1",
        frames=16,
        videos_per_gpu=6,
        lr=0.0075,
        epochs=50,
        milestones=(20, 40),
        weight_decay=5e-4,
        flip_ratio=0.0,
        test=dict(sample=segments(16, twice_sample=True), view=THREE_CROP, clips_at_once=6),
    )
