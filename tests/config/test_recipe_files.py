"""Recipes by bare names, in a clone and in an installed package."""

import pytest
from conftest import ROOT

from actjax.config import recipe_files
from actjax.config.recipe_files import config_path, recipe_names, recipe_path

SHAPES = str(ROOT / "configs" / "tsm_shapes.py")


def test_every_file_is_a_recipe():
    names = recipe_names()
    assert names == sorted(file.stem for file in (ROOT / "configs").glob("*.py") if file.stem != "__init__")
    assert {"tsm_shapes", "bsn_sample"} < set(names)
    for name in names:
        assert "def get_config(" in recipe_path(name).read_text()


def test_an_installed_package_has_its_own(tmp_path, monkeypatch):
    """Inside the package; a folder named configs beside it belongs to somebody else."""
    site = tmp_path / "site-packages"
    for folder, name in ((site / "actjax" / "configs", "ours"), (site / "configs", "theirs")):
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
        (folder / f"{name}.py").touch()
    monkeypatch.setattr(recipe_files, "__file__", str(site / "actjax" / "config" / "recipe_files.py"))
    assert recipe_names() == ["ours"]
    assert recipe_path("ours") == site / "actjax" / "configs" / "ours.py"


@pytest.mark.parametrize("name", ["tsm_shape", "__init__", "../setup", ""])
def test_an_unknown_name_is_one_line_with_all_names(name):
    with pytest.raises(ValueError, match=f"^recipe '{name}' is unknown; .*'bmn_sample'.*'tsm_shapes'.*$") as raised:
        recipe_path(name)
    assert "\n" not in str(raised.value)
    assert ("did you mean 'tsm_shapes'" in str(raised.value)) == (name == "tsm_shape")


@pytest.mark.parametrize(
    ("value", "file"),
    [
        ("tsm_shapes", SHAPES),
        ("tsm_shapes:tsn", f"{SHAPES}:tsn"),
        ("tsm_shapes:prepared=/a/b:c", f"{SHAPES}:prepared=/a/b:c"),
    ],
)
def test_a_bare_name_becomes_its_file(value, file):
    assert config_path(value) == file


@pytest.mark.parametrize(
    "value",
    [SHAPES, f"{SHAPES}:tsn", "mine.py", "./mine", "nowhere/mine.py:a=b", "runs/x/config.json", "gs://b/c.py", ""],
)
def test_a_path_is_left_as_it_is(value):
    assert config_path(value) == value


def test_a_path_into_a_clone_that_is_not_there_names_the_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for value, bare in (("configs/tsm_shapes.py:tsn", "tsm_shapes:tsn"), ("bsn_sample.py", "bsn_sample")):
        with pytest.raises(ValueError, match=f"--config={value}: there is no file .*bare name, --config={bare}$"):
            config_path(value)
    (tmp_path / "bsn_sample.py").touch()
    assert config_path("bsn_sample.py") == "bsn_sample.py"
