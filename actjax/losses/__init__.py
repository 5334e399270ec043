"""Outputs, targets -> one number per example. Nothing here averages over examples: the task does."""

from actjax.losses.classification import binary_cross_entropy, cross_entropy

__all__ = ["binary_cross_entropy", "cross_entropy"]
