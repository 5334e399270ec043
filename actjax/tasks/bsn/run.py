"""A run of BSN or BMN: its stages, their networks and their folders."""

import pathlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

from actjax import training
from actjax.config import Reader
from actjax.data.datasets.untrimmed import Untrimmed, build_untrimmed
from actjax.tasks.bsn.chain import Chain
from actjax.tasks.bsn.proposals import Nms, Pgm
from actjax.tasks.bsn.report import Detect
from actjax.tasks.building import Network
from actjax.tasks.loading import LoaderConfig, digest_of
from actjax.tasks.stage_folder import StageFolder


class StageNetwork(NamedTuple):
    """The network of a stage.

    checkpoint: the checkpoint that the next stage uses, "latest" or "best".
    labels: options of the labels.
    nms: soft-NMS of the proposals; None if the network predicts none.
    results: folder with outputs from another program, used instead of running the stage; "" for none.
    """

    network: Network
    checkpoint: str
    labels: dict
    nms: Nms | None = None
    results: str = ""


def splits_of(dataset: Untrimmed) -> dict[str, str]:
    """The digests of both splits, by which a stage knows the videos and annotations that it was made from."""
    splits = {"training split": dataset.train, "validation split": dataset.val}
    return {name: digest_of(records, ordered=False) for name, records in splits.items()}


class BsnRun(NamedTuple):
    """A run of BSN or BMN, as its config describes it.

    stages: the stages to run, in order.
    chain: all stages of the task.
    networks: stage -> network.
    pgm: proposal generation; None for BMN.
    data: section `data`.
    sections: the config sections that determine the outputs of the stages, and `code`, the digest of the config's own.
    readers: the functions that read these sections.
    """

    stages: tuple[str, ...]
    chain: tuple[str, ...]
    networks: dict[str, StageNetwork]
    pgm: Pgm | None
    data: dict
    detect: Detect
    loader: LoaderConfig
    sections: dict[str, dict]
    readers: Mapping[str, Reader]

    def open_dataset(self) -> Untrimmed:
        """Records of both splits and their features. Generates the sample set on first use."""
        return build_untrimmed(self.data)

    def folder(
        self,
        stage: str,
        workdir: pathlib.Path,
        *,
        mend: bool,
        splits: Mapping[str, str] = {},
        before: StageFolder | None = None,
    ) -> StageFolder:
        """The folder of a stage. Its contents depend on the sections of this stage and of all earlier ones.

        Args:
          splits: `splits_of` the data set; {}: the data is not compared.
          before: the folder of TEM, on whose network the contents depend; None: this is not compared.

        Raises:
          ValueError: as `StageFolder`; the contents were made from other videos or annotations; another config would
            replace a network that was imported.
        """
        names = ("data", *self.chain[: self.chain.index(stage) + 1])
        sections, readers = ({name: table[name] for name in names} for table in (self.sections, self.readers))
        origin = dict(splits)
        if before is not None and before.network and not self.networks["tem"].results:
            origin["network of tem"] = before.network
        options = dict(mend=mend, readers=readers, code=self.sections["code"], origin=origin)
        folder = StageFolder(workdir, stage, sections, **options)
        others = [name for name in folder.others if name in splits]
        if others and not any(key.startswith("data.") for key in folder.changed):
            raise ValueError(
                f"{folder.path} was made from another {others[0]}; use another workdir, or the earlier data"
            )
        changed = [*folder.changed, *folder.others]
        if changed and training.steps(folder.path / "checkpoints") == [0]:
            raise ValueError(
                f"{folder.path} holds an imported network, which the change of {changed[0]} would replace by one "
                "trained anew; import it into another workdir with this config"
            )
        if folder.others and not mend:
            raise ValueError(
                f"{folder.path} was made with another {folder.others[0]}; resume the training, which makes it again"
            )
        return folder

    def restored(self, stage: str, workdir: pathlib.Path, checkpoint: str | None = None) -> dict:
        """The variables of a stage's trained network.

        Args:
          checkpoint: "best", "latest" or a step of the last network; None: the checkpoint that the config names.
        """
        network, which = self.networks[stage].network, self.networks[stage].checkpoint
        last = stage == self.chain[-1]
        try:
            variables, _ = network.restore(workdir / stage, checkpoint if last and checkpoint else which)
        except training.DamagedError as error:
            if last:
                raise
            what = str(error).partition("; ")[0]  # without its offer, which holds for the last stage
            raise training.DamagedError(f"{what}; repeat the training, which resumes from an intact one") from None
        return variables

    def check_stages(self, workdir: pathlib.Path, *, splits: Mapping[str, str] = {}) -> None:
        """Raises ValueError unless the outputs of the earlier stages exist and were made with this config and data."""
        if self.pgm is None:
            return
        wanted = [
            ("tem", ["infer"], "pgm", self.networks["tem"].results),
            ("pgm", ["train", "val"], "pem", self.pgm.proposals),
        ]
        for stage, steps, user, elsewhere in wanted:
            if user not in self.stages or stage in self.stages or elsewhere:
                continue
            folder = self.folder(stage, workdir, mend=False, splits=splits)
            missing = [step for step in steps if step not in folder.done]
            faults = [fault for step in steps if (fault := folder.fault(step))]
            if missing or faults:
                what = f"{folder.path} lacks {missing}" if missing else faults[0]
                raise ValueError(
                    f"stage {user} needs the outputs of stage {stage}, but {what}; add {stage} to --config.stages"
                )

    def train(
        self, workdir: pathlib.Path, *, dataset: Untrimmed | None = None, describe: Callable[[], None] = lambda: None
    ) -> dict:
        """Runs the stages that the config names -> metrics of the proposals; {} without the last stage.

        Args:
          describe: called once the stages are known to fit, before anything is written to `workdir`.

        Raises:
          ValueError: see `check_stages` and `folder`.
        """
        return self._chain(dataset, workdir, train=True).run(describe)

    def evaluate(
        self, workdir: pathlib.Path, *, dataset: Untrimmed | None = None, checkpoint: str | None = None
    ) -> dict:
        """Like `train`, but trains nothing; the last network always scores the proposals again.

        Args:
          checkpoint: "best", "latest" or a step of the last network; None: the checkpoint that the config names.
        """
        return self._chain(dataset, workdir, train=False, checkpoint=checkpoint).run()

    def _chain(self, dataset: Untrimmed | None, workdir: pathlib.Path, **options) -> Chain:
        dataset = dataset or self.open_dataset()
        return Chain(self, dataset, workdir, splits=splits_of(dataset), **options)
