"""A stage's output folder; `stage.json` records its config and completed steps."""

import json
import logging
import pathlib
import shutil
from collections.abc import Mapping

import jax

from actjax.config import Reader, filled, plain
from actjax.config.changes import as_saved, differences, told
from actjax.paths import replace, unused

log = logging.getLogger("actjax")

# Keys that do not change the outputs of a stage. (Class scores are applied after the last stage.)
INDIFFERENT = ("log_every", "save_every", "keep", "class_scores", "class_names", "fps", "max_missing")
# Keys of section `run` that leave the steps before as they are.
LENGTH = ("epochs", "batch_size", "eval_batch_size", "eval_every")


class StageFolder:
    """The folder `WORKDIR/STAGE`. Its `stage.json` holds the config that made the contents, and the completed steps.

    Outputs of another config are computed again. If only the length of the training differs, it continues.

    Args:
      sections: the config sections that determine the contents.
      mend: True: outputs of another config are moved to `STAGE.old`. False: they are an error.
      readers: functions that read the sections. Configs are compared with their defaults filled in, so a key added by
        a newer version changes nothing while it has its default.
      code: digest of the code that the config brings; "" for none.

    Raises:
      ValueError: the outputs were made with another config, and `mend` is False.
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
    ):
        self.path, self._file = workdir / stage, workdir / stage / "stage.json"
        self._config = _compared(sections, readers) | ({"code": code} if code else {})
        self.done: list[str] = []
        try:
            known = json.loads(self._file.read_text())
        except FileNotFoundError:  # a new folder, or process 0 has just renamed the old one
            return
        config = _compared(known["config"], readers)
        if config == self._config:
            self.done = known["done"]
            return
        changes = list(differences(config, self._config))
        difference = f"{self.path} was made with another config: {told(changes)}"
        if not mend:
            raise ValueError(f"{difference}; add {stage} to --config.stages, or use another --workdir")
        if jax.process_index() == 0:
            self._replace(difference, goes_on=all(_lengthens(*change, section=f"{stage}.run") for change in changes))

    def _replace(self, difference: str, *, goes_on: bool) -> None:
        """Moves the outputs to `STAGE.old`. `goes_on`: the training starts from a copy of their checkpoints."""
        old = unused(self.path.with_name(f"{self.path.name}.old"))
        self.path.rename(old)
        if goes_on and (old / "checkpoints").is_dir():
            shutil.copytree(old / "checkpoints", self.path / "checkpoints")
            shutil.copy(old / "metrics.jsonl", self.path / "metrics.jsonl")
        then = "training continues from its checkpoints" if goes_on else "running the stage again"
        log.warning("%s; %s, its old outputs are in %s", difference, then, old)

    def mark(self, step: str) -> None:
        """Marks a step as done."""
        self.done.append(step)
        self.save()

    def save(self) -> None:
        """Writes `stage.json`."""
        if jax.process_index():
            return
        self.path.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"config": self._config, "done": self.done}, indent=1)
        replace(self._file, lambda file: file.write(text.encode()))


def _lengthens(key: str, was, now, *, section: str) -> bool:
    """Whether a change of the config leaves the steps that were made as they are."""
    section, _, name = key.removeprefix(f"{section}.").rpartition(".")
    return not section and name in LENGTH and (name != "epochs" or now > was)


def _compared(sections: Mapping, readers: Mapping[str, Reader]) -> dict:
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
