"""Config files: recipes by bare name, Python files with `get_config`, and the configs that runs save."""

import contextlib
import importlib.util
import os
import pathlib
import sys
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ml_collections import ConfigDict

from actjax.config import plain
from actjax.config.recipe_files import config_path
from actjax.config.values import storable
from actjax.text_files import read_json


class Loaded(NamedTuple):
    """A config, and the file that it comes from; None for one that was made in Python."""

    config: ConfigDict
    file: pathlib.Path | None


def load_config(source: str | os.PathLike | Mapping) -> Loaded:
    """The config of a recipe, of a file, or one made in Python.

    Args:
      source: the bare name of a recipe ("tsm_shapes") or the path of a Python file with `get_config`, with an optional
        ":argument" that is passed to it; or the config itself.

    Raises:
      FileNotFoundError: no such recipe or file. ValueError: no `get_config`, a value that is no text, number, truth
        value, None or sequence of these. Errors of the file itself are raised as they are.
    """
    if isinstance(source, (Mapping, ConfigDict)):
        return Loaded(ConfigDict(storable(plain(source), "config")), None)
    name, colon, argument = config_path(os.fspath(source)).partition(":")
    file = pathlib.Path(name)
    if not file.is_file():
        raise FileNotFoundError(f"config file {file} does not exist; the name of a recipe has no folder and no .py")
    if file.suffix != ".py":
        raise ValueError(f"config file {file}: the name of a Python file ends in .py")
    module = _run(file)
    if not callable(get_config := getattr(module, "get_config", None)):
        raise ValueError(f"{file}: a config file defines get_config(), which returns a ConfigDict")
    config = get_config(argument) if colon else get_config()
    if not isinstance(config, (Mapping, ConfigDict)):
        raise ValueError(f"{file}: get_config() returned {type(config).__name__}, not a ConfigDict")
    if isinstance(config, ConfigDict):
        config = config.copy_and_resolve_references()
    return Loaded(ConfigDict(storable(plain(config), "config")), file)


def _run(file: pathlib.Path):
    """Runs a config file as a module that can import the files beside it."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    with _beside(file.parent.resolve()):
        spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _beside(folder: pathlib.Path) -> Iterator[None]:
    """A context in which modules in `folder` can be imported; they are forgotten at its end."""
    before = set(sys.modules)
    sys.path.append(str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file and pathlib.Path(file).resolve().is_relative_to(folder) and not name.startswith("actjax"):
                del sys.modules[name]


def saved_config(workdir: pathlib.Path) -> ConfigDict:
    """The config that a run saved in its workdir. FileNotFoundError: there is none. ValueError: it is damaged."""
    file = workdir / "config.json"
    if not file.exists():
        raise FileNotFoundError(f"no --config, and no {file}, which a run writes when its training begins")
    try:
        config = read_json(file, what="a config")
    except ValueError as error:
        raise ValueError(f"{file}: not a config: {str(error).removeprefix(f'{file}: ')}") from None
    if not isinstance(config, dict) or "task" not in config:
        raise ValueError(f"{file}: not the config of a run, which has a task")
    try:
        return ConfigDict(_as_written(config))
    except ValueError as error:
        raise ValueError(f"{file}: not a config: {error}") from None


def _as_written(value):
    """JSON has no tuples: lists -> tuples, at any depth, so that a run is built as it was trained."""
    if isinstance(value, dict):
        return {key: _as_written(inner) for key, inner in value.items()}
    return tuple(map(_as_written, value)) if isinstance(value, list) else value
