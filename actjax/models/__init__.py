"""Models: batch -> outputs. Linen modules and the pure functions inside them."""

from actjax.models.augment import make_augment
from actjax.models.pixels import normalize
from actjax.models.resnet import ResNet
from actjax.models.tsm import TSM, TSN, temporal_shift

__all__ = ["TSM", "TSN", "ResNet", "make_augment", "normalize", "temporal_shift"]
