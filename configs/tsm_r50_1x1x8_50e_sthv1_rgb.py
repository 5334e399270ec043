"""TSM ResNet-50, 8 frames, Something-Something V1: top-1 47.70, top-5 76.12 from 6 crops, 45.58 and 75.02 from one.

For one crop: `--mode=eval --protocol=eval`.
"""

from actjax.recipes import THREE_CROP, segments, tsm


def get_config(arg=None):
    return tsm(
        arg,
        data="sthv1",
        lr=0.01,
        epochs=50,
        milestones=(20, 40),
        weight_decay=5e-4,
        flip_ratio=0.0,
        test=dict(sample=segments(8, twice_sample=True), view=THREE_CROP, clips_at_once=6),
    )
