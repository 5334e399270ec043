r"""BSN on your own untrimmed videos and an annotation file: features, training and scores; see `bmn_own`.

python -m actjax.main --config=bsn_own --workdir=runs/bsn_own
"""

import ml_collections
from ml_collections.config_dict import placeholder

from actjax import small_recipes
from actjax.recipes import own_videos


def get_config() -> ml_collections.ConfigDict:
    sections = small_recipes.bsn(temporal_scale=64, feat_dim=placeholder(int), batch_size=8)
    return own_videos("bsn", detect=dict(top_classes=1), **sections)
