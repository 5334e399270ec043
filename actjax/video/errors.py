"""Exceptions for videos that cannot be read."""

import os


class VideoError(Exception):
    """A video that cannot be decoded; `path` and `reason` say which and why."""

    def __init__(self, path: str | os.PathLike, reason: str):
        super().__init__(f"{_shown(str(path))}: {reason}")
        self.path, self.reason = str(path), reason

    def __reduce__(self):
        return type(self), (self.path, self.reason)


def _shown(path: str) -> str:
    """A path in one line, the middle of a long one left out."""
    path = path if path.isprintable() else repr(path)
    return path if len(path) <= 160 else f"{path[:75]}...{path[-75:]}"


class VideoTimeout(VideoError):
    """A video that took too long: it may be broken, or the machine may have been busy."""


class BackendError(VideoError):
    """A video that this backend does not read exactly; the reason names a backend that does."""


class Unreachable(Exception):
    """The network or the server did not give the file at `url`: a fault of theirs, which says nothing about the file.

    `reason` says what they did instead.
    """

    clear = True

    def __init__(self, url: str, reason: str):
        super().__init__(f"{url} cannot be reached ({reason}): is the network or the file server down?")
        self.url, self.reason = url, reason

    def __reduce__(self):
        return type(self), (self.url, self.reason)
