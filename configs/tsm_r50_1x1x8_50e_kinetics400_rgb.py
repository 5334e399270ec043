"""TSM ResNet-50, 8 frames, Kinetics-400: top-1 70.73, top-5 89.81 (70.24, 89.56 at 340x256 in release 0.6)."""

from actjax.recipes import tsm


def get_config(arg=None):
    return tsm(arg, data="kinetics400", epochs=50, milestones=(20, 40), lr=0.01)
