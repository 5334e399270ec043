"""Annotation files -> records. A data set is the records of both splits and their class names."""

from actjax.faces import lazy

_RECOGNITION = "data.datasets.recognition"
_NAMES = dict.fromkeys(("Dataset", "build_dataset", "load_names", "rawframes", "videos"), _RECOGNITION)
__all__ = [*_NAMES]
__getattr__, __dir__ = lazy(__name__, _NAMES)
