"""Everything that touches devices: one loop for all tasks."""

from actjax.training.devices import wait_for_all
from actjax.training.evaluating import collect, evaluate, stream
from actjax.training.loop import Data, Settings, restore_variables, save_variables, train
from actjax.training.optimizers import (
    Optimizer,
    ParamGroups,
    adam,
    freeze,
    frozen_rules,
    param_groups,
    sgd,
    tsm_optimizer,
    tsm_rules,
)

__all__ = [
    "Data",
    "Optimizer",
    "ParamGroups",
    "Settings",
    "adam",
    "collect",
    "evaluate",
    "freeze",
    "frozen_rules",
    "param_groups",
    "restore_variables",
    "save_variables",
    "sgd",
    "stream",
    "train",
    "tsm_optimizer",
    "tsm_rules",
    "wait_for_all",
]
