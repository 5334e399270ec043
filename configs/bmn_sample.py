r"""BMN on the sample set: features of untrimmed videos in ActivityNet's formats, generated on first use.

python -m actjax.main --config=bmn_sample --workdir=runs/bmn_sample
"""

import ml_collections

from actjax import small_recipes


def get_config() -> ml_collections.ConfigDict:
    return ml_collections.ConfigDict(
        dict(
            task="bmn",
            data=dict(name="sequences", folder="", num_train=1200, num_val=200, seed=0, rescale="linear"),
            bmn=small_recipes.bmn(temporal_scale=50, feat_dim=48, epochs=9, drop=7, batch_size=16),
            detect=dict(top_classes=2),
        )
    )
