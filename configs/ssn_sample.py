r"""SSN on the sample set: untrimmed video files with several motions each, generated on first use.

python -m actjax.main --config=ssn_sample --workdir=runs/ssn_sample

A clip has four frames; the temporal shift among them lets the network see motion.
"""

import ml_collections

from actjax import small_recipes


def get_config() -> ml_collections.ConfigDict:
    data = dict(name="untrimmed_shapes", folder="", num_train=160, num_val=40, seed=0)
    return ml_collections.ConfigDict(dict(task="ssn", data=data, **small_recipes.ssn(num_classes=8)))
