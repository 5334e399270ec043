"""Text of strangers as it is shown: names of files and classes can hold what a terminal obeys."""

import re

# Control characters, among them those that begin a terminal's commands; separators of lines; what turns the direction
# of writing; halves of characters.
_COMMANDS = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_OF_TEXT, _OF_A_LINE = re.compile(f"[{_COMMANDS}]"), re.compile(f"[\t\n{_COMMANDS}]")


def literal(text: str, *, lines: bool = True) -> str:
    r"""Text in which characters that a terminal would obey, or cannot show, are written as in Python.

    >>> print(literal("\x1b[31mred"))
    \x1b[31mred

    Args:
      lines: whether it may have several lines, and tabs; False: these are written as in Python, too.
    """
    pattern = _OF_TEXT if lines else _OF_A_LINE
    return pattern.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
