"""TSM ResNet-50 with a temporal pool, 8 frames, Kinetics-400; accuracy not published."""

from actjax.recipes import tsm


def get_config(arg=None):
    return tsm(arg, data="kinetics400", epochs=50, milestones=(20, 40), lr=0.01, model=dict(temporal_pool=True))
