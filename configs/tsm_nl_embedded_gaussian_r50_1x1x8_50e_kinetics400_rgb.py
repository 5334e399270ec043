"""TSM ResNet-50 with non-local blocks (embedded gaussian), 8 frames, Kinetics-400: top-1 72.03, top-5 90.25."""

from actjax.recipes import NON_LOCAL, tsm


def get_config(arg=None):
    return tsm(
        arg,
        data="kinetics400",
        epochs=50,
        milestones=(20, 40),
        lr=0.01,
        model=dict(non_local=NON_LOCAL, non_local_mode="embedded_gaussian"),
    )
