"""Imports point down the list of layers, inside packages too, without a cycle."""

import ast
import functools
import subprocess
import sys

import pytest
from conftest import ROOT

# From the bottom to the top; those of one line do not know each other. Inside `data` the parts are layers, too.
LAYERS = [
    {
        "config.active_code",
        "config.changes",
        "config.values",
        "errors",
        "faces",
        "hosts",
        "literal",
        "paths",
        "showing",
        "usage",
        "version",
    },
    {"config", "config.readers", "config.sections", "limits", "locking", "published", "segments", "writable"},
    {"array_files", "text_files"},
    {"config.recipe_files", "config.typed_text", "recipes", "small_recipes", "tables", "video_files"},
    {"config.files", "config.overrides", "config.own_code"},
    {"metrics"},
    {"localization"},
    {"video"},
    {"timelines"},
    {"mmaction2"},
    {"data.seeding"},
    {"data.prepared.index"},
    {"data.prepared.example", "data.prepared.reading"},
    {"data.samples.made_once", "data.samples.shapes", "data.samples.untrimmed_shapes"},
    {"data.datasets", "data.samples.sequences"},
    {"data.clips"},
    {"data.loading"},
    {"data.lists", "data.prepared"},
    {"pixels"},
    {"models"},
    {"losses"},
    {"training"},
    {"interop"},
    {"quarantined", "workdir"},
    {"tasks"},
    {"door"},
    {"main"},
    {"__main__"},
]
DATA, DEVICES = (
    {"segments", "metrics", "localization", "video", "timelines", "data", "mmaction2"},
    {"pixels", "models", "losses", "training", "interop"},
)
WITHOUT_JAX = ("hosts", "segments", "paths", "metrics", "localization", "video", "timelines", "data", "config")
WITH_JAX = "actjax.localization.batched"  # the jittable forms, for those who have jax loaded


@functools.cache
def modules() -> dict[str, dict[str, bool]]:
    """Module of actjax -> the modules that it imports, and whether it does so when it is imported itself."""
    files = {}
    for file in (ROOT / "actjax").rglob("*.py"):
        parts = file.relative_to(ROOT / "actjax").with_suffix("").parts
        files[".".join(parts).removesuffix("__init__").removesuffix(".")] = file
    return {name: _imports(name, file, files) for name, file in files.items()}


def _imports(name: str, file, known) -> dict[str, bool]:
    tree = ast.parse(file.read_text())
    top = set(tree.body)
    found: dict[str, bool] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            base = (node.module or "").removeprefix("actjax").removeprefix(".")
            if node.level or not (node.module or "").startswith("actjax"):
                continue
            inner = [f"{base}.{alias.name}".removeprefix(".") for alias in node.names]
            targets = [module if module in known else base for module in inner]
        elif isinstance(node, ast.Import):
            targets = [a.name.removeprefix("actjax.") for a in node.names if a.name.startswith("actjax.")]
        else:
            continue
        for target in targets:
            found[target] = found.get(target, False) or node in top
    found.pop("", None)  # the package itself, whose face imports nothing
    return found


def layer(module: str) -> int:
    """The layer of a module, that of the longest name that fits."""
    fits = {name: k for k, names in enumerate(LAYERS) for name in names if f"{module}.".startswith(f"{name}.")}
    return fits[max(fits, key=len)]


def is_face(module: str) -> bool:
    return any(other.startswith(f"{module}.") for other in modules())


def test_every_import_points_down():
    """Faces aside, which import what is in their package."""
    for module, targets in modules().items():
        if module in ("", "data"):
            continue
        for target in targets:
            if target == "data" or f"{target}.".startswith(f"{module}.") and is_face(module):
                continue
            assert layer(target) <= layer(module), f"{module} imports {target}, which lies above it"


def test_data_and_devices_do_not_know_each_other():
    for module, targets in modules().items():
        for target in targets:
            ends = {module.split(".")[0], target.split(".")[0]}
            assert not (ends & DATA and ends & DEVICES), f"{module} imports {target}"


def test_there_is_no_cycle():
    """Also where an import hides in a function."""
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in done:
            for target in modules()[module]:
                visit(target, (*path, module))
            done.add(module)

    for module in modules():
        visit(module, ())


# Modules that bring jax, or another heavy library, to a place that has to be light.
LATE = {
    "metrics.__main__": {"showing"},
    "video.decoding": {"video.decord_opencv", "video.pictures", "video.pyav"},
    "main": {"door", "quarantined", "tasks.bsn.modes", "tasks.opening", "training"},
}


def test_no_import_of_ours_hides_in_a_function():
    for module, targets in modules().items():
        hidden = {target for target, at_top in targets.items() if not at_top}
        assert hidden <= LATE.get(module, set()), f"{module} imports {hidden} in a function"


@pytest.mark.parametrize("layer", WITHOUT_JAX)
def test_layer_does_not_import_jax(layer):
    code = f"""
import importlib, pkgutil, sys, actjax.{layer} as top
for info in pkgutil.walk_packages(getattr(top, "__path__", []), top.__name__ + "."):
    if info.name != {WITH_JAX!r}:
        importlib.import_module(info.name)
heavy = {{"jax", "flax", "decord", "cv2", "grain", "optax", "rich", "matplotlib", "av"}} & set(sys.modules)
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
