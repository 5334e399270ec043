r"""BMN on the sample set: features of untrimmed videos in ActivityNet's formats, generated on first use.

python -m actjax.main --config=bmn_sample --workdir=runs/bmn_sample
"""

import ml_collections

from actjax.recipes import adam, proposal_run


def get_config() -> ml_collections.ConfigDict:
    return ml_collections.ConfigDict(
        dict(
            task="bmn",
            data=dict(name="sequences", folder="", num_train=1200, num_val=200, seed=0, rescale="linear"),
            bmn=dict(
                model=dict(
                    temporal_scale=50,
                    feat_dim=48,
                    num_samples=16,
                    hidden_dim_1d=64,
                    hidden_dim_2d=32,
                    hidden_dim_3d=64,
                    sampling="contract",
                    dtype="float32",
                ),
                loss=dict(exact_sampling=False),
                nms=dict(alpha=0.4, low_threshold=0.5, high_threshold=0.9, top_k=100),
                optim=adam(lr=0.001, batch_size=16, weight_decay=1e-4, milestones=(7,)),
                run=proposal_run(epochs=9, batch_size=16, best="auc"),
            ),
            detect=dict(top_classes=2),
        )
    )
