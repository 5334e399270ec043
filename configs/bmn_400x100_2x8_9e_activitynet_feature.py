r"""BMN on ActivityNet features.

python -m actjax.main --config=bmn_400x100_2x8_9e_activitynet_feature --workdir=runs/bmn

The settings are MMAction2's, which published AR@100 75.28 and AUC 67.22 with the CUHK features.
docs/model_zoo.md says where to put the data.
"""

import ml_collections

from actjax.recipes import ACTIVITYNET, adam, proposal_run


def get_config() -> ml_collections.ConfigDict:
    return ml_collections.ConfigDict(
        dict(
            task="bmn",
            data=ACTIVITYNET,
            loader=dict(max_broken=0.05, skip=""),
            bmn=dict(
                model=dict(
                    temporal_scale=100,
                    feat_dim=400,
                    boundary_ratio=0.5,
                    num_samples=32,
                    num_samples_per_bin=3,
                    hidden_dim_1d=256,
                    hidden_dim_2d=128,
                    hidden_dim_3d=512,
                    sampling="contract",
                    dtype="float32",
                ),
                loss=dict(
                    match_threshold=0.5,
                    regression_weight=10.0,
                    classification_weight=1.0,
                    peak_threshold=0.5,
                    exact_sampling=False,
                ),
                nms=dict(alpha=0.4, low_threshold=0.5, high_threshold=0.9, top_k=100),
                optim=adam(lr=0.001, batch_size=16, weight_decay=1e-4, milestones=(7,)),
                run=proposal_run(epochs=9, batch_size=16, best="auc"),
                load_from=dict(path="", strict=False),
                checkpoint="latest",
            ),
            detect=dict(top_classes=2),
        )
    )
