"""Models: batch -> outputs. Linen modules and the pure functions they use."""

from actjax.faces import lazy
from actjax.models.bmn import BMN
from actjax.models.bsn import PEM, TEM
from actjax.models.init import initialize
from actjax.models.mobilenet import MobileNetV2
from actjax.models.outside import adapt
from actjax.models.resnet import ResNet
from actjax.models.ssn import SSN, proposal_scores, tick_features, tick_scores
from actjax.models.temporal import temporal_pool, temporal_shift
from actjax.models.tsm import TSM, TSN, embedding

_ELSEWHERE = {
    "export_checkpoint": "interop.exporting",
    "import_checkpoint": "interop.importing",
    "make_augment": "pixels.augment",
    "normalize": "pixels.normalize",
}
__all__ = [
    "BMN",
    "PEM",
    "SSN",
    "TEM",
    "TSM",
    "TSN",
    "MobileNetV2",
    "ResNet",
    "adapt",
    "embedding",
    "export_checkpoint",
    "import_checkpoint",
    "initialize",
    "make_augment",
    "normalize",
    "proposal_scores",
    "temporal_pool",
    "temporal_shift",
    "tick_features",
    "tick_scores",
]
__getattr__, __dir__ = lazy(__name__, _ELSEWHERE)
