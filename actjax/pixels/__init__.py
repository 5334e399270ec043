"""Clips on the device: normalisation and augmentation, in the jitted step."""

from actjax.pixels.augment import augment_in_order, make_augment
from actjax.pixels.normalize import normalize

__all__ = ["augment_in_order", "make_augment", "normalize"]
