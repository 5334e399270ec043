"""The files of the recipes, by their bare names: `--config=tsm_shapes` is `configs/tsm_shapes.py`.

An installed package has them as `actjax.configs`; in a clone they are in `configs/`, beside the package.
"""

import pathlib
import re

from actjax.config import unknown

_BARE = re.compile(r"([\w-]+)(:(?!//).*)?", re.S)  # a name without folder and ending, and perhaps an argument


def recipe_folder() -> pathlib.Path:
    """The folder that holds the recipes."""
    package = pathlib.Path(__file__).resolve().parents[1]
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def recipe_names() -> list[str]:
    """The bare names of all recipes, sorted."""
    return sorted(file.stem for file in recipe_folder().glob("[!_]*.py"))


def recipe_path(name: str) -> pathlib.Path:
    """The file of a recipe. ValueError: an unknown name; suggests the nearest and lists all."""
    if name not in (names := recipe_names()):
        raise ValueError(f"recipe {unknown(name, names)}; for a file of your own give its path, such as {name}.py")
    return recipe_folder() / f"{name}.py"


def config_path(value: str) -> str:
    """A value of `--config`, with the path of its file in place of a recipe's bare name; a path is left as it is.

    Raises:
      ValueError: an unknown name; a path to a recipe that is not there, for which the bare name is suggested.
    """
    if bare := _BARE.fullmatch(value):
        return f"{recipe_path(bare[1])}{bare[2] or ''}"
    path, colon, argument = value.partition(":")
    name = pathlib.Path(path).name.removesuffix(".py")
    if path.endswith(".py") and name in recipe_names() and not pathlib.Path(path).exists():
        hint = f"a recipe has a bare name, --config={name}{colon}{argument}"
        raise ValueError(f"--config={value}: there is no file {path}; {hint}")
    return value
