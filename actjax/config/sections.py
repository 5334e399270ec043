"""Config files -> checked calls: every section of a config holds the keyword arguments of one function.

So no key goes unread and no argument is missing: an unknown key stops the launch and the error suggests the nearest.
"""

import builtins
import contextlib
import contextvars
import difflib
import functools
import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import SimpleNamespace

from ml_collections import ConfigDict

from actjax.config.values import fitted


def parse_arg(arg: str | None, **defaults) -> SimpleNamespace:
    """Parses the text after the colon of `--config=file.py:frames=16,tsn` -> a namespace with the names of `defaults`.

    Values take the type of their default; the bare name of a boolean means True.

    Raises:
      ValueError: an unknown name (lists all names), a value of another type, a bare name that is not a boolean.
    """
    values = dict(defaults)
    for part in filter(None, (arg or "").split(",")):
        name, equals, text = part.partition("=")
        if name not in defaults:
            raise ValueError(f"config argument {unknown(name, defaults)}")
        kind = type(defaults[name])
        if kind is bool:
            if text.lower() not in ("", "true", "false"):
                raise ValueError(f"config argument {part!r}: {name} must be true or false")
            values[name] = text.lower() != "false"
            continue
        if not equals:
            raise ValueError(f"config argument {part!r}: write {name}=VALUE")
        try:
            values[name] = kind(text)
        except ValueError:
            raise ValueError(f"config argument {part!r}: {name} must be of type {kind.__name__}") from None
    return SimpleNamespace(**values)


