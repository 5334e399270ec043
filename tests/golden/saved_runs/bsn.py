"""BSN of 8 channels on features of seven videos."""

import ml_collections

DATA = "tests/golden/saved_runs/data/features"


def get_config() -> ml_collections.ConfigDict:
    adam = dict(name="adam", lr=0.005, lr_batch_size=4, weight_decay=1e-4)
    optim = lambda: dict(adam, rules=dict(name="uniform"), schedule=dict(name="constant"))
    run = dict(seed=0, epochs=4.0, batch_size=4, log_every=1, eval_every=2.0, keep=2)
    return ml_collections.ConfigDict(
        dict(
            task="bsn",
            stages="tem,pgm,pem",
            data=dict(
                name="activitynet",
                features=f"{DATA}/csv",
                train=f"{DATA}/train.json",
                val=f"{DATA}/val.json",
                class_scores=f"{DATA}/class_scores.json",
            ),
            tem=dict(
                model=dict(temporal_scale=40, feat_dim=8, hidden_dim=8, output_factor=1.0),
                optim=optim(),
                run=dict(run, keep=1, best="loss"),
            ),
            pgm=dict(peak_threshold=0.5, top_k_train=20, top_k=30),
            pem=dict(
                model=dict(feat_dim=32, hidden_dim=8, fc1_factor=1.0, fc2_factor=1.0),
                loss=dict(sampled=False),
                nms=dict(alpha=0.75, low_threshold=0.65, high_threshold=0.9, top_k=20),
                optim=optim(),
                run=dict(run, best="auc"),
            ),
        )
    )
