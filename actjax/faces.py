"""Lazy re-exports for a package's `__init__`, and modules that have moved."""

import importlib
import sys
import types
from collections.abc import Callable, Iterable, Mapping


def lazy(package: str, names: Mapping[str, str]) -> tuple[Callable, Callable]:
    """`__getattr__` and `__dir__` of a package that re-exports `names`; modules are imported on first use.

    Args:
      package: its `__name__`.
      names: {name: dotted name of its module, without `actjax.`}.
    """

    def getattribute(name: str):
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"actjax.{names[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return getattribute, lambda: sorted({*vars(sys.modules[package]), *names})


def earlier(package: str, modules: Mapping[str, str | Iterable[str]]) -> None:
    """Makes moved modules importable under their earlier names.

    Args:
      package: `__name__` of the package that had the modules.
      modules: {earlier name in the package: dotted names, without `actjax.`, of the modules with its contents now}.
    """
    for name, targets in modules.items():
        targets = (targets,) if isinstance(targets, str) else tuple(targets)
        module = _Earlier(f"{package}.{name}", targets)
        sys.modules[module.__name__] = module
        setattr(sys.modules[package], name, module)


class _Earlier(types.ModuleType):
    """A moved module; looks up attributes in the modules that have its contents now."""

    def __init__(self, name: str, targets: tuple[str, ...]):
        super().__init__(name, f"Moved: see actjax.{', actjax.'.join(targets)}.")
        self._targets = targets

    def __getattr__(self, name: str):
        if name == "__all__":
            return dir(self)
        if name.startswith("__"):  # Python's own tools query these on every module
            raise AttributeError(name)
        for target in self._targets:
            module = importlib.import_module(f"actjax.{target}")
            if hasattr(module, name):
                return getattr(module, name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}; {self.__doc__}")

    def __dir__(self) -> list[str]:
        modules = [importlib.import_module(f"actjax.{target}") for target in self._targets]
        return sorted({name for module in modules for name in vars(module) if not name.startswith("_")})
