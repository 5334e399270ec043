"""A config by name, file, value or workdir -> its run, with overrides applied and its own code importable."""

import contextlib
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from actjax.config import of_a_run, own_code
from actjax.config.active_code import ActiveCode, turn_of
from actjax.config.files import load_config, saved_config
from actjax.config.overrides import override
from actjax.paths import is_url, to_path
from actjax.tasks import Registered, build, registered
from actjax.workdir import logging_to


class Opened(NamedTuple):
    """A run, its config, which a workdir can save, its task, and the code that the config brings, if any."""

    config: ConfigDict
    run: Any
    task: Registered
    code: ActiveCode | None = None

    def turn(self) -> contextlib.AbstractContextManager:
        """A context in which this code can be imported; to use the run, enter it."""
        return turn_of(self.code)

    def other(self, workdir, *, checkpoint=None, **changes):
        """Another run, trained, as `actjax.load` gives it. Its code is run if it was made on this computer."""
        return load_run(to_path(workdir), checkpoint=checkpoint, changes=changes)


def load_run(workdir: pathlib.Path, *, checkpoint=None, changes: Mapping[str, Any], trust_code: bool = False):
    """The trained run of a workdir; errors as `open_workdir`, and of its checkpoint."""
    opened = open_workdir(workdir, changes, trust_code=trust_code)
    with opened.turn():
        return opened.task.trained(opened, workdir, checkpoint=None if checkpoint is None else str(checkpoint))


def open_config(
    source, changes: Mapping[str, Any], *, workdir: pathlib.Path | None = None, keep_code: bool = True
) -> Opened:
    """The run of a recipe, a config file or a config, as `config.files.load_config` takes them.

    The code that the config names lies beside its file; beside no file, in the current folder.

    Args:
      changes: see `config.overrides.override`.
      workdir: where the run is or will be: its lists decide a split, and it gets a copy of this code; None: no place.
      keep_code: False: it gets no copy.

    Raises:
      FileNotFoundError, ValueError: no such config, a key or name that is not known, a value that does not fit.
      FileExistsError: `workdir` is a file.
    """
    if workdir is not None and workdir.exists() and not workdir.is_dir():
        raise FileExistsError(f"{workdir} is not a folder; choose another workdir")
    config, file = load_config(source)
    if own_code.FOLDER in config:  # of a saved config
        del config[own_code.FOLDER]
    code = own_code.of_config(file, {"config": config, "changes": changes})
    active = ActiveCode(code.files) if code is not None and code.files else None
    with turn_of(active):
        task = registered(config)
        config, equip = _settled(_overridden(config, changes, task), task, workdir)
        if code is not None:
            code._replace(names=own_code.dotted_names(config)).remember()
        if active:
            config.update({own_code.FOLDER: code.digest})
        if active and workdir is not None and keep_code:
            code.save(workdir)
        return Opened(config, equip(build(config)), task, active)


def open_workdir(workdir: pathlib.Path, changes: Mapping[str, Any], *, trust_code: bool = False) -> Opened:
    """The run that a workdir holds, by its saved config.

    Raises:
      FileNotFoundError: no saved config, or the run's code is missing. ValueError: as `open_config`; the run has code
        that was not made here, and `trust_code` is False.
    """
    if not isinstance(trust_code, bool):
        raise ValueError(f"trust_code={trust_code!r}; must be True or False")
    _check_links(workdir)
    saved = saved_config(workdir)
    code, typed = own_code.of_workdir(workdir, saved), own_code.of_config(None, changes)
    with own_code.allowed(code, workdir, trust=trust_code, typed=typed) as active:
        task = registered(saved)
        config, equip = _settled(_overridden(of_a_run(saved), changes, task), task, workdir)
        return Opened(config, equip(build(config)), task, active)


def _check_links(workdir: pathlib.Path) -> None:
    """Raises ValueError for a link in place of a file that a mode would overwrite, as a strange workdir may have."""
    for path in () if is_url(workdir) else sorted(workdir.iterdir()):
        if path.is_symlink() and not path.is_dir():
            raise ValueError(f"{path} is a symbolic link to {path.readlink()}; replace it by a copy of the file")


def _settled(config: Mapping, task: Registered, workdir: pathlib.Path | None) -> tuple[ConfigDict, Callable]:
    """The config with what its data decide, and the function that gives its run what was found."""
    with logging_to(None):
        settled = task.settle(config, workdir)
    return ConfigDict(settled.config), settled.equip


def _overridden(config: Mapping, changes: Mapping[str, Any], task: Registered) -> ConfigDict:
    """The config with `changes`; keys that a new `name` drops are shown to the user."""
    with logging_to(None):
        return ConfigDict(override(config, changes, task.reader))
