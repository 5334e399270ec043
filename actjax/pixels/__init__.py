"""Clips on the device: normalisation and augmentation, in the jitted step."""

from actjax.pixels.augment import make_augment
from actjax.pixels.normalize import normalize

__all__ = ["make_augment", "normalize"]
