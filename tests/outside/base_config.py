"""A config beside another one that changes it."""

from ml_collections import ConfigDict


def get_config(arg=None):
    view = dict(name="center", short_side=45, size=40)
    return ConfigDict(
        dict(
            task="recognition",
            data=dict(name="shapes", num_train=64, num_val=40),
            loader=dict(num_workers=2),
            model=dict(name="TSM", arch="motion.nets:Shifted", num_classes=8, width=16, dropout=0.0),
            train=dict(sample=dict(name="sample_frames", num_clips=8), view=view),
            eval=dict(sample=dict(name="sample_frames", num_clips=8), view=view, average_clips="prob"),
            optim=dict(
                name="sgd",
                lr=0.05,
                lr_batch_size=8,
                rules=dict(name="uniform"),
                schedule=dict(name="cosine"),
            ),
            run=dict(epochs=2.0, batch_size=8, log_every=1, save_every=5, seed=0),
        )
    )
