"""Outputs, targets -> one number per example. Nothing here averages over examples: the task does."""

from actjax.losses.classification import binary_cross_entropy, cross_entropy
from actjax.losses.localization import (
    binary_logistic_regression,
    bmn_classification,
    bmn_regression,
    proposal_regression,
)

__all__ = [
    "binary_cross_entropy",
    "binary_logistic_regression",
    "bmn_classification",
    "bmn_regression",
    "cross_entropy",
    "proposal_regression",
]
