"""The code of one config at a time on Python's path: its modules come and go together."""

import atexit
import importlib
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Mapping
from types import ModuleType

_active: "list[ActiveCode]" = []  # the one whose modules can be imported, if any


class ActiveCode:
    """Python files that can be imported, from a private copy, in place of those of the configs before.

    The copy holds nothing else, so that no neighbour of the files hides a module of Python, and nothing that was added
    to a workdir runs.

    Args:
      files: contents by relative path.

    Raises:
      ValueError: one has the name of a module of Python or of a library.
    """

    def __init__(self, files: Mapping[str, bytes]):
        self._tops = {file.partition("/")[0].removesuffix(".py") for file in files}
        for top in sorted(self._tops):
            if top in sys.stdlib_module_names or not _replaceable(sys.modules.get(top)):
                raise ValueError(f"{top}.py has the name of a module of Python or a library; rename it")
        self._folder = tempfile.mkdtemp(prefix="actjax-code-")
        self._modules: dict[str, ModuleType] = {}
        atexit.register(self.remove)
        write(files, pathlib.Path(self._folder))
        self.resume()

    def resume(self) -> None:
        """Makes the files importable again, with the modules that were imported from them."""
        if _active == [self]:
            return
        for other in _active:
            other._suspend()
        for name in [name for name in sys.modules if name.partition(".")[0] in self._tops]:
            del sys.modules[name]
        sys.path.insert(0, self._folder)
        sys.modules.update(self._modules)
        importlib.invalidate_caches()
        _active[:] = [self]

    def _suspend(self) -> None:
        sys.path[:] = [entry for entry in sys.path if entry != self._folder]
        self._modules = {name: module for name, module in sys.modules.items() if self._holds(module)}
        for name in self._modules:
            del sys.modules[name]

    def _holds(self, module: ModuleType) -> bool:
        return (getattr(module, "__file__", None) or "").startswith(f"{self._folder}/")

    def remove(self) -> None:
        """Removes the private copy."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _replaceable(module: ModuleType | None) -> bool:
    """Whether there is no loaded module of a name, or one that does not come from an installed package."""
    parts = pathlib.Path(getattr(module, "__file__", None) or "").parts
    return module is None or not {"site-packages", "dist-packages"} & set(parts)


def remove_all() -> None:
    """Removes the private copies, for a program that ends without `atexit`."""
    for active in _active:
        active.remove()


def write(files: Mapping[str, bytes], folder) -> None:
    """Writes files, by relative path, to a folder."""
    for file, content in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)
