r"""SSN on your own untrimmed videos and an annotation file: proposals by TAG, training and scores; see `bmn_own`.

python -m actjax.main --config=ssn_own --workdir=runs/ssn_own

The network has the size that suits the sample set. `ssn_own:r50` is a ResNet-50 for frames of 224x224, which starts
from ImageNet weights.
"""

import ml_collections
from ml_collections.config_dict import placeholder

from actjax import small_recipes
from actjax.config import parse_arg
from actjax.recipes import IMAGENET, own_videos


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    arg = parse_arg(arg, r50=False)
    sections = small_recipes.ssn(num_classes=placeholder(int), epochs=placeholder(float))
    if arg.r50:
        sections["model"] |= dict(depth=50, width=64, small_input=False, dropout=0.8)
        sections["train"]["view"] |= dict(short_side=256, size=224, scales=(1.0, 0.875, 0.75, 0.66))
        sections["test"] |= dict(view=dict(name="center", short_side=256, size=224), chunk=16)
        sections["optim"] |= dict(lr=0.005)
        sections["load_from"] = dict(path=IMAGENET[50])
    return own_videos("ssn", **sections)
