r"""TSM on your own videos: a folder with one sub-folder for each class becomes a trained network.

python -m actjax.main --config=tsm_own --workdir=runs/mine --config.data.folder=FOLDER

| config | network | starts from | frames |
| --- | --- | --- | --- |
| `tsm_own`, `tsm_own:mobilenet` | MobileNetV2 | ImageNet | 8 of 224x224 |
| `tsm_own:r50` | ResNet-50, more accurate and about 13 times the computation | ImageNet | 8 of 224x224 |
| `tsm_own:scratch` | ResNet-18 of half the width | nothing: no file is needed | 8 of 112x112 |

The values are those of fine-tuning on sets of a few thousand videos, changed for smaller ones:

- The number of classes is that of the sub-folders. `run.epochs=None`: as many as show 60,000 clips, at least 25 (as the
  TSM authors and MMAction2 fine-tune on UCF101 and HMDB51) and at most 100.
- `flip_ratio=None`: half of the clips are mirrored, or none if the classes come in left and right or in clockwise and
  counter-clockwise.
- Batch norms keep their ImageNet statistics (`norm_eval`), which few videos would estimate badly; their scales and
  biases train. The TSM authors fix all but the first one when they fine-tune. The stem is frozen, and MobileNetV2's
  first stage: they see edges and colours, which videos share with pictures, and nothing is shifted there.
- Learning rate 0.01 for 64 clips, that of the recipes from ImageNet to Something-Something; fine-tuning from Kinetics
  takes 0.001, but has the motion already. It scales with the batch. Cosine in place of steps at fixed epochs.
- Dropout 0.5, MMAction2's; the authors have 0.8 for UCF101. From nothing, 0.05 for 16 clips, as the sample set.
- Batches of 16 fit a small GPU, and may be larger than the set.
"""

import ml_collections
from ml_collections.config_dict import placeholder

from actjax.config import parse_arg
from actjax.recipes import IMAGENET, segments


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    arg = parse_arg(arg, mobilenet=False, r50=False, scratch=False)
    if arg.mobilenet + arg.r50 + arg.scratch > 1:
        raise ValueError("config argument: write one of tsm_own:mobilenet, tsm_own:r50 and tsm_own:scratch")
    size, short_side = (112, 128) if arg.scratch else (224, 256)
    network = dict(arch="mobilenet_v2", frozen_stages=1)
    if arg.r50:
        network = dict(arch="resnet", depth=50, frozen_stages=0)
    if arg.scratch:
        network = dict(arch="resnet", depth=18, width=32, frozen_stages=-1)
    sections = dict(
        task="recognition",
        data=dict(name="folders", folder="", lists="", val_share=0.2, seed=0),
        loader=dict(num_workers=2, timeout=30.0, max_broken=0.05),
        model=dict(
            name="TSM",
            num_classes=placeholder(int),
            shift_div=8,
            dropout=0.5,
            init_std=0.01 if arg.scratch else 0.001,
            norm_eval=not arg.scratch,
            dtype="float32",
            **network,
        ),
        load_from=dict(path=IMAGENET[50 if arg.r50 else "mobilenet_v2"], strict=False),
        loss=dict(label_smoothing=0.0),
        train=dict(
            sample=segments(8),
            view=dict(
                name="multi_scale",
                short_side=short_side,
                size=size,
                scales=(1.0, 0.875, 0.75, 0.66),
                flip_ratio=placeholder(float),
            ),
            backend="pyav",
        ),
        eval=dict(
            sample=segments(8),
            view=dict(name="center", short_side=short_side, size=size),
            average_clips="prob",
            backend="pyav",
        ),
        optim=dict(
            name="sgd",
            lr=0.05 if arg.scratch else 0.01,
            lr_batch_size=16 if arg.scratch else 64,
            momentum=0.9,
            weight_decay=5e-4,
            clip_norm=20.0,
            rules=dict(name="uniform") if arg.scratch else dict(name="tsm", fc_lr5=True),
            schedule=dict(name="cosine"),
            warmup_epochs=1.0,
        ),
        prepare=dict(short_side=short_side, quality=95),
        extract=dict(interval=16, num_frames=placeholder(int), what="scores", chunk=16, suffix=".csv"),
        run=dict(
            seed=0,
            epochs=placeholder(float),
            batch_size=16,
            bn="global",
            fsdp=1,
            accumulate=1,
            ema=placeholder(float),
            log_every=20,
            eval_every=5.0,
            save_every=500,
            keep=2,
            best="top1_acc",
        ),
    )
    if arg.scratch:
        del sections["load_from"]
    return ml_collections.ConfigDict(sections)
