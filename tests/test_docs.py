"""docs/coming_from_mmaction2.md: every entry of data sets and pipelines has its row, and every name there exists."""

import importlib
import re

import pytest
from conftest import ROOT

ROWS = re.findall(r"^\| (`.*?) \| (.*?) \|", (ROOT / "docs" / "coming_from_mmaction2.md").read_text(), re.M)
PACKAGES = "core|data|localization|losses|metrics|models|tasks|training|video"
# The entries under mmaction.datasets of the API reference.
ENTRIES = """\
ActivityNetDataset BaseDataset RawframeDataset RepeatDataset SSNDataset VideoDataset build_dataloader
build_dataset proposals2json dump_results evaluate construct_proposal_pools get_negatives get_positives
results_to_detections CenterCrop Collect Compose DecordDecode DecordInit DenseSampleFrames
Flip FormatShape FrameSelector Fuse GenerateLocalizationLabels ImageToTensor LoadLocalizationFeature LoadProposals
MultiGroupCrop MultiScaleCrop Normalize OpenCVDecode OpenCVInit PyAVDecode PyAVInit RandomCrop
RandomResizedCrop RawFrameDecode Resize SampleFrames
SampleProposalFrames TenCrop ThreeCrop ToDataContainer ToTensor Transpose UntrimmedSampleFrames"""


@pytest.mark.parametrize("entry", ENTRIES.split())
def test_entry_has_its_row(entry):
    assert any(re.search(rf"\b{entry}\b", theirs) and ours.strip() for theirs, ours in ROWS)


@pytest.mark.parametrize(
    "name", sorted({n for _, ours in ROWS for n in re.findall(rf"`((?:{PACKAGES})\.[\w.]+)`", ours)})
)
def test_name_exists(name):
    module, _, attribute = f"actjax.{name}".rpartition(".")
    importlib.import_module("actjax.localization.batched")
    assert hasattr(importlib.import_module(module), attribute)
