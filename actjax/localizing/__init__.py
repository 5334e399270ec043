"""From features of untrimmed videos to proposals and their scores, stage by stage, each of which may be interrupted."""

from actjax.localizing.chain import check_stages, run
from actjax.localizing.networks import export_network, import_network

__all__ = ["check_stages", "export_network", "import_network", "run"]
