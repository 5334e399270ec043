"""Files -> records -> batches, on the host; nothing here imports jax."""

from actjax.data.annotations import load_annotations

__all__ = ["load_annotations"]
