"""The blocks of a document, what their code prints, and whether the document says the same."""

import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Mapping
from typing import NamedTuple

from cli import ROOT, environment


class Block(NamedTuple):
    """A fenced block: the heading that it stands under, its language, and its text."""

    heading: str
    language: str
    text: str


def blocks(document: pathlib.Path) -> list[Block]:
    """All blocks, in order."""
    heading, found = "", []
    for title, language, text in re.findall(r"^#+ ([^\n]*)$|^```(\w+)\n(.*?)^```$", document.read_text(), re.M | re.S):
        heading = title or heading
        if language:
            found.append(Block(heading, language, text))
    return found


def run(
    code: Mapping[int, str], folder: pathlib.Path, cache: pathlib.Path, *, before: str = "", stdin: bool = False
) -> dict[int, str]:
    """Runs blocks of code as one script in `folder` -> what each printed.

    before: code that comes first. stdin: Python reads the script from standard input.
    """
    parts = [f'print("\\n## {number}", flush=True)\n{text}' for number, text in code.items()]
    script = "\n".join([before, *parts])
    (folder / "script.py").write_text(script)
    variables = environment(cache)
    variables["PYTHONPATH"] = os.pathsep.join((str(ROOT), variables["PYTHONPATH"]))
    done = subprocess.run(
        [sys.executable, "-" if stdin else "script.py"], input=script if stdin else None, cwd=folder, env=variables,
        text=True, timeout=550, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    printed = [part.partition("\n") for part in done.stdout.split("\n## ")[1:]]
    return {int(number): text for number, _, text in printed}


def missing(told: str, printed: str) -> list[str]:
    """The lines of a ```text block that were not printed, in order, apart from numbers and the names of classes.

    A line that ends in "..." is the beginning of one.
    """
    lines = [_form(line) for line in printed.splitlines()]
    for count, line in enumerate(told.splitlines()):
        start = _form(line.removesuffix("..."))
        fits = [
            k for k, other in enumerate(lines) if (other.startswith(start) if line.endswith("...") else other == start)
        ]
        if not fits:
            return told.splitlines()[count:]
        lines = lines[fits[0] + 1 :]
    return []


def _form(line: str) -> str:
    """A line without what depends on the training."""
    line = re.sub(r"^\d\d:\d\d:\d\d ", "", line)  # of the log
    line = re.sub(r"(moving|turning|approaching|receding)([ _][\w-]+)?", "CLASS", line)
    return re.sub(r"\d+(\.\d+)?", "0", line).rstrip()
