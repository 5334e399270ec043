"""The blocks of a document, and whether a program printed what the document says."""

import pathlib
import re
from typing import NamedTuple


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
