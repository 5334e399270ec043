"""TSN ResNet-50, 3 frames, Kinetics-400: top-1 70.60, top-5 89.26 (340x256) from ten crops of 25 frames."""

from actjax.recipes import TEN_CROP, segments, tsn


def get_config(arg=None):
    return tsn(
        arg,
        data="kinetics400",
        epochs=100,
        milestones=(40, 80),
        lr=0.01,
        videos_per_gpu=32,
        frames=3,
        test=dict(sample=segments(25), view=TEN_CROP, clips_at_once=5),
    )