def bind(
    function: Callable, section: Mapping, where: str, *, given: tuple[str, ...] = (), positional: int = 0
) -> Callable:
    """`function` with its keyword arguments taken from a config section, checked against its signature.

    Args:
      section: the arguments; nested sections are passed on as plain dicts.
      where: the section's dotted name, for errors.
      given: arguments that the caller passes later; the config must not set them.
      positional: how many more it passes by position, whatever their names.

    Raises:
      ValueError: a key that the function does not take, a required argument that is missing, or a value of another type
        than the function's annotation.
    """
    section = as_section(section, where)
    parameters, passes_on = parameters_of(function, given, positional=positional)
    for key in section:
        if key not in parameters and not passes_on:
            raise ValueError(f"{where}.{unknown(key, parameters)}")
    needed = [name for name, parameter in parameters.items() if parameter.default is parameter.empty]
    if missing := [f"{where}.{name}" for name in needed if name not in section]:
        raise ValueError(f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    for key in section.keys() & parameters.keys():
        section[key] = _fitted(section[key], parameters[key], f"{where}.{key}")
    return functools.partial(function, **section)


def _fitted(value, parameter: inspect.Parameter, where: str):
    """A value of the type that the parameter has in its function, or its default."""
    if value is parameter.default:
        return value
    try:
        return fitted(value, parameter.annotation)
    except ValueError as error:
        raise ValueError(f"{where}={value!r}: {error}") from None


def pick(table: Mapping[str, Callable], section: Mapping, where: str, **passed) -> Callable:
    """`{"name": "center", "size": 224}` -> `table["center"]` with `size=224`, checked as by `bind`.

    `passed`: `given` and `positional` of `bind`. The name may be "package.module:name", see `find`.
    """
    section = as_section(section, where)
    if "name" not in section:
        raise ValueError(f"{where}.name is missing; choose from {sorted(table)}, or write 'package.module:name'")
    return bind(find(table, section.pop("name"), f"{where}.name"), section, where, **passed)


def find(table: Mapping[str, Callable], name: str, where: str) -> Callable:
    """`table[name]`, or what a dotted name names: "package.module:name" is `name` of the module `package.module`.

    Args:
      where: the dotted name of the config's key, for errors.

    Raises:
      ValueError: an unknown name; a dotted name whose module or attribute does not exist or cannot be called; no text.
    """
    if not isinstance(name, str):
        raise ValueError(f"{where}={name!r}: configs hold names; write 'package.module:name' for your own function")
    module, colon, attribute = name.partition(":")
    if not colon:
        if name not in table:
            raise ValueError(f"{where}={unknown(name, table)}, or write 'package.module:name'")
        return table[name]
    if not all(part.isidentifier() for part in (*module.split("."), attribute)):
        raise ValueError(f"{where}={name!r}: write 'package.module:name'")
    if module == "__main__":
        raise ValueError(f"{where}={name!r}: put {attribute} into a file, and write 'that_file:{attribute}'")
    reason, besides = _refusal.get()
    if reason and name not in besides:
        raise ValueError(f"{where}={name!r}: {reason}")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module and not module.startswith(f"{error.name}."):
            raise  # an import inside the module failed
        raise ValueError(f"{where}={name!r}: there is no module {error.name!r} on Python's path") from error
    if not callable(function := getattr(found, attribute, None)):
        known = [known for known, value in vars(found).items() if callable(value) and not known.startswith("_")]
        file = getattr(found, "__file__", None) or module
        file = re.sub(r".*/actjax-code-[^/]*/", "", file)  # the private copy of a config's own code
        raise ValueError(f"{where}={name!r}: in {file}, {unknown(attribute, known)}")
    try:
        inspect.signature(function)
    except ValueError as error:
        raise ValueError(f"{where}={name!r}: its arguments are not known, write a function around it") from error
    return function


_refusal: contextvars.ContextVar[tuple] = contextvars.ContextVar("refusal", default=("", ()))


@contextlib.contextmanager
def refusing(reason: str, *, besides: Iterable[str] = ()) -> Iterator[None]:
    """A context in which `find` refuses all dotted names but those in `besides`, before anything is imported."""
    token = _refusal.set((reason, frozenset(besides)))
    try:
        yield
    finally:
        _refusal.reset(token)


def parameters_of(
    function: Callable, given: tuple[str, ...], *, positional: int = 0
) -> tuple[dict[str, inspect.Parameter], bool]:
    """Arguments that a config may set, and whether `**kwargs` pass others on to a function that checks them itself."""
    signature = list(_signature(function).parameters.values())
    by_position = [p for p in signature if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:positional]
    named = [p for p in signature if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p not in by_position]
    parameters = {p.name: p for p in named if p.name not in given}
    return parameters, any(p.kind is p.VAR_KEYWORD for p in signature)


def _signature(function: Callable) -> inspect.Signature:
    """With annotations as types; those that cannot be evaluated, such as names for type checkers, are left out."""
    signature = inspect.signature(function)
    names = vars(inspect.getmodule(inspect.unwrap(function)) or builtins)

    def typed(parameter: inspect.Parameter) -> inspect.Parameter:
        if not isinstance(parameter.annotation, str):
            return parameter
        try:
            return parameter.replace(annotation=eval(parameter.annotation, dict(names)))
        except Exception:
            return parameter.replace(annotation=parameter.empty)

    return signature.replace(parameters=[typed(parameter) for parameter in signature.parameters.values()])


def as_section(section, where: str) -> dict:
    """A section as a dict of its own. ValueError: it is none."""
    section = plain(section)
    if not isinstance(section, dict):
        raise ValueError(f"{where}: expected a section of keys and values, got {section!r}")
    return section


def plain(section):
    """ConfigDicts and mappings, at any depth -> dicts; anything else is unchanged."""
    if isinstance(section, (Mapping, ConfigDict)):
        return {key: plain(value) for key, value in section.items()}
    return section


def of_a_run(config: Mapping) -> ConfigDict:
    """The config of a trained run, with PyAV as the fallback where its backend is missing or cannot read a video."""

    def read_by(key, value):
        if key == "backend" and value in ("decord", "opencv"):
            return (value, "pyav")
        return {k: read_by(k, v) for k, v in value.items()} if isinstance(value, dict) else value

    return ConfigDict(read_by("", plain(config)))


def unknown(name, known) -> str:
    """The end of an error message: the nearest known name, and all known names."""
    same = [key for key in known if str(key).lower() == synonym(name).lower()]
    near = same or difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.5)
    return f"{name!r} is unknown; {f'did you mean {near[0]!r}? ' if near else ''}choose from {sorted(known)}"


# Names that other programs have for keys of a config.
_SYNONYMS = {
    "learning_rate": "lr",
    "wd": "weight_decay",
    "grad_clip": "clip_norm",
    "max_grad_norm": "clip_norm",
    "num_epochs": "epochs",
    "max_epochs": "epochs",
    "bs": "batch_size",
    "workers": "num_workers",
    "workers_per_gpu": "num_workers",
    "videos_per_gpu": "batch_size",
    "precision": "dtype",
    "backbone": "arch",
}


def synonym(name) -> str:
    """The name that a key has here, of a name that it has in other programs; other names are unchanged."""
    return _SYNONYMS.get(str(name), str(name))
