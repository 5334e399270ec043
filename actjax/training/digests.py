"""The digests of a checkpoint's files: written with its commit, compared when it is read."""

import hashlib
import json
import pathlib

FILE = "actjax.json"  # in the folder of a checkpoint
MARK = {"digests": FILE}  # Orbax keeps this with the checkpoint, so a missing file is noticed, too
_ORBAX = "_CHECKPOINT_METADATA"
_LATER = ("commit_success.txt", _ORBAX, FILE)  # Orbax writes the first two after the digests, and nothing reads them


class DamagedError(ValueError):
    """A checkpoint is not what was written."""

    clear = True  # see `errors.clear_errors`


def write(folder: pathlib.Path, content: dict) -> None:
    """Writes the digests of all files in `folder`, and `content`, to its `actjax.json`."""
    sealed = {**content, "files": {name: _digest(folder / name) for name in _names(folder)}}
    sealed["digest"] = _of_text(json.dumps(sealed, sort_keys=True))
    (folder / FILE).write_text(json.dumps(sealed, sort_keys=True, indent=1))


def check(folder: pathlib.Path, *, only: str = "") -> dict[str, str] | None:
    """Compares all files with their digests -> the files; None for a checkpoint of an older version, without digests.

    Args:
      only: compare the files in this folder, such as "metrics/"; "": all.

    Raises:
      DamagedError: a file is missing or differs.
    """
    if not any(folder.iterdir()):
        raise DamagedError(f"{folder} is empty")
    file = folder / FILE
    if not file.exists():
        if not (folder / _ORBAX).exists():
            raise DamagedError(f"{folder} is incomplete")
        if _marked(folder):
            raise DamagedError(f"{file} is missing")
        return None
    try:
        sealed = json.loads(file.read_bytes())
        digest, files = sealed.pop("digest"), sealed["files"].items()
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        raise DamagedError(f"{file} is damaged") from None
    if digest != _of_text(json.dumps(sealed, sort_keys=True)):
        raise DamagedError(f"{file} is damaged")
    _read(folder / _ORBAX)
    for name, known in files:
        if not name.startswith(only):
            continue
        if not (folder / name).exists():
            raise DamagedError(f"{folder / name} is missing")
        if _digest(folder / name) != known:
            raise DamagedError(f"{folder / name} is damaged (its digest does not match)")
    return dict(files)


def content(folder: pathlib.Path) -> dict:
    """The `content` of `write`; {} for a checkpoint of an older version."""
    file = folder / FILE
    return json.loads(file.read_bytes()) if file.exists() else {}


def _names(folder: pathlib.Path) -> list[str]:
    """The files of a checkpoint that have a digest, relative to its folder."""
    found, todo = [], [folder]
    while todo:  # `rglob` of object stores is no more than a glob
        for path in todo.pop().iterdir():
            if path.is_dir():
                todo.append(path)
            else:
                found.append(str(path)[len(str(folder)) + 1 :])
    return sorted(name for name in found if name not in _LATER)


def _marked(folder: pathlib.Path) -> bool:
    """Whether the checkpoint was written with digests."""
    return (_read(folder / _ORBAX).get("custom_metadata") or {}).items() >= MARK.items()


def _read(file: pathlib.Path) -> dict:
    """A JSON file. DamagedError: it is missing or no JSON."""
    if not file.exists():
        raise DamagedError(f"{file} is missing")
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError):
        raise DamagedError(f"{file} is damaged") from None
    if not isinstance(content, dict):
        raise DamagedError(f"{file} is damaged")
    return content


def _digest(path: pathlib.Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
