"""What bad input raises, and how a command says it.

Each class is a ValueError, and also what the reference raises for the same input, so that code written for it still
catches it.
"""

import contextlib
import logging

log = logging.getLogger("actjax")
_told: set[str] = set()


class ShapeError(ValueError, IndexError, AssertionError):
    """An array, a column or a length is missing or does not fit another one."""


class EmptyError(ValueError, ZeroDivisionError):
    """Nothing to divide by: no video, no ground truth or no proposal."""


@contextlib.contextmanager
def clear_errors(*more: type[Exception]):
    """What the user can mend ends the program with its message alone, without a traceback."""
    try:
        yield
    except (ValueError, FileNotFoundError, FileExistsError, *more) as error:
        raise SystemExit(f"error: {error}") from error


def warn_once(text: str) -> None:
    """Logs a warning the first time that it is given in this process."""
    if text not in _told:
        _told.add(text)
        log.warning("%s", text)
