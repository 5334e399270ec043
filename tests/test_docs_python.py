"""The code of docs/python.md runs as it stands, on a small sample set, and prints what the document says."""

import doctest
import pathlib
import shutil

import pytest
from conftest import MEDIA, ROOT, TESTS
from documents import blocks, missing, run
from user_files import published, videos

import actjax

BLOCKS = blocks(ROOT / "docs" / "python.md")
SMALL = """\
from actjax.config.files import load_config

def get_config(arg=None):
    config = load_config("tsm_shapes").config
    config.data.update(num_train=64, num_val=40)
    config.model = dict(name="TSM", arch="outside_nets:TinyNet", num_classes=8)  # it compiles in a moment
    config.run.update(epochs=1.0, batch_size=8, log_every=1)
    return config
"""
SMALLER = {
    '"tsm_shapes"': '"small.py"',
    "make_shapes()": "make_shapes(num_train=64, num_val=40)",
    "depth=18": 'arch="outside_nets:TinyNet"',
    "epochs=10.0": "epochs=1.0",
    "short_side=128, size=112": "short_side=36, size=32",
    'checkpoint="tsm_r50.pth"': 'checkpoint="tsm_r50.pth", model=dict(depth=10)',
}
# Ctrl-C at the third step of the run that the document stops.
STOP = """\
import logging, signal

class Stop(logging.Handler):
    where = ""
    def emit(self, record):
        line = record.getMessage()
        self.where = line if line.startswith("workdir: ") else self.where
        if self.where.endswith("runs/stopped") and line.startswith("step 3/"):
            signal.raise_signal(signal.SIGINT)

logging.getLogger("actjax").addHandler(Stop())
"""


def small_recipe(folder: pathlib.Path, *, num_val: int = 40) -> None:
    """The recipe that stands in for `tsm_shapes`, and its network."""
    (folder / "small.py").write_text(SMALL.replace("num_val=40", f"num_val={num_val}"))
    shutil.copy(TESTS / "helpers" / "outside_nets.py", folder)


def smaller(code: str) -> str:
    for text, small in SMALLER.items():
        code = code.replace(text, small)
    return code


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """A folder with what the document's reader has."""
    folder = tmp_path_factory.mktemp("python")
    small_recipe(folder)
    videos(folder)
    (folder / "other.txt").write_text((folder / "val.txt").read_text())
    published("tsm_r50.pth")(folder)
    (folder / "kinetics400.txt").write_text("".join(f"class {k}\n" for k in range(400)))
    return folder


def test_a_script_prints_what_the_document_says(folder, cache):
    code = {k: smaller(block.text) for k, block in enumerate(BLOCKS) if block.language == "python"}
    printed = run(code, folder, cache, before=STOP)
    assert printed.keys() == code.keys()
    for k, block in enumerate(BLOCKS):
        if block.language == "text":
            assert missing(block.text, printed[k - 1]) == [], printed[k - 1]


@pytest.mark.parametrize("name", ["train", "load", "evaluate"])
def test_examples_of_the_door(name, folder, cache):
    """They are skipped as doctests, because they train."""
    examples = doctest.DocTestParser().get_examples(getattr(actjax, name).__doc__)
    if not (folder / "runs" / "shapes").exists():
        run({0: "import actjax", 1: smaller(BLOCKS[0].text)}, folder, cache)
    code = {k: smaller(example.source) for k, example in enumerate(examples)}
    printed = run(code, folder, cache, before=f"from actjax import {name}")
    assert len(examples) > 1
    for k, example in enumerate(examples):
        assert missing(example.want, printed[k]) == []


def test_from_standard_input(cache, tmp_path):
    """Writers of the sample set and readers of videos are new processes, which must not run the program again."""
    (block,) = [block for block in blocks(ROOT / "README.md") if block.language == "python"]
    small_recipe(tmp_path, num_val=48)  # with a sample set that is not there yet
    shutil.copy(MEDIA / "test.mp4", tmp_path / "clip.mp4")
    code = smaller(block.text).replace('trained.predict("clip.mp4")', 'print(trained.predict("clip.mp4"))')
    printed = run({0: code}, tmp_path, cache, stdin=True)
    assert printed[0].splitlines()[-1].startswith("[{'class': '"), printed[0]


def test_metrics_alone_need_no_jax(folder, cache):
    (code,) = [b.text for b in BLOCKS if b.heading.endswith("metrics alone?") and b.language == "python"]
    run({0: f"{code}\nimport sys\nassert 'jax' not in sys.modules"}, folder, cache)


def test_every_recipe_is_a_question_with_short_code():
    questions = [block.heading for block in BLOCKS]
    assert all(question.endswith("?") for question in questions) and len(set(questions)) == 10
    assert [block.heading for block in BLOCKS if len(block.text.splitlines()) > 13] == []
