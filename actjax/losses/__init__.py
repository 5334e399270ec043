"""Outputs, targets -> one number per example. Nothing here averages over examples: the task does."""

from actjax.losses.classification import cross_entropy

__all__ = ["cross_entropy"]
