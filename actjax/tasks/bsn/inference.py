"""What the networks of BSN and BMN make of videos: curves, proposals, and their scores."""

import functools
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from actjax import training
from actjax.data.loading.endings import patiently
from actjax.data.loading.quarantine import Quarantine
from actjax.paths import replace
from actjax.tables import write_table
from actjax.tasks.bsn.items import Split
from actjax.tasks.bsn.proposals import PGM_HEADER, Pgm, generate, results_of
from actjax.video.errors import VideoError
from actjax.video_files import found_file
from actjax.workdir import progress

TEM_HEADER = "action,start,end,tmin,tmax"


class Inference(NamedTuple):
    """Applies networks to videos; all hosts share the videos, and process 0 writes.

    networks: stage -> `run.StageNetwork`. quarantine: records videos whose files cannot be read.
    stems: video -> the name of its files between the stages, without suffix.
    """

    networks: dict
    quarantine: Quarantine
    stems: dict[str, str]

    def write_curves(self, variables: dict, split: Split, folder: pathlib.Path) -> None:
        """Writes TEM's curves of every video of a split to `FOLDER/<video>.csv`."""
        steps = self.networks["tem"].network.model.temporal_scale
        times = np.arange(steps + 1) / steps
        for rows, where in self.outputs("tem", variables, split):
            for curves, k in zip(rows["curves"], where["record"], strict=True):
                if jax.process_index() == 0:
                    table = np.column_stack([curves.T, times[:-1], times[1:]])
                    write_table(folder / f"{self.stems[split.records[k].video]}.csv", TEM_HEADER, table)

    def write_proposals(
        self,
        records: Sequence,
        curves: pathlib.Path,
        pgm: Pgm,
        proposals: pathlib.Path,
        features: pathlib.Path,
        *,
        top_k: int,
        what: str,
    ) -> None:
        """Writes this host's share of the proposals and their features, from the curves of every video.

        Videos that have both already are left as they are.
        """
        for path in (proposals, features):
            path.mkdir(parents=True, exist_ok=True)
        kinds = ((proposals, ".csv"), (features, ".npy"))
        written = lambda video: all(found_file(folder, video, suffix).exists() for folder, suffix in kinds)
        mine = records[jax.process_index() :: jax.process_count()]
        todo = [record for record in mine if not written(record.video)]
        make = functools.partial(generate, num_steps=self.networks["tem"].network.model.temporal_scale)
        for record in progress(todo, len(todo), what):
            try:
                rows, points = patiently(make, record, curves, pgm, top_k)
            except VideoError as error:
                self.quarantine.add(error)
                continue
            stem = self.stems[record.video]
            replace(features / f"{stem}.npy", lambda file, rows=points: np.save(file, rows.astype(np.float32)))
            write_table(proposals / f"{stem}.csv", PGM_HEADER, rows)

    def proposals(self, stage: str, variables: dict, split: Split) -> list[dict]:
        """The proposals of the last network for every video of a split, in seconds -> results, see `results_of`."""
        rows, where = zip(*self.outputs(stage, variables, split), strict=True)
        joined = [np.concatenate([part[name] for part in parts]) for parts, name in
                  ((rows, "proposals"), (rows, "found"), (where, "record"))]  # fmt: skip
        return results_of(split.records, self.networks[stage].nms.top_k, *joined)

    def outputs(self, stage: str, variables: dict, split: Split) -> Iterator:
        """Yields (outputs, targets) of a network on the videos of a split, batch by batch."""
        network = self.networks[stage].network
        size = network.settings.eval_size
        shown = progress(split.batches(size, self.quarantine), -(-len(split) // size), f"{stage} inference")
        return training.stream(jax.jit(network.task.predict), variables, shown)
