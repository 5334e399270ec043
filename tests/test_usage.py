"""What the commands say about themselves, started as their scripts start them."""

import os
import re
import subprocess
import sys

import pytest
from cli import ROOT

import actjax
from actjax import main
from actjax.config.recipe_files import recipe_names
from actjax.usage import MODES, help_page, overview

COMMAND = re.compile(r"^  (actjax --(?:.*\\\n)*.*)$", re.M)


def call(module: str, *arguments: str, script: str = "actjax", cwd=ROOT) -> subprocess.CompletedProcess:
    """What a console script does: `main` of a module, as the script `script`, without `cwd` on the path."""
    code = f"import sys; sys.argv[0] = '/venv/bin/{script}'; from {module} import main; main(); "
    code += "sys.exit('jax is imported' if 'jax' in sys.modules else 0)"
    variables = os.environ | {"COLUMNS": "80", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-P", "-c", code, *arguments]
    return subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=60)


def test_the_overview_fits_a_screen():
    lines = overview(recipe_names(), width=80).splitlines()
    assert len(lines) <= 48 and max(map(len, lines)) <= 80
    text = "\n".join(lines)
    for name in recipe_names():
        assert re.search(rf"^  (.* )?{name}( |$)", text, re.M), name
    for mode in MODES:
        assert len(re.findall(rf"^  {mode} ", text, re.M)) == 1
    assert len(overview(recipe_names(), width=200).splitlines()) < len(lines)
    assert max(map(len, overview(recipe_names(), width=20).splitlines())) <= 80  # one name in a line


def test_the_commands_of_the_overview_exist():
    commands = COMMAND.findall(overview(recipe_names(), width=80))
    assert len(commands) == 4
    for command in commands:
        for flag, value in re.findall(r"--([\w.]+)=(\S+)", command):
            assert flag in main.flags.FLAGS or flag.startswith("config.")
            assert flag != "config" or value.partition(":")[0] in recipe_names()


def test_a_bare_command_tells_what_it_can_do_without_jax():
    done = call("actjax.__main__")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == overview(recipe_names(), width=80)


@pytest.mark.parametrize("module", ["actjax", "actjax.main"])
def test_help_lists_our_flags_in_one_line_each(module):
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    flags = re.findall(r"^  --(\w+) +(\S.*\.)$", done.stdout, re.M)
    ours = main.flags.FLAGS.get_flags_for_module("actjax.main")
    assert [name for name, _ in flags] == [flag.name for flag in ours]
    assert done.stdout == help_page(ours)
    assert max(map(len, done.stdout.splitlines())) <= 120
    texts = dict(flags)
    assert texts["protocol"].endswith("(test|eval, default test).") and texts["mode"] == "What to do (default train)."
    assert texts["num"].endswith("(default 16).") and "default" not in texts["video"]


def test_the_version():
    done = call("actjax.__main__", "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"actjax {actjax.__version__}\n", "")


def test_helpfull_has_the_flags_of_libraries():
    done = call("actjax.__main__", "--helpfull")
    assert "--[no]logtostderr" in done.stdout and "--workdir" in done.stdout


@pytest.mark.parametrize("script", ["actjax-metrics", "__main__.py"])
def test_the_metrics_name_the_command_that_was_called(script):
    name = script if script == "actjax-metrics" else "python -m actjax.metrics"
    assert call("actjax.metrics.__main__", "--help", script=script).stdout.startswith(f"usage: {name} [-h] TASK")
    done = call("actjax.metrics.__main__", script=script)
    assert done.returncode == 2 and f"{name}: error: the following arguments are required: TASK" in done.stderr


def test_modules_in_the_working_folder_are_found(tmp_path):
    """As with `python -m`, where Python itself puts the folder first."""
    (tmp_path / "beside.py").write_text("MESSAGE = 'found beside the config'")
    (tmp_path / "mine.py").write_text("import beside\n\n\ndef get_config():\n    raise ValueError(beside.MESSAGE)\n")
    done = call("actjax.__main__", "--config=mine.py", f"--workdir={tmp_path}/run", cwd=tmp_path)
    assert done.returncode == 1 and "error: found beside the config" in done.stderr
