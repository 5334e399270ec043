r"""BSN on the sample set: features of untrimmed videos in ActivityNet's formats, generated on first use.

python -m actjax.main --config=bsn_sample --workdir=runs/bsn_sample
"""

import ml_collections

from actjax import small_recipes


def get_config() -> ml_collections.ConfigDict:
    sections = small_recipes.bsn(
        temporal_scale=100, feat_dim=48, tem_epochs=9, tem_drop=7, pem_epochs=8, pem_drop=6, batch_size=16
    )
    data = dict(name="sequences", folder="", num_train=1200, num_val=200, seed=0, rescale="linear")
    return ml_collections.ConfigDict(dict(task="bsn", data=data, detect=dict(top_classes=2), **sections))
