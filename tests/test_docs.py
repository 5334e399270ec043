"""Links lead somewhere; docs/coming_from_mmaction2.md has a row for every entry of data sets and pipelines, and every
name there exists."""

import importlib
import re

import pytest
from conftest import ROOT

ROWS = re.findall(r"^\| (`.*?) \| (.*?) \|", (ROOT / "docs" / "coming_from_mmaction2.md").read_text(), re.M)
DOCUMENTS = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "experiments").rglob("*.md")]
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


def anchors(text: str) -> set[str]:
    """Those that GitHub gives to the headings of a document."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: file.name)
def test_links_lead_somewhere(document):
    for link in re.findall(r"\]\((?!https?:)(.*?)\)", document.read_text()):
        name, _, section = link.partition("#")
        target = document.parent / name if name else document
        if name == "scaling.md" and not target.exists():
            continue  # it comes with runs of many hosts
        assert target.exists(), link
        assert not section or section in anchors(target.read_text()), link
