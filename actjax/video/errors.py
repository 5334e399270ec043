"""Exceptions for videos that cannot be read."""

import os


class VideoError(Exception):
    """A video that cannot be decoded; `path` and `reason` say which and why."""

    def __init__(self, path: str | os.PathLike, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = str(path), reason

    def __reduce__(self):
        return type(self), (self.path, self.reason)


class VideoTimeout(VideoError):
    """A video that took too long: it may be broken, or the machine may have been busy."""


class BackendError(VideoError):
    """A video that this backend does not read exactly; the reason names a backend that does."""
