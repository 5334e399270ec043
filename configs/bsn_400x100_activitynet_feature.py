r"""BSN on ActivityNet features: TEM, proposal generation, PEM, evaluation, in one run.

python -m actjax.main --config=bsn_400x100_activitynet_feature --workdir=runs/bsn

The settings are those of MMAction2's bsn_tem_, bsn_pgm_ and bsn_pem_400x100_1x16_20e_activitynet_feature, which
published AR@100 74.66 and AUC 66.45 with the CUHK features. docs/model_zoo.md says where to put the data.
"""

import ml_collections

from actjax.recipes import ACTIVITYNET, adam, proposal_run


def get_config() -> ml_collections.ConfigDict:
    start = dict(path="", strict=False)
    return ml_collections.ConfigDict(
        dict(
            task="bsn",
            stages="tem,pgm,pem",
            data=ACTIVITYNET,
            loader=dict(max_broken=0.05, skip=""),
            tem=dict(
                model=dict(temporal_scale=100, feat_dim=400, hidden_dim=512, output_factor=0.01, dtype="float32"),
                labels=dict(boundary_ratio=0.1),
                loss=dict(match_threshold=0.5, action_weight=2.0),
                optim=adam(lr=0.001, batch_size=16, weight_decay=1e-4, milestones=(7, 14)),
                run=proposal_run(epochs=20, batch_size=16, best="loss"),
                load_from=start,
                checkpoint="latest",
                # Folder of curves from another program, used instead of this stage.
                results="",
            ),
            pgm=dict(
                peak_threshold=0.5,
                top_k_train=500,
                top_k=1000,
                bsp_boundary_ratio=0.2,
                num_sample_start=8,
                num_sample_end=8,
                num_sample_action=16,
                num_sample_interp=3,
                # Folders of proposals and features from another program, used instead of this stage.
                proposals="",
                features="",
            ),
            pem=dict(
                model=dict(feat_dim=32, hidden_dim=256, fc1_factor=0.1, fc2_factor=0.1, dtype="float32"),
                loss=dict(sampled=False, high=0.6, low=0.2, medium_ratio=1.0, low_ratio=2.0),
                nms=dict(alpha=0.75, low_threshold=0.65, high_threshold=0.9, top_k=100),
                optim=adam(lr=0.01, batch_size=16, weight_decay=1e-5, milestones=(10,)),
                run=proposal_run(epochs=20, batch_size=16, best="auc"),
                load_from=start,
                checkpoint="latest",
            ),
            detect=dict(top_classes=2),
        )
    )
