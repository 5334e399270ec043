"""A folder for every stage, which knows what config its contents belong to and how far they are."""

import json
import logging
import pathlib
from collections.abc import Iterator, Mapping

import jax

from actjax.config import Reader, filled, plain
from actjax.paths import replace

log = logging.getLogger("actjax")

# What changes no output of a stage. (Class scores make detections of the proposals, after all of them.)
INDIFFERENT = ("log_every", "save_every", "keep", "class_scores", "class_names", "fps", "max_missing")


class StageFolder:
    """`WORKDIR/STAGE`, with `stage.json`: the config that its contents belong to, and which steps are done.

    Args:
      sections: what of the config decides over the contents.
      mend: whether contents of another config may be moved aside, to `STAGE.old`; otherwise they are an error.
      readers: of the sections. Configs are compared with their defaults filled in: a key that a newer version takes
        changes nothing as long as it has its default.

    Raises:
      ValueError: the folder holds what another config made, and must stay.
    """

    def __init__(
        self, workdir: pathlib.Path, stage: str, sections: dict, *, mend: bool, readers: Mapping[str, Reader] = {}
    ):
        self.path, self._file = workdir / stage, workdir / stage / "stage.json"
        self._config = _compared(sections, readers)
        self.done: list[str] = []
        try:
            known = json.loads(self._file.read_text())
        except FileNotFoundError:  # a new folder, or process 0 has just moved an old one aside
            return
        config = _compared(known["config"], readers)
        if config == self._config:
            self.done = known["done"]
            return
        name, was, now = next(_differences(config, self._config))
        difference = f"{self.path} was made with {name}={was}, now it is {now}"
        if not mend:
            raise ValueError(f"{difference}; add {stage} to --config.stages, or name another --workdir")
        if jax.process_index() == 0:
            old = next(p for k in range(10**6) if not (p := self.path.with_name(f"{stage}.old{k or ''}")).exists())
            self.path.rename(old)
            log.warning("%s; it is made anew, what was there is in %s", difference, old)

    def mark(self, step: str) -> None:
        """Says that a step is done."""
        self.done.append(step)
        self.save()

    def save(self) -> None:
        """Writes `stage.json`."""
        if jax.process_index():
            return
        self.path.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"config": self._config, "done": self.done}, indent=1)
        replace(self._file, lambda file: file.write(text.encode()))


def _compared(sections: Mapping, readers: Mapping[str, Reader]) -> dict:
    """What two configs are compared by: with all defaults, without what is indifferent, as it is read from JSON."""
    sections = plain(sections) | {name: filled(sections.get(name), reader) for name, reader in readers.items()}
    return json.loads(json.dumps(_decisive(sections)))


def _decisive(section):
    """A section without what is indifferent, at any depth.

    Of several backends the first counts: the others read the same frames where it cannot, see `config.of_a_run`.
    """
    if not isinstance(section, dict):
        return section
    first = lambda name, value: value[0] if name == "backend" and isinstance(value, list | tuple) else value
    return {name: _decisive(first(name, value)) for name, value in section.items() if name not in INDIFFERENT}


def _differences(was, now, name: str = "config") -> Iterator[tuple[str, object, object]]:
    """(dotted name, value before, value now) of everything that differs."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in was.keys() | now.keys():
            yield from _differences(was.get(key), now.get(key), f"{name}.{key}")
    elif was != now:
        yield name, was, now
