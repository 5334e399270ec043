"""Code that comes with a config: its own file and the Python files beside it that it uses.

A config names functions of these files as "my_config:crop" or "nets:Net". A run keeps a copy in `WORKDIR/code/DIGEST`
and imports from there, so that later edits do not reach its reader processes, and so that `eval`, `predict` and
`export` find the code from any folder. A copy that somebody else made runs only when it is trusted by name.
"""

import ast
import contextlib
import hashlib
import json
import logging
import pathlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from actjax.config import plain, refusing
from actjax.config.active_code import ActiveCode, turn_of, write
from actjax.config.recipe_files import recipe_folder
from actjax.paths import cache_folder, is_url

log = logging.getLogger("actjax")

FOLDER = "code"  # in a workdir
_COPY = re.compile(r"/code/[0-9a-f]{16}/")
_LISTED = 20  # files in a message
_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


class OwnCode(NamedTuple):
    """The Python files that a config brings, and the dotted names in it.

    folder: where the files are.
    files: their contents, by path relative to `folder`; the config's own file is among them.
    names: the dotted names, sorted.
    """

    folder: pathlib.Path
    files: dict[str, bytes]
    names: tuple[str, ...]

    @property
    def digest(self) -> str:
        """The name of the copy: a digest of the files' names and contents."""
        return self._hashed()[:16]

    def _hashed(self, *more: str) -> str:
        digest = hashlib.sha256(
            json.dumps([*more, *((file, len(self.files[file])) for file in sorted(self.files))]).encode()
        )
        for file in sorted(self.files):
            digest.update(self.files[file])
        return digest.hexdigest()

    def save(self, workdir: pathlib.Path) -> None:
        """Writes the files to `WORKDIR/code/DIGEST`, if they are not there. A copy that was changed is replaced."""
        target = workdir / FOLDER / self.digest
        if target.exists() and _read(target) == self.files:
            return
        if is_url(workdir):
            return write(self.files, target)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as temporary:
            write(self.files, pathlib.Path(temporary, "new"))
            if target.exists():
                log.warning("%s was changed by somebody; it is written again", target)
                target.rename(pathlib.Path(temporary, "changed"))
            with contextlib.suppress(OSError):  # another process of the run was faster
                pathlib.Path(temporary, "new").rename(target)

    def remember(self) -> None:
        """Records that the user runs this code, so that its copies run without being asked for."""
        try:
            self._marker.parent.mkdir(parents=True, exist_ok=True)
            self._marker.touch()
        except OSError as error:
            log.warning("the run's code cannot be remembered, and will need --trust_code: %s", error)

    @property
    def trusted(self) -> bool:
        """Whether the user ran this code under these names before."""
        return self._marker.exists()

    @property
    def _marker(self) -> pathlib.Path:
        return cache_folder() / "own_code" / self._hashed(*self.names)


def _read(folder: pathlib.Path) -> dict[str, bytes]:
    """The Python files in a folder; links, which may lead anywhere, are not followed."""
    paths = [path for path in folder.rglob("*.py") if path.is_file() and not _linked(path, folder)]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _linked(path: pathlib.Path, folder: pathlib.Path) -> bool:
    """Whether a path in a local folder, or a folder between the two, is a symbolic link."""
    if is_url(folder):
        return False
    places = [path, *path.parents]
    return any(place.is_symlink() for place in places[: places.index(folder)])


def dotted_names(config: Mapping) -> tuple[str, ...]:
    """All values in a config that look like "package.module:name", sorted."""
    found = set()

    def visit(value) -> None:
        if isinstance(value, Mapping):
            value = tuple(value.values())
        if isinstance(value, str):
            parts = (part.strip() for part in re.split(r"[,()\[\]{}'\"]", value))  # text may list several
            found.update(part for part in parts if _DOTTED.fullmatch(part))
        elif isinstance(value, tuple | list):
            for element in value:
                visit(element)

    visit(plain(config))
    return tuple(sorted(found))


