"""Everything that touches devices: one loop for all tasks."""

from actjax.training.devices import local
from actjax.training.distributed import Preempted, joined, wait_for_all
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
    "Preempted",
    "Settings",
    "adam",
    "collect",
    "evaluate",
    "freeze",
    "frozen_rules",
    "joined",
    "local",
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
