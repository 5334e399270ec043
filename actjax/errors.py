"""Errors for bad input, and their display on the command line.

Each class is a ValueError and also the error that MMAction2 0.6 raises for the same input, so code written for
MMAction2 still catches it.
"""

import contextlib
import logging

log = logging.getLogger("actjax")
_told: set[str] = set()


class ShapeError(ValueError, IndexError, AssertionError):
    """An array, a column or a length is missing or does not match another."""


class EmptyError(ValueError, ZeroDivisionError):
    """Nothing to average: no video, no ground truth or no proposal."""


@contextlib.contextmanager
def clear_errors(*more: type[Exception]):
    """Marks errors that the user can fix; the command line shows them in one line, see `one_line`."""
    try:
        yield
    except (ValueError, FileNotFoundError, FileExistsError, *more) as error:
        error.clear = True
        raise


@contextlib.contextmanager
def one_line():
    """Errors marked by `clear_errors` end the program with their message and no traceback."""
    try:
        yield
    except Exception as error:
        if not getattr(error, "clear", False):
            raise
        raise SystemExit(f"error: {error}") from error


def warn_once(text: str) -> None:
    """Logs each warning once per process."""
    if text not in _told:
        _told.add(text)
        log.warning("%s", text)
