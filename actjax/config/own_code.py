"""Code that comes with a config: its own file and the Python files beside it that it uses.

A config names functions of these files as "my_config:crop" or "nets:Net". A run keeps a copy in `WORKDIR/code/DIGEST`
and imports from there, so that later edits do not reach its reader processes, and so that `eval`, `predict` and
`export` find the code from any folder. A copy that somebody else made runs only when it is trusted by name.
"""

import ast
import contextlib
import hashlib
import importlib.util
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

FOLDER = "code"  # in a workdir
_DOTTED = re.compile(r"([A-Za-z_][\w.]*):[A-Za-z_]\w*")


class OwnCode(NamedTuple):
    """The Python files that a config brings, and the dotted names in it.

    folder: of the files.
    files: paths relative to `folder`, sorted; the config's own file among them.
    names: the dotted names, sorted.
    """

    folder: pathlib.Path
    files: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Of the files' names and contents."""
        digest = hashlib.sha256()
        for file in self.files:
            content = (self.folder / file).read_bytes()
            digest.update(f"{file} {len(content)}\n".encode() + content)
        return digest.hexdigest()[:16]

    @property
    def modules(self) -> tuple[str, ...]:
        """The names of the modules in the files."""
        dotted = (file.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for file in self.files)
        return tuple(sorted(dotted))

    def save(self, workdir: pathlib.Path) -> "OwnCode":
        """Copies the files into a workdir, if it does not have them -> the copy."""
        target = workdir / FOLDER / self.digest
        if is_url(workdir):
            for file in self.files:
                (target / file).parent.mkdir(parents=True, exist_ok=True)
                (target / file).write_bytes((self.folder / file).read_bytes())
            return self
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as temporary:
                new = pathlib.Path(temporary, "new")
                for file in self.files:
                    (new / file).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(self.folder / file, new / file)
                with contextlib.suppress(OSError):  # another process of the run was faster
                    new.rename(target)
        return self._replace(folder=target)

    def activate(self, *, first: bool = True) -> None:
        """Puts the folder on Python's path; modules of these names that were imported before are forgotten.

        Args:
          first: the folder holds these files alone, and comes before all others. False: it comes last.

        Raises:
          ValueError: a file has the name of a module of Python or of a library.
        """
        folder = str(self.folder.resolve())
        tops = {module.partition(".")[0] for module in self.modules}
        for top in tops:
            if top in sys.stdlib_module_names or not _replaceable(sys.modules.get(top)):
                raise ValueError(f"{self.folder / top}.py has the name of a module of Python or a library; rename it")
        for module in [name for name in sys.modules if name.partition(".")[0] in tops]:
            del sys.modules[module]
        others = [entry for entry in sys.path if entry != folder]
        sys.path[:] = [folder, *others] if first else [*others, folder]
        importlib.invalidate_caches()
        for top in tops:
            found = importlib.util.find_spec(top)
            if not (found and pathlib.Path(found.origin or folder).resolve().is_relative_to(folder)):
                raise ValueError(f"{self.folder / top}.py: Python finds {found and found.origin} first; rename it")

    def remember(self) -> None:
        """Records that the user runs this code, so that its copies run without being asked for."""
        self._marker.parent.mkdir(parents=True, exist_ok=True)
        self._marker.touch()

    @property
    def trusted(self) -> bool:
        """Whether the user ran this code under these names before."""
        return self._marker.exists()

    @property
    def _marker(self) -> pathlib.Path:
        key = hashlib.sha256(repr((self.names, self.digest)).encode()).hexdigest()[:32]
        return cache_folder() / "own_code" / key


def _replaceable(module) -> bool:
    """Whether there is no loaded module of a name, or one that does not come from an installed package."""
    parts = pathlib.Path(getattr(module, "__file__", None) or "").parts
    return module is None or not {"site-packages", "dist-packages"} & set(parts)


def dotted_names(config: Mapping) -> tuple[str, ...]:
    """All values in a config that look like "package.module:name", sorted."""
    found = set()

    def visit(value) -> None:
        if isinstance(value, Mapping):
            value = value.values()
        if isinstance(value, str):
            found.update([value] if _DOTTED.fullmatch(value) else [])
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
        folder, todo = file.parent.resolve(), [file.resolve()]
    for name in names:
        todo += _files(folder, name.partition(":")[0])
    found: set[pathlib.Path] = set()
    while todo:
        file = todo.pop()
        if file not in found:
            found.add(file)
            todo += [path for name in _imported(file, folder) for path in _files(folder, name)]
    return OwnCode(folder, tuple(sorted(path.relative_to(folder).as_posix() for path in found)), names)


def of_workdir(workdir: pathlib.Path, config: Mapping) -> OwnCode | None:
    """The copy that a run has of its code; None if its config names none.

    Args:
      config: the saved config; its key `code` is the name of the copy.

    Raises:
      FileNotFoundError: the copy is missing.
    """
    names, digest = dotted_names(config), config.get(FOLDER)
    if not digest:
        return OwnCode(pathlib.Path(), (), names) if names else None
    if not re.fullmatch(r"[0-9a-f]{16}", str(digest)):
        raise ValueError(f"{workdir / 'config.json'}: code={digest!r} is not the name of a copy")
    folder = workdir / FOLDER / digest
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}, the code of this run, is missing; copy it from where the run was made")
    if is_url(workdir):
        folder = _fetched(folder)
    files = tuple(sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py")))
    return OwnCode(folder, files, names)


def _fetched(folder) -> pathlib.Path:
    """A local copy of a folder in an object store."""
    local = pathlib.Path(tempfile.mkdtemp(prefix="actjax-code-"))
    for path in folder.rglob("*.py"):
        file = local / path.relative_to(folder)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(path.read_bytes())
    return local


@contextlib.contextmanager
def allowed(code: OwnCode | None, where, *, trust: bool) -> Iterator[None]:
    """A context in which a run's config may be built: with its code active, or without any if it is not trusted.

    Raises (when the config names a function that is not of actjax):
      ValueError: the code was not made here, and `trust` is False.
    """
    if code is None:
        yield
    elif trust or code.trusted:
        if code.files:
            code.activate()
        yield
    else:
        what = f"code of its own, {', '.join(code.files)} in {code.folder}" if code.files else ", ".join(code.names)
        with refusing(f"{where} runs {what}, and was not made here: read it, then add --trust_code (trust_code=True)"):
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
