"""The code of one config at a time on Python's path: its modules come and go together."""

import contextlib
import importlib
import pathlib
import shutil
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping
from types import ModuleType

_turns = threading.RLock()
_active: "list[ActiveCode]" = []  # the one whose turn it is, if any
_living: "weakref.WeakSet[ActiveCode]" = weakref.WeakSet()


class ActiveCode:
    """Python files that can be imported in `turn`, from a private copy, in place of others of the same names.

    The copy holds nothing else, so that no neighbour of the files hides a module of Python, and nothing that was added
    to a workdir runs. It is removed with the object.

    Args:
      files: contents by relative path.

    Raises:
      ValueError: one has the name of a module of Python or of a library.
    """

    def __init__(self, files: Mapping[str, bytes]):
        self._tops = {file.partition("/")[0].removesuffix(".py") for file in files}
        for top in sorted(self._tops):
            if top in (*sys.stdlib_module_names, "actjax") or not _replaceable(sys.modules.get(top)):
                raise ValueError(f"{top}.py has the name of a module of Python or a library; rename it")
        self._folder = tempfile.mkdtemp(prefix="actjax-code-")
        self.remove = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        _living.add(self)
        write(files, pathlib.Path(self._folder))
        self._own: dict[str, ModuleType] = {}  # modules that were imported from the copy
        self._hidden: dict[str, ModuleType] = {}  # modules of the session, in whose place they are

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """A context in which the files can be imported, and modules that were imported from them are there again.

        It waits for a turn of other code in another thread.
        """
        with _turns:
            before = _active[:]
            if before != [self]:
                _switch(before, [self])
            try:
                yield
            finally:
                if before != [self]:
                    _switch([self], before)

    def _resume(self) -> None:
        self._hidden = self._taken()
        sys.modules.update(self._own)
        sys.path.insert(0, self._folder)

    def _suspend(self) -> None:
        sys.path[:] = [entry for entry in sys.path if entry != self._folder]
        self._own = self._taken()
        sys.modules.update(self._hidden)

    def _taken(self) -> dict[str, ModuleType]:
        """Removes the modules that have the names of the files from `sys.modules`, and returns them."""
        names = [name for name in sys.modules if name.partition(".")[0] in self._tops]
        return {name: sys.modules.pop(name) for name in names}


def turn_of(code: ActiveCode | None) -> contextlib.AbstractContextManager:
    """The turn of a config's code; a context that does nothing if the config brings none."""
    return code.turn() if code else contextlib.nullcontext()


def _switch(leaving: list[ActiveCode], coming: list[ActiveCode]) -> None:
    for code in leaving:
        code._suspend()
    for code in coming:
        code._resume()
    importlib.invalidate_caches()
    _active[:] = coming


def _replaceable(module: ModuleType | None) -> bool:
    """Whether there is no loaded module of a name, or one that does not come from an installed package."""
    parts = pathlib.Path(getattr(module, "__file__", None) or "").parts
    return module is None or not {"site-packages", "dist-packages"} & set(parts)


def remove_all() -> None:
    """Removes the private copies, for a program that ends without the usual steps."""
    for code in list(_living):
        code.remove()


def write(files: Mapping[str, bytes], folder) -> None:
    """Writes files, by relative path, to a folder."""
    for file, content in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)
