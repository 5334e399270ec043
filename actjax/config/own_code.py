"""Code that comes with a config: its own file and the Python files beside it that it uses.

A config names functions of these files as "my_config:crop" or "nets:Net". A run keeps a copy in `WORKDIR/code/DIGEST`
and imports from there, so that later edits do not reach its reader processes, and so that `eval`, `predict` and
`export` find the code from any folder. A copy that somebody else made runs only when it is trusted by name.
"""

import ast
import atexit
import contextlib
import hashlib
import importlib
import json
import logging
import pathlib
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from actjax.config import plain, refusing
from actjax.config.recipe_files import recipe_folder
from actjax.paths import cache_folder, is_url

log = logging.getLogger("actjax")

FOLDER = "code"  # in a workdir
_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_private: list[str] = []  # folders from which code of configs is imported in this process


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
            return _write(self.files, target)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as temporary:
            _write(self.files, pathlib.Path(temporary, "new"))
            if target.exists():
                log.warning("%s was changed by somebody; it is written again", target)
                target.rename(pathlib.Path(temporary, "changed"))
            with contextlib.suppress(OSError):  # another process of the run was faster
                pathlib.Path(temporary, "new").rename(target)

    def activate(self) -> None:
        """Makes the files importable, from a private copy, in place of those of the configs before.

        The copy holds nothing else, so that no neighbour of the files hides a module of Python, and nothing that was
        added to a workdir runs.

        Raises:
          ValueError: a file has the name of a module of Python or of a library.
        """
        tops = {file.partition("/")[0].removesuffix(".py") for file in self.files}
        for top in tops:
            if top in sys.stdlib_module_names or not _replaceable(sys.modules.get(top)):
                raise ValueError(f"{self.folder / top}.py has the name of a module of Python or a library; rename it")
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] in tops or _is_private(module):
                del sys.modules[name]
        folder = tempfile.mkdtemp(prefix="actjax-code-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        _write(self.files, pathlib.Path(folder))
        sys.path[:] = [folder, *(entry for entry in sys.path if entry not in _private)]
        _private.append(folder)
        importlib.invalidate_caches()

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


def _replaceable(module) -> bool:
    """Whether there is no loaded module of a name, or one that does not come from an installed package."""
    parts = pathlib.Path(getattr(module, "__file__", None) or "").parts
    return module is None or not {"site-packages", "dist-packages"} & set(parts)


def _is_private(module) -> bool:
    """Whether a module was imported from the code of a config."""
    file = getattr(module, "__file__", None) or ""
    return any(file.startswith(f"{folder}/") for folder in _private)


def _write(files: Mapping[str, bytes], folder: pathlib.Path) -> None:
    for file, content in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)


def _read(folder: pathlib.Path) -> dict[str, bytes]:
    """The Python files in a folder; links, which may lead anywhere, are not followed."""
    paths = [path for path in folder.rglob("*.py") if path.is_file() and not _linked(path, folder)]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _linked(path: pathlib.Path, folder: pathlib.Path) -> bool:
    """Whether a path in a local folder, or a folder between the two, is a symbolic link."""
    places = [path, *path.parents]
    return not is_url(folder) and any(place.is_symlink() for place in places[: places.index(folder)])


def dotted_names(config: Mapping) -> tuple[str, ...]:
    """All values in a config that look like "package.module:name", sorted."""
    found = set()

    def visit(value) -> None:
        if isinstance(value, Mapping):
            value = value.values()
        if isinstance(value, str):
            parts = (part.strip() for part in re.split(r"[,()\[\]{}'\"]", value))  # text may list several
            found.update(part for part in parts if _DOTTED.fullmatch(part))
        elif isinstance(value, Iterable):
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
      FileNotFoundError: the copy is missing.
    """
    names, digest = dotted_names(config), config.get(FOLDER)
    if not digest:
        return OwnCode(pathlib.Path(), {}, names) if names else None
    if not re.fullmatch(r"[0-9a-f]{16}", str(digest)):
        raise ValueError(f"{workdir / 'config.json'}: code={digest!r} is not the name of a copy")
    folder = workdir / FOLDER / digest
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}, the code of this run, is missing; copy it from where the run was made")
    return OwnCode(folder, _read(folder), names)


@contextlib.contextmanager
def allowed(code: OwnCode | None, where, *, trust: bool, typed: Iterable[str] = ()) -> Iterator[None]:
    """A context in which a run's config may be built: with its code active, or without any if it is not trusted.

    Args:
      where: the workdir, for errors.
      typed: dotted names that the user gave for this call.

    Raises (when the config names a function that is not of actjax):
      ValueError: the code was not made here, and `trust` is False.
    """
    if code is not None and (trust or code.trusted):
        if code.files:
            code.activate()
        yield
        return
    files = f"code of its own, {', '.join(sorted(code.files))} in {code.folder}" if code and code.files else ""
    what = files or ", ".join(code.names if code else ()) or "code"
    reason = f"{where} runs {what}, and was not made here: read it, then add --trust_code (trust_code=True)"
    with refusing(reason, besides=typed):
        yield


def _files(folder: pathlib.Path, module: str) -> list[pathlib.Path]:
    """The files in `folder` that are run when `module` is imported."""
    found, place = [], folder
    if module.partition(".")[0] == "actjax":  # a config in the folder of a clone
        return []
    for part in module.split("."):
        found += [place / part / "__init__.py", place / f"{part}.py"]
        place /= part
    return [path for path in found if path.is_file()]


def _imported(file: pathlib.Path, folder: pathlib.Path) -> Iterator[str]:
    """The modules that a file may import, anywhere in it; names imported from modules may be modules, too."""
    package = file.relative_to(folder).parent.parts
    for node in ast.walk(ast.parse(file.read_bytes(), str(file))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join((*above, *filter(None, [node.module])))
            yield from filter(None, [base])
            yield from (f"{base}.{alias.name}".strip(".") for alias in node.names)
