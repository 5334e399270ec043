r"""BSN on the sample set: features of untrimmed videos in ActivityNet's formats, generated on first use.

python -m actjax.main --config=bsn_sample --workdir=runs/bsn_sample
"""

import ml_collections

from actjax.recipes import adam, proposal_run


def get_config() -> ml_collections.ConfigDict:
    return ml_collections.ConfigDict(
        dict(
            task="bsn",
            stages="tem,pgm,pem",
            data=dict(name="sequences", folder="", num_train=1200, num_val=200, seed=0, rescale="linear"),
            tem=dict(
                model=dict(temporal_scale=100, feat_dim=48, hidden_dim=128, output_factor=0.1, dtype="float32"),
                labels=dict(boundary_ratio=0.1),
                loss=dict(match_threshold=0.5, action_weight=2.0),
                optim=adam(lr=0.001, batch_size=16, weight_decay=1e-4, milestones=(7,)),
                run=proposal_run(epochs=9, batch_size=16, best="loss"),
            ),
            pgm=dict(peak_threshold=0.5, top_k_train=300, top_k=600),
            pem=dict(
                model=dict(feat_dim=32, hidden_dim=256, fc1_factor=0.1, fc2_factor=0.1, dtype="float32"),
                loss=dict(sampled=False),
                nms=dict(alpha=0.75, low_threshold=0.65, high_threshold=0.9, top_k=100),
                optim=adam(lr=0.01, batch_size=16, weight_decay=1e-5, milestones=(6,)),
                run=proposal_run(epochs=8, batch_size=16, best="auc"),
            ),
            detect=dict(top_classes=2),
        )
    )
