"""The face of a package, its `__init__`: names that it gives from other modules, which load when they are used."""

import importlib
import sys
import types
from collections.abc import Callable, Iterable, Mapping


def lazy(package: str, names: Mapping[str, str]) -> tuple[Callable, Callable]:
    """`__getattr__` and `__dir__` of a package that gives `names`, each from the module that defines it.

    Args:
      package: its `__name__`.
      names: name -> dotted name of a module of actjax without the `actjax.`.
    """

    def getattribute(name: str):
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"actjax.{names[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return getattribute, lambda: sorted({*vars(sys.modules[package]), *names})


def earlier(package: str, modules: Mapping[str, str | Iterable[str]]) -> None:
    """Lets modules be imported under the names that they had in an earlier version.

    Args:
      package: the `__name__` of the package that they were in.
      modules: earlier name in the package -> dotted names of the modules, without the `actjax.`, that now hold its
        contents.
    """
    for name, targets in modules.items():
        targets = (targets,) if isinstance(targets, str) else tuple(targets)
        module = _Earlier(f"{package}.{name}", targets)
        sys.modules[module.__name__] = module
        setattr(sys.modules[package], name, module)


class _Earlier(types.ModuleType):
    """Stands where a module was; its attributes are those of the modules that hold its contents now."""

    def __init__(self, name: str, targets: tuple[str, ...]):
        super().__init__(name, f"Moved: see actjax.{', actjax.'.join(targets)}.")
        self._targets = targets

    def __getattr__(self, name: str):
        if name.startswith("__"):  # what Python's own tools ask every module
            raise AttributeError(name)
        for target in self._targets:
            module = importlib.import_module(f"actjax.{target}")
            if hasattr(module, name):
                return getattr(module, name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}; {self.__doc__}")
