"""The examples of docs/extending.md run as they stand, on a small sample set."""

import pathlib
import re
import sys

import pytest
from conftest import ROOT
from documents import Block, blocks, missing, run

BLOCKS = blocks(ROOT / "docs" / "extending.md")
SMALL = """\
from actjax.config.files import load_config

def get_config(arg=None):
    config = load_config("tsm_shapes").config
    config.data.update(num_train=64, num_val=40)
    config.model.update(width=8)
    config.run.update(epochs=1.0, batch_size=8, log_every=4)
    return config
"""
SMALLER = {
    "--config=tsm_shapes ": "--config=small.py ",
    '"tsm_shapes"': '"small.py"',
    "make_shapes()": "make_shapes(num_train=64, num_val=40)",
    "python -m": f"{sys.executable} -m",
    "['my_nets.py']": "['my_nets.py', 'small.py']",  # a recipe's own file is not copied
}
# A task is a change of actjax itself; here its files lie elsewhere, and its line is added to the table.
TASK = """\
import importlib.util, sys
from actjax import tasks
from actjax.tasks import Registered

spec = importlib.util.spec_from_file_location("actjax.tasks.grading", "in_tree/actjax/tasks/grading/__init__.py")
grading = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(grading)
tasks.TASKS.update({LINE})
"""


def written(block: Block) -> str | None:
    """The file that a block shows, by the comment in its first line."""
    named = re.match(r"# (\S+\.py)\b", block.text)
    return named and named[1]


def smaller(code: str) -> str:
    for text, small in SMALLER.items():
        code = code.replace(text, small)
    return code


# What `train` and `evaluate` are where the examples are built and not run.
BUILT = """\
import collections, actjax

def built(config, workdir, **overrides):
    actjax.build(config, **overrides)
    return collections.defaultdict(float)

actjax.train, actjax.evaluate = built, lambda workdir: collections.defaultdict(float)
"""


def code(*, built: bool) -> dict[int, str]:
    """What is run for each block that is not a file. built: nothing is trained."""
    found = {}
    for k, block in enumerate(BLOCKS):
        if block.text.startswith("# actjax/tasks/__init__.py"):
            found[k] = TASK.replace("LINE", block.text.partition("\n")[2])
        elif block.language == "python" and not written(block):
            found[k] = smaller(block.text)
        elif block.language == "bash" and not built:
            commands = smaller(block.text).splitlines()
            found[k] = "\n".join(f"subprocess.run({command!r}, shell=True, check=True)" for command in commands)
    return found


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
    """A folder with the files of the document."""
    for block in BLOCKS:
        if (name := written(block)) and name != "actjax/tasks/__init__.py":
            file = tmp_path / ("in_tree" if name.startswith("actjax/") else "") / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(smaller(block.text))
    (tmp_path / "small.py").write_text(SMALL)
    return tmp_path


def test_the_examples_build(folder, cache):
    run(code(built=True), folder, cache, before=BUILT)


@pytest.mark.slow  # ten runs
def test_the_examples_run(folder, cache):
    printed = run(code(built=False), folder, cache, before="import subprocess")
    for k, block in enumerate(BLOCKS):
        if block.language == "text":
            assert missing(smaller(block.text), printed[k - 1]) == [], printed[k - 1]
