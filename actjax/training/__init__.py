"""Everything that touches devices: one loop for all tasks."""

from actjax.training.evaluating import evaluate
from actjax.training.loop import Data, Settings, restore_variables, train
from actjax.training.optimizers import Optimizer, ParamGroups, param_groups, sgd, tsm_optimizer, tsm_rules

__all__ = [
    "Data",
    "Optimizer",
    "ParamGroups",
    "Settings",
    "evaluate",
    "param_groups",
    "restore_variables",
    "sgd",
    "train",
    "tsm_optimizer",
    "tsm_rules",
]
