"""Links lead somewhere; docs/coming_from_mmaction2.md has a row for every entry of data sets and pipelines, and every
name there exists."""

import importlib
import re

import pytest
from conftest import ROOT

ROWS = re.findall(r"^\| (`.*?) \| (.*?) \|", (ROOT / "docs" / "coming_from_mmaction2.md").read_text(), re.M)
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "experiments").rglob("*.md")]
PACKAGES = "data|localization|losses|metrics|mmaction2|models|tasks|training|video"
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
        assert target.exists(), link
        assert not section or section in anchors(target.read_text()), link


# What the guide's last table quotes of others, and of this program.
TROUBLES = re.findall(r"^\| `(.*?)`", (ROOT / "docs" / "guide.md").read_text().partition("## Troubleshooting")[2], re.M)
OF_OTHERS = {"RESOURCE_EXHAUSTED"}


def test_troubles_are_in_the_words_of_the_program():
    """A message quoted with made-up names and numbers shares a stretch between them with the source."""
    source = " ".join(file.read_text() for file in (ROOT / "actjax").rglob("*.py"))
    source = re.sub(r"\"\s+f?\"", "", source)  # strings that continue on the next line
    ours = set(TROUBLES) - OF_OTHERS
    assert len(ours) >= 10 and len(ours) + len(OF_OTHERS) == len(TROUBLES)
    for trouble in ours:
        parts = [part for part in re.split(r"\d[\d.]*|'.*?'|\.\.\.|: |; |\. ", trouble) if len(part) > 8]
        assert any(part in source for part in parts), trouble
