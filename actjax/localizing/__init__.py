"""From features of untrimmed videos to proposals and their scores, stage by stage, each of which may be interrupted."""

from actjax.localizing.chain import run
from actjax.localizing.networks import export_network, import_network

__all__ = ["export_network", "import_network", "run"]
