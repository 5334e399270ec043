"""What setup.py, LICENSE, CHANGELOG.md and CITATION.cff say about the package is true, and the same everywhere."""

import ast
import importlib.metadata
import re
import runpy
import shutil
import subprocess
import sys
import tomllib

import pytest
import yaml
from conftest import ROOT
from packaging.requirements import Requirement

import actjax

setuptools = pytest.importorskip("setuptools")  # in no virtual environment from Python 3.12 on, unless asked for


@pytest.fixture(scope="module")
def setup() -> dict:
    """The arguments of `setup` in setup.py."""
    given = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, "setup", given.update)
        runpy.run_path(str(ROOT / "setup.py"))
    return given


def test_the_version_is_that_of_setup(setup):
    assert actjax.__version__ == setup["version"] and "__version__" in dir(actjax)


def test_the_version_without_a_setup_is_that_of_the_installed_package(tmp_path):
    (tmp_path / "actjax-9.8.7.dist-info").mkdir()
    (tmp_path / "actjax-9.8.7.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.4\nName: actjax\nVersion: 9.8.7\n"
    )
    (tmp_path / "setup.py").write_text('setup(\n    name="another",\n    version="1.0",\n)\n')
    (tmp_path / "actjax").mkdir()
    for name in ("__init__", "faces", "version"):
        shutil.copy(ROOT / "actjax" / f"{name}.py", tmp_path / "actjax")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import actjax; print(actjax.__version__)"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("9.8.7\n", "")


def test_nothing_but_actjax_is_installed(setup):
    """A package called configs would be in the way of everybody else's."""
    packages = setup["packages"]
    assert {name.partition(".")[0] for name in packages} == {"actjax"} and len(packages) == len(set(packages))
    folders = {file.parent.relative_to(ROOT) for file in (ROOT / "actjax").rglob("*.py")}
    assert set(packages) == {".".join(folder.parts) for folder in folders} | {"actjax.configs"}
    assert setup["package_dir"] == {"actjax.configs": "configs"} and (ROOT / "configs" / "__init__.py").exists()


def test_what_is_imported_is_required(setup):
    extras = [name for names in setup["extras_require"].values() for name in names]
    required = {_plain(Requirement(text).name) for text in [*setup["install_requires"], *extras]}
    distributions = importlib.metadata.packages_distributions()
    for file in [*(ROOT / "actjax").rglob("*.py"), *(ROOT / "configs").glob("*.py")]:
        for package in _imports(ast.parse(file.read_text())) - sys.stdlib_module_names - {"actjax"}:
            names = {_plain(name) for name in [package, *distributions.get(package, ())]}
            assert names & required, f"{file.relative_to(ROOT)} imports {package}, which setup.py does not require"


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _imports(tree: ast.AST) -> set[str]:
    """The first parts of the names of all modules that are imported, in functions, too."""
    nodes = list(ast.walk(tree))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    return {name.partition(".")[0] for name in names}


def test_the_scripts_exist(setup):
    scripts = dict(script.split("=") for script in setup["entry_points"]["console_scripts"])
    assert scripts.keys() == {"actjax", "actjax-metrics"}
    for target in scripts.values():
        module, _, name = target.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_the_licence_is_the_one_that_is_named(setup):
    text = (ROOT / "LICENSE").read_text()
    assert setup["license_expression"] == "Apache-2.0" and setup["license_files"] == ["LICENSE"]
    assert "Apache License" in text and "Version 2.0, January 2004" in text and "END OF TERMS AND CONDITIONS" in text
    assert not any(name.startswith("License ::") for name in setup["classifiers"])  # an expression excludes them
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert build == ["setuptools>=77"]  # the first that knows license_expression


def test_the_citation_is_of_this_version(setup):
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()  # what the format requires
    assert (citation["title"], citation["version"]) == (setup["name"], setup["version"])
    assert citation["license"] == setup["license_expression"]
    assert citation["repository-code"] == setup["url"] == setup["project_urls"]["Source"]


def test_the_changelog_tells_of_this_version(setup):
    versions = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert versions[0] == "Unreleased" and versions[1:2] in ([], [setup["version"]])