def of_config(file: pathlib.Path | None, config: Mapping) -> OwnCode | None:
    """The code of a config file: the file, the modules beside it that the config names, and what these import.

    Args:
      file: None, or a recipe of actjax: the modules are looked for in the current folder.

    Returns None if the config names nothing of others.
    """
    names, todo = dotted_names(config), []
    if not names:
        return None
    if file is None or file.resolve().parent == recipe_folder().resolve():
        folder = pathlib.Path.cwd()
    else:
        folder, todo = file.parent.resolve(), [file.parent.resolve() / file.name]
    for name in names:
        todo += _files(folder, name.partition(":")[0])
    found: set[pathlib.Path] = set()
    while todo:
        file = todo.pop()
        if file not in found:
            found.add(file)
            todo += [path for name in _imported(file, folder) for path in _files(folder, name)]
    return OwnCode(folder, {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}, names)


def of_workdir(workdir: pathlib.Path, config: Mapping) -> OwnCode | None:
    """The copy that a run has of its code; None if its config names none.

    Args:
      config: the saved config; its key `code` is the name of the copy.

    Raises:
      FileNotFoundError: the copy is missing. ValueError: `code` is not the name of a copy.
    """
    names, digest = dotted_names(config), config.get(FOLDER)
    if not digest:
        return OwnCode(pathlib.Path(), {}, names) if names else None
    if not re.fullmatch(r"[0-9a-f]{16}", str(digest)):
        raise ValueError(f"{workdir / 'config.json'}: code={digest!r} is not the name of a copy")
    folder = workdir / FOLDER / digest
    if _linked(folder, workdir):
        raise ValueError(f"{folder} is a symbolic link; a run has a copy of its code")
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}, the code of this run, is missing; copy it from where the run was made")
    return OwnCode(folder, _read(folder), names)


@contextlib.contextmanager
def allowed(code: OwnCode | None, where, *, trust: bool, typed: OwnCode | None = None) -> Iterator[ActiveCode | None]:
    """A context in which a run's config may be built: with its code active, or without any if it is not trusted.

    Args:
      where: the workdir, for errors.
      typed: the code that the user named for this call, which is importable, too.

    Raises:
      ValueError: a file of `typed` differs from the run's file of the same name. In the context, from `find`: the
        config names a function that is not of actjax, the code was not made here, and `trust` is False.
    """
    typed = typed or OwnCode(pathlib.Path(), {}, ())
    trusted = code is not None and (trust or code.trusted)
    files = code.files if trusted else {}
    if clash := sorted(file for file in files.keys() & typed.files.keys() if files[file] != typed.files[file]):
        raise ValueError(f"{typed.folder / clash[0]} differs from the file of the same name in {where}; rename yours")
    active = ActiveCode(files | typed.files) if files or typed.files else None
    with contextlib.ExitStack() as stack:
        stack.enter_context(turn_of(active))
        if not trusted:
            stack.enter_context(refusing(_question(code, where), besides=typed.names))
        yield active


def _question(code: OwnCode | None, where) -> str:
    """What a run would execute, and how to allow it."""
    files = sorted(map(ascii, code.files)) if code else []
    more = f" and {len(files) - _LISTED} more" if len(files) > _LISTED else ""
    own = f"code of its own, {', '.join(files[:_LISTED])}{more} in {code.folder}" if files else ""
    what = own or ", ".join(code.names if code else ()) or "code"
    return f"{where} runs {what}, and was not made here: read it, then add --trust_code (trust_code=True)"


def _files(folder: pathlib.Path, module: str) -> list[pathlib.Path]:
    """The files in `folder` that are run when `module` is imported; of a package all files."""
    top, *inner = module.split(".")
    if top == "actjax":  # a config in the folder of a clone
        return []
    if (folder / top / "__init__.py").is_file():
        paths = [path for path in (folder / top).rglob("*.py") if path.is_file()]
        return [path for path in paths if not _COPY.search(path.relative_to(folder).as_posix())]  # a workdir lies in it
    found, place = [], folder
    for part in (top, *inner):
        found += [place / part / "__init__.py", place / f"{part}.py"]
        place /= part
    return [path for path in found if path.is_file()]


def _imported(file: pathlib.Path, folder: pathlib.Path) -> Iterator[str]:
    """The modules that a file may import, anywhere in it; names imported from modules may be modules, too.

    None for a file that Python cannot read, which fails only if it is imported.
    """
    package = file.relative_to(folder).parent.parts
    try:
        tree = ast.parse(file.read_bytes(), str(file))
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join((*above, *filter(None, [node.module])))
            yield from filter(None, [base])
            yield from (f"{base}.{alias.name}".strip(".") for alias in node.names)
