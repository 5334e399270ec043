"""Sections of the localizers' recipes for the sample sets and for small sets of own videos."""

from actjax.recipes import adam, proposal_run


def bmn(*, temporal_scale: int, feat_dim, batch_size: int, epochs: int | None = None, drop: int | None = None) -> dict:
    """The section `bmn`; the learning rate drops after `drop` epochs. None: left to the data."""
    return dict(
        model=dict(
            temporal_scale=temporal_scale,
            feat_dim=feat_dim,
            num_samples=16,
            hidden_dim_1d=64,
            hidden_dim_2d=32,
            hidden_dim_3d=64,
            sampling="contract",
            dtype="float32",
        ),
        loss=dict(exact_sampling=False),
        nms=dict(alpha=0.4, low_threshold=0.5, high_threshold=0.9, top_k=100),
        optim=adam(lr=0.001, batch_size=batch_size, weight_decay=1e-4, milestones=drop and (drop,)),
        run=proposal_run(epochs=epochs, batch_size=batch_size, best="auc"),
    )


def bsn(
    *,
    temporal_scale: int,
    feat_dim,
    batch_size: int,
    tem_epochs: int | None = None,
    tem_drop: int | None = None,
    pem_epochs: int | None = None,
    pem_drop: int | None = None,
) -> dict:
    """The sections `stages`, `tem`, `pgm` and `pem`; learning rates drop after `tem_drop` and `pem_drop` epochs. None:
    left to the data."""
    return dict(
        stages="tem,pgm,pem",
        tem=dict(
            model=dict(
                temporal_scale=temporal_scale, feat_dim=feat_dim, hidden_dim=128, output_factor=0.1, dtype="float32"
            ),
            labels=dict(boundary_ratio=0.1),
            loss=dict(match_threshold=0.5, action_weight=2.0),
            optim=adam(lr=0.001, batch_size=batch_size, weight_decay=1e-4, milestones=tem_drop and (tem_drop,)),
            run=proposal_run(epochs=tem_epochs, batch_size=batch_size, best="loss"),
        ),
        pgm=dict(peak_threshold=0.5, top_k_train=300, top_k=600),
        pem=dict(
            model=dict(feat_dim=32, hidden_dim=256, fc1_factor=0.1, fc2_factor=0.1, dtype="float32"),
            loss=dict(sampled=False),
            nms=dict(alpha=0.75, low_threshold=0.65, high_threshold=0.9, top_k=100),
            optim=adam(lr=0.01, batch_size=batch_size, weight_decay=1e-5, milestones=pem_drop and (pem_drop,)),
            run=proposal_run(epochs=pem_epochs, batch_size=batch_size, best="auc"),
        ),
    )


def ssn(*, num_classes, epochs=12.0) -> dict:
    """All sections of SSN but `data`. A clip has four frames; the temporal shift among them lets it see motion."""
    return dict(
        loader=dict(num_workers=2, timeout=30.0, max_broken=0.05),
        sample=dict(
            clip_len=4,
            frame_interval=3,
            body_segments=3,
            aug_segments=(1, 1),
            aug_ratio=(0.5, 0.5),
            test_interval=3,
            backend="pyav",
        ),
        assigner=dict(
            positive_iou_threshold=0.7,
            background_iou_threshold=0.01,
            incomplete_iou_threshold=0.3,
            background_coverage_threshold=0.02,
            incomplete_overlap_threshold=0.01,
        ),
        sampler=dict(
            num_per_video=8, positive_ratio=4, background_ratio=1, incomplete_ratio=3, add_gt_as_proposals=True
        ),
        model=dict(
            num_classes=num_classes,
            num_segments=4,
            depth=10,
            width=16,
            small_input=True,
            dropout=0.0,
            stpp_stage=(1, (1, 2), 1),
            init_std=0.01,
            dtype="float32",
        ),
        train=dict(view=dict(name="multi_scale", short_side=45, size=40, scales=(1.0, 0.875), flip_ratio=0.0)),
        test=dict(view=dict(name="center", short_side=45, size=40), chunk=64),
        loss=dict(completeness_weight=0.5, regression_weight=0.5),
        optim=dict(
            name="sgd",
            lr=0.05,
            lr_batch_size=2,
            momentum=0.9,
            weight_decay=1e-4,
            clip_norm=20.0,
            rules=dict(name="uniform"),
            schedule=dict(name="cosine"),
            warmup_epochs=0.5,
        ),
        run=dict(
            seed=0,
            epochs=epochs,
            batch_size=2,
            bn="global",
            fsdp=1,
            eval_batch_size=8,
            log_every=40,
            eval_every=4.0,
            save_every=200,
            keep=2,
            best="loss",
        ),
        detect=dict(top_k=400, nms=0.2, use_regression=True, protocol="thumos14"),
    )
