"""TSM ResNet-50, 16 frames, Kinetics-400: top-1 72.09, top-5 90.37 from ten crops.

Checkpoints of mid-2020 (71.69, 90.4) shift inside each half of the clip: `--config.model.num_segments=8`.
"""

from actjax.recipes import TEN_CROP, segments, tsm


def get_config(arg=None):
    return tsm(
        arg,
        data="kinetics400",
        epochs=50,
        milestones=(20, 40),
        lr=0.0075,
        videos_per_gpu=6,
        frames=16,
        test=dict(sample=segments(16), view=TEN_CROP, clips_at_once=5),
    )
