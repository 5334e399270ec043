"""Errors for bad input, and their display on the command line.

Each class is a ValueError and also the error that MMAction2 0.6 raises for the same input, so code written for
MMAction2 still catches it.
"""

import contextlib
import errno
import logging
import math
import numbers
import os

log = logging.getLogger("actjax")
_told: set[str] = set()


class ShapeError(ValueError, IndexError, AssertionError):
    """An array, a column or a length is missing or does not match another."""


class EmptyError(ValueError, ZeroDivisionError):
    """Nothing to average: no video, no ground truth or no proposal."""


class MissingError(ValueError, KeyError):
    """A field, a video or a class is not there."""

    __str__ = Exception.__str__  # a KeyError shows its message in quotes


class NumberError(ValueError, TypeError):
    """Text, or something else, where a number has to be."""


class StorageError(OSError):
    """A disk or a file server cannot be written: what happened, in one line."""

    clear = True  # see `clear_errors`


class RangeError(ValueError):
    """A number is out of range; the message begins with its name."""


def shown(value, *, most: int = 80) -> str:
    """`repr(value)`, cut to about `most` characters: for text and values of others in an error.

    >>> shown("a" * 100, most=10)
    "'aaaaaaaaaa'..."
    """
    if isinstance(value, str) and len(value) > most:
        return f"{value[:most]!r}..."
    text = " ".join(repr(value).split()) if hasattr(value, "dtype") else repr(value)  # arrays have several lines
    return text if len(text) <= most else f"{text[:most]}..."


def check_number(name: str, value, bounds: str, *, whole: bool = False) -> None:
    """Raises RangeError unless `value` is a number within `bounds`, an interval such as "[0, 1)". Arrays pass.

    >>> check_number("momentum", 2, "[0, 1)")
    Traceback (most recent call last):
    actjax.errors.RangeError: momentum=2; must be a number in [0, 1)

    Args:
      whole: it must be an integer.
    """
    if hasattr(value, "ndim") and not isinstance(value, numbers.Real):
        return  # it may be traced
    low, high = map(float, bounds[1:-1].split(","))
    kind = numbers.Integral if whole else numbers.Real
    inside = isinstance(value, kind) and not isinstance(value, bool) and not math.isnan(value) and low <= value <= high
    if not inside or (value == low and bounds[0] == "(") or (value == high and bounds[-1] == ")"):
        raise RangeError(f"{name}={value!r}; must be a {'whole ' * whole}number in {bounds}")


@contextlib.contextmanager
def named(section: str):
    """Puts the name of a config section before that of a number that is out of range."""
    try:
        yield
    except RangeError as error:
        raise RangeError(f"{section}.{error}") from error


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
        if isinstance(error, OSError) and (fault := storage_fault(error)):
            raise SystemExit(ending(error if getattr(error, "clear", False) else fault)) from error
        if not getattr(error, "clear", False):
            raise
        raise SystemExit(ending(error)) from error


def ending(error) -> str:
    """The last line of a program that ends with an error: its message, of which 2,000 characters are enough."""
    text = str(error)
    return f"error: {text if len(text) <= 2000 else f'{text[:2000]}...'}"


def warn_once(text: str) -> None:
    """Logs each warning once per process."""
    if text not in _told:
        _told.add(text)
        log.warning("%s", text)


_NAMES = "ENOSPC EDQUOT EROFS EACCES EPERM EIO ESTALE EFBIG ENOTDIR EISDIR"
_FAULTS = tuple(getattr(errno, name) for name in _NAMES.split())
_WORDS = {os.strerror(number).lower(): os.strerror(number) for number in _FAULTS}


def storage_fault(error: BaseException | None) -> str | None:
    """What a disk or file server lacks, such as "No space left on device", by an error or its causes; None: nothing.

    >>> storage_fault(ValueError("Error writing local file: No space left on device"))
    'No space left on device'

    Libraries raise such faults as errors of their own, which hold the words of the system.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FAULTS:
            return os.strerror(error.errno) + (f": {error.filename}" if error.filename else "")
        told = str(error).lower()
        if found := [words for key, words in _WORDS.items() if key in told]:
            return found[0]
        error = error.__cause__ or error.__context__
    return None
