"""Everything that runs on devices: one training loop for all tasks."""

from actjax.training.devices import local
from actjax.training.distributed import joined, wait_for_all
from actjax.training.evaluating import VALIDATION, Evaluations, Evaluator, collect, evaluate, stream
from actjax.training.explaining import Explanation, explain
from actjax.training.groups import ParamGroups, freeze
from actjax.training.loop import (
    JUDGED_ANEW,
    Data,
    Standing,
    check_fit,
    find_standing,
    restore_variables,
    save_variables,
    train,
)
from actjax.training.optimizers import (
    Optimizer,
    adam,
    frozen_rules,
    param_groups,
    sgd,
    tsm_optimizer,
    tsm_rules,
)
from actjax.training.preemption import Preempted
from actjax.training.program import Settings
from actjax.training.reducing import allreduce_grads
from actjax.training.restoring import DamagedError, MisfitError, digest, steps

__all__ = [
    "JUDGED_ANEW",
    "VALIDATION",
    "DamagedError",
    "Data",
    "Evaluations",
    "Evaluator",
    "Explanation",
    "MisfitError",
    "Optimizer",
    "ParamGroups",
    "Preempted",
    "Settings",
    "Standing",
    "adam",
    "allreduce_grads",
    "check_fit",
    "collect",
    "digest",
    "evaluate",
    "explain",
    "find_standing",
    "freeze",
    "frozen_rules",
    "joined",
    "local",
    "param_groups",
    "restore_variables",
    "save_variables",
    "sgd",
    "steps",
    "stream",
    "train",
    "tsm_optimizer",
    "tsm_rules",
    "wait_for_all",
]
