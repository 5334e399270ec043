"""Where sample sets live: made on first use, there as a whole or not at all."""

import hashlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable


def made_once(folder: str | os.PathLike | None, name: str, *, marker: str, code: str, write: Callable) -> pathlib.Path:
    """The folder of a sample set; `write(folder)` makes it if it is not there.

    Args:
      folder: where; None: a folder in `$ACTJAX_CACHE` or `~/.cache/actjax`, of this name and a digest of `code`.
      name: of the set with the numbers it depends on.
      marker: a file that the complete set holds.
      code: the file that makes the set: change it, and an old set is not taken for the new one.

    The set is written beside its place and moved there at the end.
    """
    if folder is None:
        cache = os.environ.get("ACTJAX_CACHE", "~/.cache/actjax")
        digest = hashlib.sha256(pathlib.Path(code).read_bytes()).hexdigest()[:8]
        folder = pathlib.Path(cache).expanduser() / f"{name}-{digest}"
    folder = pathlib.Path(folder)
    if (folder / marker).exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = pathlib.Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    building.chmod(0o755)  # mkdtemp makes it private
    try:
        write(building)
        os.replace(building, folder)
    except OSError:
        if not (folder / marker).exists():  # else another process was faster: its set is the same
            raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder
