"""TSM ResNet-50, 8 frames, Kinetics-400 from video files: top-1 70.25, top-5 89.66."""

from actjax.recipes import tsm


def get_config(arg=None):
    return tsm(arg, data="kinetics400_videos", epochs=50, milestones=(20, 40), lr=0.02)
