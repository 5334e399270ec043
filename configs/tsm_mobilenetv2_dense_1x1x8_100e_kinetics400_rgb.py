"""TSM MobileNet-V2, 8 frames, Kinetics-400: top-1 68.46, top-5 88.64 from 30 crops; trained on sparse frames."""

from actjax.recipes import THREE_CROP, dense, tsm


def get_config(arg=None):
    return tsm(
        arg,
        data="kinetics400",
        epochs=100,
        milestones=(40, 80),
        lr=0.01,
        weight_decay=2e-5,
        model=dict(arch="mobilenet_v2"),
        test=dict(sample=dense(8), view=THREE_CROP, clips_at_once=10),
    )
