"""A trained run, for use from Python."""

import contextlib
import pathlib
import tempfile
import time
from collections.abc import Iterator

from actjax.data.loading.quarantine import entries
from actjax.paths import absolute, does_not_exist
from actjax.tasks.running import Call, names_of
from actjax.tasks.videos import is_several
from actjax.workdir import logging_to
from actjax.writable import check_writable


class Trained:
    """A trained run. As a context manager it ends its processes: `with actjax.load("runs/mine") as trained:`.

    Attributes:
      config: the config of the run.
      class_names: the names of the classes; empty for tasks without classes.
      workdir: folder of the run; None if it was loaded from a checkpoint of another program.
    """

    def __init__(self, opened, workdir: pathlib.Path | None, *, checkpoint: str | int | None = None):
        self.config, self.workdir = opened.config, absolute(workdir) if workdir else None
        self._opened, self._checkpoint = opened, checkpoint
        self.class_names = names_of(opened.config, workdir) if workdir else self._names_of_config()

    @property
    def run(self):
        """The run that the config describes."""
        return self._opened.run

    def __repr__(self) -> str:
        step = f", step {self.step}" if hasattr(self, "step") else ""
        return f"<{type(self).__name__} {self.config.task}: {self.workdir}{step}, {len(self.class_names)} classes>"

    def __getattr__(self, name: str):
        if name in ("predict", "scores", "embed"):
            raise AttributeError(
                f"runs of the task {self.config.task!r} have no {name}; their results are in the workdir"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def close(self) -> None:
        """Ends the processes of this object, if it has any."""

    def _names_of_config(self) -> list[str]:
        raise ValueError(
            f"task {self.config.task}: a checkpoint of another program cannot be loaded alone; import it with "
            "--mode=import, then load the run"
        )

    def evaluate(self, *, protocol: str = "test") -> dict:
        """`--mode=eval`: scores the validation split and writes the same files -> metrics.

        Args:
          protocol: the config section that describes the clips, "test" or "eval".
        """
        if self.workdir is None:
            raise ValueError("evaluate() needs a workdir: import the checkpoint with --mode=import, then load the run")
        call = Call("eval", self.config, self.workdir, time.perf_counter(), protocol=protocol)
        call = call._replace(checkpoint=None if self._checkpoint is None else str(self._checkpoint))
        if not self.workdir.is_dir():
            raise FileNotFoundError(f"the run {does_not_exist(self.workdir)}; load it again from where it is")
        check_writable(self.workdir, "eval")
        with self._opened.turn(), logging_to(self.workdir / "train.log"):
            return self._opened.task.modes["eval"](self._opened.run, call)

    def propose(self, videos: list[str], *, out: pathlib.Path | None = None) -> dict[str, list[dict]]:
        """Class-agnostic segments of videos, {path: [{"segment": [start, end] in seconds, "score"}]}, for SSN.

        Args:
          out: a folder where features or scores stay, so that a killed call goes on; None: they do not.
        """
        with self._call(video=videos, out=out) as call:
            found = self._opened.task.locate(self._opened.run, call)
        return {each.path: _once(each.segments) for each in found}

    def localize(self, video=None, *, features=None, network=None, proposals=None) -> list[dict]:
        """Where actions are in a video, as `--mode=localize` finds them.

        Args:
          video: a path; or a list, a folder or a pattern of paths. None with `features`.
          features: BSN, BMN: a feature file, or a folder of them, in place of videos.
          network: BSN, BMN: the run that makes the features, if it is not where it was.
          proposals: SSN: a run of BSN, BMN, TSN or TSM, or a result file.

        Returns:
          [{"segment": (start, end) in seconds, "score", and where classes are known "class"}], best first. For several
          videos a row for each, {"video", "segments"}, or {"video", "error"} if it cannot be read; for one video that
          cannot be read the list of its row.

        Raises:
          FileNotFoundError, ValueError: as the mode.
        """
        if self.workdir is None:
            raise ValueError("localize() needs a workdir: import the checkpoint with --mode=import, then load the run")
        with self._call(video=video, features=features, network=network, proposals=proposals) as call:
            found = self._opened.task.locate(self._opened.run, call)
            broken = broken_of(pathlib.Path(call.out))
        rows = [{"video": each.path or each.name, "segments": _pairs(each.segments)} for each in found]
        several = is_several(features if video is None else video)
        return rows + broken if several or len(rows) != 1 else rows[0]["segments"]

    @contextlib.contextmanager
    def _call(self, *, out: pathlib.Path | None = None, **given) -> Iterator[Call]:
        """A call of localize, whose files are gone at the end unless they go to `out`."""
        given |= dict(checkpoint=None if self._checkpoint is None else str(self._checkpoint), load=self._opened.other)
        with tempfile.TemporaryDirectory(prefix="actjax-") as passing, self._opened.turn(), logging_to(None):
            call = Call("localize", self.config, self.workdir, time.perf_counter(), out=str(out or passing), **given)
            yield call


def broken_of(folder: pathlib.Path) -> list[dict]:
    """The videos that the quarantines of a folder list, each once: [{"video", "error"}]."""
    rows = [row for file in sorted(folder.rglob("quarantine*.jsonl")) for row in entries(file)]
    return [{"video": path, "error": reason} for path, reason in {row["path"]: row["reason"] for row in rows}.items()]


def _once(rows: list[dict]) -> list[dict]:
    """Rows, best first, without classes: each segment with its best score."""
    best = {tuple(row["segment"]): row["score"] for row in reversed(rows)}
    return [{"segment": list(segment), "score": score} for segment, score in reversed(best.items())]


def _pairs(rows: list[dict]) -> list[dict]:
    return [{"segment": tuple(row["segment"])} | {k: v for k, v in row.items() if k != "segment"} for row in rows]
