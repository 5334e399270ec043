r"""BMN on your own untrimmed videos and an annotation file: features, training and scores in one command.

python -m actjax.main --config=bmn_own --workdir=runs/bmn_own --config.data.videos=VIDEOS \
    --config.data.train=annotations.json --config.data.val=annotations.json --config.data.network=runs/mine

Without these keys it runs on the sample set: untrimmed video files with motions of eight classes, looked at by the TSM
of `tsm_shapes`, which is trained first.
"""

import ml_collections
from ml_collections.config_dict import placeholder

from actjax import small_recipes
from actjax.recipes import own_videos


def get_config() -> ml_collections.ConfigDict:
    bmn = small_recipes.bmn(temporal_scale=64, feat_dim=placeholder(int), batch_size=8)
    return own_videos("bmn", bmn=bmn, detect=dict(top_classes=1))
