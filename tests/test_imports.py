"""Every import of actjax in benchmarks, studies, notebooks and documents works, those inside functions too."""

import ast
import importlib
import json
import re

import pytest
from conftest import ROOT


def sources() -> dict[str, str]:
    """Python code by file."""
    found = {str(file.relative_to(ROOT)): file.read_text() for file in (ROOT / "experiments").rglob("*.py")}
    found |= {str(file.relative_to(ROOT)): file.read_text() for file in (ROOT / "configs").glob("*.py")}
    for file in (ROOT / "experiments").rglob("*.ipynb"):
        cells = [cell["source"] for cell in json.loads(file.read_text())["cells"] if cell["cell_type"] == "code"]
        lines = [
            line for cell in cells for line in "".join(cell).splitlines() if not line.lstrip().startswith(("!", "%"))
        ]
        found[str(file.relative_to(ROOT))] = "\n".join(lines)
    for file in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        found[str(file.relative_to(ROOT))] = "\n".join(re.findall(r"^from actjax.*$", file.read_text(), re.M))
    return found


@pytest.mark.parametrize(("file", "code"), sources().items(), ids=sources().keys())
def test_imports_of_actjax(file, code):
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "actjax":
            for alias in node.names:
                module = importlib.import_module(node.module)
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")
