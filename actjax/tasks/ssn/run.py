"""An SSN that can be trained and that scores the proposals of videos."""

import functools
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from actjax import training
from actjax.data.clips.ssn_assignment import Assigned, Assigner, Pools, Sampler, assign
from actjax.data.clips.ssn_clips import ProposalClips, ProposalSpec, Ticks
from actjax.data.datasets.ssn import Proposed, build_proposed
from actjax.data.loading.snippet_reader import Summary
from actjax.tasks.building import Network
from actjax.tasks.loading import ClipData, LoaderConfig, this_shard
from actjax.tasks.ssn.report import Detect
from actjax.tasks.ssn.scoring import Scorer, Scoring, score_videos


class Targets:
    """The targets of a data set's proposals: their types, and the constants that regression is normalised with.

    Each is computed once, when it is first asked for.
    """

    def __init__(self, dataset: Proposed, assigner: Assigner, sampler: Sampler, reg_norm_consts: tuple):
        self._dataset, self._assigner, self._sampler, self._given = dataset, assigner, sampler, reg_norm_consts

    @functools.cached_property
    def train(self) -> Assigned:
        """The proposals of the training split."""
        return assign(self._dataset.train, self._assigner, with_gt=self._sampler.add_gt_as_proposals)

    @functools.cached_property
    def val(self) -> Assigned:
        """The proposals of the validation split."""
        return assign(self._dataset.val, self._assigner, with_gt=self._sampler.add_gt_as_proposals)

    @functools.cached_property
    def reg_norm_consts(self) -> tuple:
        """Those of the config, or of the training split, ((mean, mean), (deviation, deviation)).

        Raises:
          ValueError: a deviation is not above 0, as where proposals are the ground truth itself.
        """
        constants = self._given or self.train.regression_constants()
        if not np.all(np.asarray(constants[1]) > 0):
            where = "train.reg_norm_consts" if self._given else "data.train: positive proposals"
            raise ValueError(
                f"{where}: the regression targets have deviations {np.asarray(constants[1]).tolist()}, and are divided "
                "by them; give train.reg_norm_consts=((mean, mean), (deviation, deviation)) with deviations above 0"
            )
        return tuple(tuple(map(float, row)) for row in constants)


class SsnRun(NamedTuple):
    """An SSN, its clips and its data, by the sections of a config.

    data: the section, by which `open_dataset` finds the records.
    specs: how a record becomes an item of training, and of the validation during training; by split.
    reg_norm_consts: of the config; empty: those of the training split.
    ticks: the clips along a video by which its proposals are scored.
    checkpoint: the one that scores videos after training.
    scored_by: the sections that the scores of a video depend on.
    """

    network: Network
    data: dict
    loader: LoaderConfig
    specs: dict[str, ProposalSpec]
    assigner: Assigner
    reg_norm_consts: tuple
    ticks: Ticks
    scoring: Scoring
    detect: Detect
    checkpoint: str
    scored_by: dict

    def open_dataset(self) -> Proposed:
        """Records of both splits; the sample set is made on first use."""
        return build_proposed(self.data, num_classes=self.network.model.num_classes)

    def class_names(self) -> list[str]:
        """The names of the classes."""
        return self.open_dataset().class_names

    def targets(self, dataset: Proposed) -> Targets:
        """The targets of the proposals of both splits."""
        return Targets(dataset, self.assigner, self.specs["train"].sampler, self.reg_norm_consts)

    def loop_data(self, dataset: Proposed, targets: Targets, workdir: pathlib.Path) -> ClipData:
        """The data of the training loop.

        Raises:
          ValueError: an item needs proposals of a type that no video has.
        """
        clips = {}
        for split, spec in self.specs.items():
            assigned = getattr(targets, split)
            _check_pools(assigned.pools, spec.sampler, split)
            clips[split] = ProposalClips(spec, assigned, targets.reg_norm_consts)
        return ClipData(
            dataset,
            self.loader.quarantine(workdir, dataset),
            loader=self.loader,
            settings=self.network.settings,
            train=clips["train"],
            eval=clips["val"],
        )

    def train(
        self,
        workdir: pathlib.Path,
        *,
        dataset: Proposed | None = None,
        targets: Targets | None = None,
        initial: Callable[[], dict] | None = None,
    ) -> dict:
        """Trains in `workdir`, or goes on where a killed run stopped -> the final losses.

        Args:
          dataset, targets: as `open_dataset` and `targets` give them; None: they are made here.
          initial: gives the variables to start from; None: those of `load_from`, if the config has it.
        """
        initial = initial or self.network.initial(workdir)
        dataset = dataset or self.open_dataset()
        data = self.loop_data(dataset, targets or self.targets(dataset), workdir)
        return self.network.train(data, workdir, initial=initial)

    def score(
        self, folder: pathlib.Path, variables: dict, workdir: pathlib.Path, *, dataset: Proposed, targets: Targets
    ) -> Summary:
        """Writes the scores of the validation videos' proposals to `folder`, or goes on; see `score_videos`."""
        divide = dict(divide_parts=self.scoring.divide_parts)
        model, constants = self.network.model, targets.reg_norm_consts
        return score_videos(
            dataset.val,
            folder,
            Scorer(model, training.local(variables), self.ticks, constants, **divide),
            quarantine=self.loader.quarantine(workdir, dataset),
            timeout=self.loader.timeout,
            shard=this_shard(),
        )


def _check_pools(pools: Pools, sampler: Sampler, split: str) -> None:
    """ValueError: an item needs proposals of a type that no video has."""
    for kind, pool, count in zip(Pools._fields, pools, sampler.counts, strict=True):
        if count and not pool.size:
            raise ValueError(
                f"data.{split}: not one proposal is {kind}, and every item needs {count}; see the thresholds of "
                "`assigner` and the ratios of `sampler`"
            )
