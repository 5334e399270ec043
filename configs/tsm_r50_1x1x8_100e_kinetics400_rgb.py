"""TSM ResNet-50, 8 frames, Kinetics-400, 100 epochs: top-1 71.90, top-5 90.03."""

from actjax.recipes import tsm


def get_config(arg=None):
    return tsm(arg, data="kinetics400", epochs=100, milestones=(40, 80), lr=0.01)
