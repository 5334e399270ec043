"""Checkpoints of other frameworks: torch files and safetensors, read and written without torch."""

from actjax.interop.exporting import export_checkpoint
from actjax.interop.importing import import_checkpoint

__all__ = ["export_checkpoint", "import_checkpoint"]
