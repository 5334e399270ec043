"""A config that names functions of its neighbours: a package of somebody who knows the contracts alone."""

import base_config


def get_config(arg=None):
    config = base_config.get_config()
    config.model = dict(name="motion.nets:Tiny", classes=8, channels=12)
    config.data = dict(name="motion.data:shapes", num_train=64, num_val=40)
    config.train.sample = dict(name="motion.clips:evenly", num=8)
    config.train.view = dict(name="motion.clips:corner", side=40)
    config.loss = dict(name="motion.learning:focal", gamma=1.0)
    config.optim.rules = dict(name="motion.learning:rules", slow="first")
    config.augment = (dict(name="motion.learning:fade", low=0.8), dict(name="mixup", alpha=0.2))
    config.evaluators = dict(sure=dict(metrics=("motion.learning:confidence", "top_k_accuracy"), interval=1.0))
    return config
