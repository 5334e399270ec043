"""TSM ResNet-50 with non-local blocks (gaussian), 8 frames, Kinetics-400: top-1 70.70, top-5 89.90."""

from actjax.recipes import NON_LOCAL, tsm


def get_config(arg=None):
    return tsm(
        arg,
        data="kinetics400",
        epochs=50,
        milestones=(20, 40),
        lr=0.01,
        model=dict(non_local=NON_LOCAL, non_local_mode="gaussian"),
    )
