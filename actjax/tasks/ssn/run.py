"""An SSN run: trains the network and scores the proposals of videos."""

import functools
import logging
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
from actjax.tasks.loading import ClipData, LoaderConfig, open_quarantine, this_shard
from actjax.tasks.ssn.report import Detect
from actjax.tasks.ssn.scoring import Scorer, Scoring, score_videos

log = logging.getLogger("actjax")


class Targets:
    """Targets of a data set's proposals: their types, and the normalisation constants of the regression.

    Each is computed once, on first use.
    """

    def __init__(self, dataset: Proposed, assigner: Assigner, sampler: Sampler, reg_norm_consts: tuple):
        self._dataset, self._assigner, self._sampler, self._given = dataset, assigner, sampler, reg_norm_consts

    @functools.cached_property
    def train(self) -> Assigned:
        """The assigned proposals of the training split."""
        return assign(self._dataset.train, self._assigner, with_gt=self._sampler.add_gt_as_proposals)

    @functools.cached_property
    def val(self) -> Assigned:
        """The assigned proposals of the validation split."""
        return assign(self._dataset.val, self._assigner, with_gt=self._sampler.add_gt_as_proposals)

    @functools.cached_property
    def reg_norm_consts(self) -> tuple:
        """((mean, mean), (deviation, deviation)) from the config or, if it gives none, from the training split.

        Raises:
          ValueError: a deviation is not above 0, which happens if the proposals are the ground truth itself.
        """
        constants = self._given or self.train.regression_constants()
        if not np.all(np.asarray(constants[1]) > 0):
            where = "train.reg_norm_consts" if self._given else "data.train: positive proposals"
            raise ValueError(
                f"{where}: the regression targets are divided by their deviations "
                f"{np.asarray(constants[1]).tolist()}, which must be above 0; set "
                "train.reg_norm_consts=((mean, mean), (deviation, deviation))"
            )
        return tuple(tuple(map(float, row)) for row in constants)


class SsnRun(NamedTuple):
    """An SSN, its clips and its data, as its config describes them.

    data: section `data`.
    specs: clip specs by split, for training and for the validation during training.
    reg_norm_consts: regression constants of the config; empty: computed from the training split.
    ticks: the evenly spaced clips of a video that score its proposals.
    checkpoint: name of the checkpoint that scores videos after training.
    scored_by: the config sections that determine the scores of a video. code: the digest of the config's own code.
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
    code: str = ""

    def open_dataset(self) -> Proposed:
        """Records of both splits. Generates the sample set on first use."""
        return build_proposed(self.data, num_classes=self.network.model.num_classes)

    def class_names(self) -> list[str]:
        """The class names."""
        return self.open_dataset().class_names

    def targets(self, dataset: Proposed) -> Targets:
        """The targets of the proposals of both splits."""
        return Targets(dataset, self.assigner, self.specs["train"].sampler, self.reg_norm_consts)

    def loop_data(self, dataset: Proposed, targets: Targets, workdir: pathlib.Path) -> ClipData:
        """The data of the training loop.

        Raises:
          ValueError: the sampler needs proposals of a type that no video has.
        """
        clips = {}
        for split, spec in self.specs.items():
            assigned = getattr(targets, split)
            _check_pools(assigned.pools, spec.sampler, split)
            clips[split] = ProposalClips(spec, assigned, targets.reg_norm_consts)
        return ClipData(
            dataset,
            open_quarantine(workdir, dataset, self.loader),
            loader=self.loader,
            settings=self.network.settings,
            train=clips["train"],
            eval=clips["val"],
        )

    def train(
        self,
        workdir: pathlib.Path,
        *,
        data: ClipData | None = None,
        initial: Callable[[], dict] | None = None,
        describe: Callable[[], None] = lambda: None,
        standing: training.Standing | None = None,
    ) -> dict:
        """Trains in `workdir`, resuming where a killed run stopped -> the final losses.

        Args:
          data: the result of `loop_data`; None: the data set is opened here.
          initial: returns the initial variables; None: those of `load_from`, if the config has it.
          describe, standing: see `training.train`.
        """
        initial = initial or self.network.initial(workdir)
        if data is None:
            dataset = self.open_dataset()
            data = self.loop_data(dataset, self.targets(dataset), workdir)
        log.info("parameter groups\n%s", self.network.groups)
        return self.network.train(data, workdir, initial=initial, describe=describe, standing=standing)

    def score(
        self,
        folder: pathlib.Path,
        variables: dict,
        workdir: pathlib.Path,
        *,
        dataset: Proposed,
        targets: Targets,
        made_by: str = "",
    ) -> Summary:
        """Writes the scores of the validation videos' proposals to `folder`; see `score_videos`."""
        divide = dict(divide_parts=self.scoring.divide_parts)
        model, constants = self.network.model, targets.reg_norm_consts
        return score_videos(
            dataset.val,
            folder,
            Scorer(model, training.local(variables), self.ticks, constants, **divide),
            quarantine=open_quarantine(workdir, dataset, self.loader),
            timeout=self.loader.timeout,
            shard=this_shard(),
            made_by=made_by,
        )


def _check_pools(pools: Pools, sampler: Sampler, split: str) -> None:
    """Raises ValueError if the sampler needs proposals of a type that no video has."""
    for kind, pool, count in zip(Pools._fields, pools, sampler.counts, strict=True):
        if count and not pool.size:
            raise ValueError(
                f"data.{split}: no proposal is {kind}, but every training example needs {count}; check the thresholds "
                "of `assigner` and the ratios of `sampler`"
            )
