"""Imports point down, never up or sideways."""

import ast
import subprocess
import sys

import pytest

# Who may import whom, inside actjax. A module without an entry imports nothing of ours.
ALLOWED = {
    "segments": {"errors"},
    "main": {"config", "errors", "experiment", "hosts", "modes", "paths", "training", "workdir"},
    "modes": {
        "browsing",
        "data",
        "detecting",
        "errors",
        "experiment",
        "extracting",
        "localizing",
        "models",
        "predicting",
        "training",
        "workdir",
    },
    "localizing": {"data", "experiment", "localization", "metrics", "models", "paths", "training", "video", "workdir"},
    "detecting": {
        "data",
        "experiment",
        "localization",
        "metrics",
        "models",
        "segments",
        "training",
        "video",
        "workdir",
    },
    "extracting": {"data", "video"},
    "experiment": {"config", "data", "losses", "models", "paths", "tasks", "training", "video"},
    "recipes": {"config"},
    "models": {"paths"},
    "predicting": {"data", "paths", "video"},
    "browsing": {"data", "video"},
    "tasks": {"models", "losses", "localization", "metrics"},
    "training": {"hosts", "paths"},
    "workdir": {"paths"},
    "data": {"config", "errors", "localization", "paths", "segments", "video"},
    "localization": {"errors", "metrics", "paths", "segments"},
    "video": {"errors"},
    "metrics": {"errors", "segments"},
}
WITHOUT_JAX = ("hosts", "segments", "paths", "metrics", "localization", "video", "data", "config")
WITH_JAX = "actjax.localization.batched"  # the jittable forms, for those who have jax loaded


def test_import_directions(root):
    package = root / "actjax"
    for file in package.rglob("*.py"):
        layer = file.relative_to(package).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(file.read_text())):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for module in modules:
                if module == "actjax":  # from actjax import layer
                    targets = {alias.name for alias in node.names}
                elif module and module.startswith("actjax."):
                    targets = {module.split(".")[1]}
                else:
                    continue
                assert targets <= ALLOWED.get(layer, set()) | {layer}, f"{file} imports {targets}"


@pytest.mark.parametrize("layer", WITHOUT_JAX)
def test_layer_does_not_import_jax(layer):
    code = f"""
import importlib, pkgutil, sys, actjax.{layer} as top
for info in pkgutil.walk_packages(getattr(top, "__path__", []), top.__name__ + "."):
    if info.name != {WITH_JAX!r}:
        importlib.import_module(info.name)
heavy = {{"jax", "flax", "decord", "cv2", "grain", "optax", "rich", "matplotlib"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("layer", ["segments", "metrics", "localization"])
def test_arrays_in_numbers_out_needs_numpy_alone(layer):
    """NumPy and the standard library: whatever else comes from site-packages is a fault."""
    code = f"""
import numpy, sys
before = set(sys.modules)
import actjax.{layer}
new = {{name.partition(".")[0] for name in set(sys.modules) - before}}
assert new <= {{"actjax", "numpy"}} | sys.stdlib_module_names, new
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_metrics_bring_nothing_that_is_slow_to_import():
    """Scores are wanted in shells and notebooks at once; the standard library has slow modules, too."""
    code = """
import numpy, sys
before = set(sys.modules)
import actjax.metrics
new = {name.partition(".")[0] for name in set(sys.modules) - before}
slow = {"asyncio", "concurrent", "email", "http", "multiprocessing", "sqlite3", "ssl", "unittest", "urllib", "xml"}
assert not new & slow, new & slow
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
