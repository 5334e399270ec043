"""Public functions have an example in their docstring, and all examples give what they say."""

import doctest
import importlib
import inspect

import pytest
from conftest import ROOT

PACKAGES = ("", "localization", "localization.batched", "metrics", "models", "timelines", "training")
PACKAGES += ("video.decoding", "video.rendering", "video.sampling", "video.views")
# Functions without an example, and why.
WITHOUT = {
    "check_backend": "returns nothing",
    "decoder": "depends on the version of the library",
    "explain": "needs a task and its data; see docs/extending.md",
    "restore_variables": "the same",
    "save_variables": "the same",
    "check_fit": "a part of `train`",
    "find_standing": "the same",
    "steps": "a part of `restore_variables`",
    "digest": "the same",
    "train": "the same; that of the door has one",
    "collect": "a part of `evaluate`",
    "stream": "the same",
    "joined": "for several processes",
    "wait_for_all": "the same",
    "allreduce_grads": "for several devices",
    "tick_features": "applies a large network",
    "fitting_crop": "a part of `random_resized_crop`",
    "backend_names": "a part of `open_video`",
    "content": "the same",
    "generate_bsp_feature": "reads a folder of files; `bsp_feature` has one",
    "generate_candidate_proposals": "the same; `candidate_proposals` has one",
}
MODULES = [
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for file in sorted((ROOT / "actjax").rglob("*.py"))
    if ">>> " in file.read_text()
]


def public(package: str) -> dict:
    """The public functions of a package or module."""
    module = importlib.import_module(f"actjax.{package}".removesuffix("."))
    names = getattr(module, "__all__", None) or [
        name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__
    ]
    found = {name: getattr(module, name) for name in names if not name.startswith("_")}
    return {name: value for name, value in found.items() if inspect.isfunction(value)}


@pytest.mark.parametrize("package", PACKAGES)
def test_public_functions_have_an_example(package):
    lacking = {name for name, function in public(package).items() if ">>> " not in (function.__doc__ or "")}
    assert lacking <= WITHOUT.keys(), sorted(lacking - WITHOUT.keys())


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name), verbose=False)
    assert result.failed == 0 and result.attempted > 0


def test_there_are_many():
    assert len(MODULES) > 35
