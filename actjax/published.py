"""Checkpoint files that recipes start from: where they are published, and whether a file is the published one."""

import hashlib
import os
import pathlib
import re
import shlex
from collections.abc import Mapping

from actjax.errors import shown
from actjax.paths import does_not_exist, not_a_file

_DIGITS = re.compile(r"-([0-9a-f]{8})\.pth")  # of the SHA-256, by torch.hub's convention


def check_published(path: str | os.PathLike, urls: Mapping[str, str], *, otherwise: str = "") -> None:
    """Checks a file that training starts from.

    Args:
      urls: {name of a published file: where it is}.
      otherwise: what to do without such a file, for the error.

    Raises:
      FileNotFoundError: it is missing; the message says where to get it. ValueError: it has the name of a published
        file, but another content.
    """
    name = pathlib.PurePath(path).name
    url, digits = urls.get(name), _DIGITS.search(name)
    if not os.path.isfile(path):
        why = f"{path} {kind}" if (kind := not_a_file(path)) else does_not_exist(path)
        remedy = "docs/model_zoo.md names the file"
        if url:
            command = f"curl --create-dirs -o {shlex.quote(str(path))} {url}"
            remedy = f"get it with `{command}` (its SHA-256 begins with {digits[1]})"
        raise FileNotFoundError(f"load_from.path={why}; {remedy}{otherwise}")
    if url and not (found := _sha256(path)).startswith(digits[1]):
        raise ValueError(
            f"load_from.path={path} is not the published file {shown(name)}: its SHA-256 begins with {found[:8]}, not "
            f"with {digits[1]}; get it again from {url}, or give a file of your own another name"
        )


def _sha256(path: str | os.PathLike) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
