"""A stage's output folder; `stage.json` records its config and completed steps."""

import hashlib
import json
import logging
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping

import jax

from actjax import training
from actjax.config import Reader, filled, plain
from actjax.config.changes import as_saved, differences, told
from actjax.paths import rewrite, unused

log = logging.getLogger("actjax")

# Keys that do not change the outputs of a stage. (Class scores are applied after the last stage.)
INDIFFERENT = ("log_every", "save_every", "keep", "class_scores", "class_names", "fps", "max_missing")
# Keys of section `run` that leave the steps before as they are.
LENGTH = ("epochs", "batch_size", "eval_batch_size", "eval_every")


class StageFolder:
    """The folder `WORKDIR/STAGE`. Its `stage.json` holds the config and the data that made the contents, and the
    completed steps.

    Outputs of another config or other data are computed again. If only the length of the training differs, it
    continues. Nothing is written before `begin`.

    Args:
      sections: the config sections that determine the contents.
      mend: True: `begin` moves outputs of another config to `STAGE.old`. False: they are an error.
      readers: functions that read the sections. Configs are compared with their defaults filled in, so a key added by
        a newer version changes nothing while it has its default.
      code: digest of the code that the config brings; "" for none.
      origin: digests of what the contents are made from, by its name in messages, such as "training split". Those
        that `stage.json` lacks, as older versions wrote it, are not compared.

    Attributes:
      done: the completed steps. network: digest of the variables that the outputs were computed with; "" if unknown.
      made_by: digest of the config and the data that the contents are made with, for the files themselves; "" where an
        older version began the folder.
      changed: the keys of the config that differ. others: the names in `origin` of what differs.

    Raises:
      ValueError: the outputs were made with another config, and `mend` is False; `stage.json` is damaged.
    """

    def __init__(
        self,
        workdir: pathlib.Path,
        stage: str,
        sections: dict,
        *,
        mend: bool,
        readers: Mapping[str, Reader] = {},
        code: str = "",
        origin: Mapping[str, str] = {},
    ):
        self.path, self._file = workdir / stage, workdir / stage / "stage.json"
        self._config = compared(sections, readers) | ({"code": code} if code else {})
        self._origin = dict(origin)
        own = json.dumps([self._config, self._origin], sort_keys=True)
        self.made_by = hashlib.sha256(own.encode()).hexdigest()[:16]
        self.done, self.network, self._files = [], "", {}
        self._difference, self._goes_on, self.changed, self.others = "", False, [], []
        try:
            known = _read(self._file)
        except FileNotFoundError:  # a new folder, or process 0 has just renamed the old one
            return
        config = compared(known["config"], readers)
        before = known.get("origin", {})
        self.others = sorted(name for name in self._origin.keys() & before.keys() if self._origin[name] != before[name])
        changes = list(differences(config, self._config))
        self.changed = [key for key, _, _ in changes]
        if not changes and not self.others:
            self.done, self.network, self._files = known["done"], known.get("network", ""), known.get("files", {})
            self.made_by = known.get("made_by", "")
            return
        what = [f"config: {told(changes)}"] * bool(changes) + self.others
        self._difference = f"{self.path} was made with another {' and another '.join(what)}"
        if not mend and changes:
            raise ValueError(
                f"{self._difference}; take its values, or add {stage} to --config.stages and train, or use another "
                "--workdir"
            )
        self._goes_on = not self.others and all(_lengthens(*change, section=f"{stage}.run") for change in changes)

    def begin(self) -> None:
        """Moves outputs of another config or other data away, and writes `stage.json`."""
        if jax.process_index() == 0 and self._difference:
            old = unused(self.path.with_name(f"{self.path.name}.old"))
            (self._copy if self._goes_on else self.path.rename)(old)
            then = "training continues from its checkpoints" if self._goes_on else "running the stage again"
            log.warning("%s; %s, its old outputs are in %s", self._difference, then, old)
        self.save()

    def _copy(self, old: pathlib.Path) -> None:
        """Copies all to `old`, and leaves only what a longer training starts from. A kill in between leaves it as it
        was, to be copied again."""
        shutil.copytree(self.path, old)
        for path in self.path.iterdir():
            if path.name not in ("checkpoints", "metrics.jsonl", "stage.json"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def mark(self, step: str, *made: pathlib.Path) -> None:
        """Marks a step as done, whose outputs are the files `made`, or all in the folders `made`."""
        self.done = [*self.done, step] if step not in self.done else self.done
        if jax.process_index() == 0:
            self._files[step] = {name: seal for path in made for name, seal in self._sealed(path)}
        self.save()

    def made_with(self, network: str, made: pathlib.Path) -> None:
        """Notes the digest of the network that now makes files in the folder `made`, and removes those of another."""
        if self.network not in ("", network) and jax.process_index() == 0 and any(made.iterdir()):
            log.warning("%s: its files were made by another network; they are made again", made)
            shutil.rmtree(made)
            made.mkdir()
        self.network = network
        self.save()
        training.wait_for_all(f"the files of {self.path.name}")

    def fault(self, step: str) -> str:
        """What of the outputs of a step is gone or not as it was written, for messages; "" if nothing is."""
        changed = self._changed(step)
        return self._told(step, changed) if changed else ""

    def _told(self, step: str, changed: list[str]) -> str:
        first = os.path.normpath(self.path / changed[0])
        return (
            f"{self.path}: {len(changed)} of {len(self._files[step])} files of the run are gone or not as they were "
            f"written, such as {first}"
        )

    def check(self, step: str) -> bool:
        """Whether a step is done and its outputs are as it wrote them; others are removed, to be made again."""
        changed = self._changed(step)
        training.wait_for_all(f"the outputs of {self.path.name}")
        if step not in self.done or not changed:
            return step in self.done
        log.warning("%s; they are made again", self._told(step, changed))
        if jax.process_index() == 0:
            for name in changed:
                (self.path / name).unlink(missing_ok=True)
        training.wait_for_all(f"the outputs of {self.path.name}")
        self.done = [each for each in self.done if each != step]
        return False

    def _changed(self, step: str) -> list[str]:
        seals = self._files.get(step, {})
        return [name for name, seal in seals.items() if _seal(self.path / name, like=seal) != seal]

    def _sealed(self, path: pathlib.Path) -> Iterator[tuple[str, str | int]]:
        """Yields each file's path from the stage's folder, and its seal: its digest, in a folder its size."""
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            name = os.path.relpath(file, self.path)
            yield name, _seal(file, like=0 if path.is_dir() else "")

    def save(self) -> None:
        """Writes `stage.json`."""
        if jax.process_index():
            return
        self.path.mkdir(parents=True, exist_ok=True)
        content = {"config": self._config, "origin": self._origin, "done": self.done, "files": self._files}
        content |= {name: value for name in ("network", "made_by") if (value := getattr(self, name))}
        rewrite(self._file, json.dumps(content, indent=1))


def _read(file: pathlib.Path) -> dict:
    """The content of `stage.json`. FileNotFoundError: there is none."""
    try:
        known = json.loads(file.read_text())
        dicts = (known["config"], known.get("origin", {}), *(files := known.get("files", {})).values(), files)
        names = [name for step in files.values() for name in step]
        fine = all(isinstance(each, dict) for each in dicts) and isinstance(known["done"], list)
        if fine and all(map(_in_workdir, names)):
            return known
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise ValueError(f"{file} is damaged; delete or move the folder {file.parent}, and the stage runs again")


def _in_workdir(name: str) -> bool:
    """Whether a path from the folder of a stage leads to a file in it or beside it, which may be made again."""
    parts = pathlib.PurePath(os.path.normpath(name)).parts
    return not os.path.isabs(name) and ".." not in parts[parts[0] == ".." and len(parts) == 2 :]


def _seal(file: pathlib.Path, *, like: str | int) -> str | int | None:
    """The digest of a file, or its size; None if there is no such file."""
    if not file.is_file():
        return None
    if isinstance(like, int):
        return file.stat().st_size
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _lengthens(key: str, was, now, *, section: str) -> bool:
    """Whether a change of the config leaves the steps that were made as they are."""
    section, _, name = key.removeprefix(f"{section}.").rpartition(".")
    return not section and name in LENGTH and (name != "epochs" or now > was)


def compared(sections: Mapping, readers: Mapping[str, Reader]) -> dict:
    """The form in which configs are compared: defaults filled in, `INDIFFERENT` keys removed, types as in JSON."""
    sections = plain(sections) | {name: filled(sections.get(name), reader) for name, reader in readers.items()}
    return as_saved(_decisive(sections))


def _decisive(section):
    """A section without its `INDIFFERENT` keys, at any depth.

    Only the first of several backends counts: the fallbacks read the same frames, see `config.of_a_run`.
    """
    if not isinstance(section, dict):
        return section
    first = lambda name, value: value[0] if name == "backend" and isinstance(value, list | tuple) else value
    return {name: _decisive(first(name, value)) for name, value in section.items() if name not in INDIFFERENT}
