"""The version of this copy of actjax."""

import importlib.metadata
import pathlib
import re


def _version() -> str:
    """The version in the setup.py of the clone that the package lies in, else the installed package's."""
    setup = pathlib.Path(__file__).resolve().parents[1] / "setup.py"
    text = setup.read_text() if setup.is_file() else ""
    found = re.search(r'^    name="actjax",\n    version="(.+)"', text, re.M)
    return found[1] if found else importlib.metadata.version("actjax")


__version__ = _version()
