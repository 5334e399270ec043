"""Prepared sets: frames as JPEGs, or features, in sharded ArrayRecord files that tensorflow-datasets also reads."""

from actjax.faces import lazy

_NAMES = {"load_prepared": "data.prepared.reading", "prepare": "data.prepared.writing"}
__all__ = [*_NAMES]
__getattr__, __dir__ = lazy(__name__, _NAMES)
