"""Outputs, targets -> one loss per example. The task averages over examples."""

from actjax.losses.bmn import bmn_classification, bmn_regression
from actjax.losses.bsn import binary_logistic_regression, proposal_regression
from actjax.losses.classification import LOSSES, binary_cross_entropy, cross_entropy
from actjax.losses.ssn import activity_loss, boundary_regression_loss, completeness_loss, ohem_hinge_loss

__all__ = [
    "LOSSES",
    "activity_loss",
    "binary_cross_entropy",
    "binary_logistic_regression",
    "bmn_classification",
    "bmn_regression",
    "boundary_regression_loss",
    "completeness_loss",
    "cross_entropy",
    "ohem_hinge_loss",
    "proposal_regression",
]
