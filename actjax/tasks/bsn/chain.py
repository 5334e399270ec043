"""BSN and BMN: features of videos -> proposals, stage by stage.

Every stage writes to its own folder of the workdir. It can be interrupted and resumed, and it is skipped if its
outputs are complete and were made with the same config.
"""

import functools
import json
import logging
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence

import jax

from actjax import training
from actjax.data.datasets.untrimmed import Rescaled, Untrimmed
from actjax.metrics import dump_results
from actjax.metrics.results import video_id
from actjax.paths import to_path
from actjax.tasks.bsn.inference import Inference
from actjax.tasks.bsn.items import BmnItems, FeatureItems, ItemData, PemItems, Split, TemItems
from actjax.tasks.bsn.proposals import recalls
from actjax.tasks.bsn.report import report
from actjax.tasks.loading import digest_of_arrays, open_quarantine
from actjax.tasks.stage_folder import StageFolder
from actjax.video_files import file_stems, found_file

log = logging.getLogger("actjax")


class Chain:
    """One pass through the stages of a run. Each stage is the method of the same name.

    Args:
      run: a `BsnRun`. splits: the digests of the splits of `dataset`.
      train: whether networks are trained; False: they make missing outputs, and score the proposals again.
      checkpoint: of the last network; None: the one that the config names.
    """

    def __init__(
        self,
        run,
        dataset: Untrimmed,
        workdir: pathlib.Path,
        *,
        splits: Mapping[str, str],
        train: bool,
        checkpoint: str | None = None,
    ):
        self._run, self._data, self._workdir, self._splits = run, dataset, workdir, splits
        self._train, self._checkpoint = train, checkpoint
        self._name = "results" if train else "results_eval"

    def run(self, describe: Callable[[], None] = lambda: None) -> dict:
        """Runs the stages -> the metrics of the last stage, or {} if it is not among them."""
        self._run.check_stages(self._workdir, splits=self._splits)
        for stage in self._run.stages:  # before anything is written
            self._folder(stage)
        training.wait_for_all("the folders of the stages")
        started = time.perf_counter()
        self._workdir.mkdir(parents=True, exist_ok=True)
        describe()
        self._quarantine = open_quarantine(self._workdir, self._data, self._run.loader)
        stems = file_stems(record.video for record in (*self._data.train, *self._data.val))
        self._inference = Inference(self._run.networks, self._quarantine, stems)
        results = None
        for stage in self._run.stages:
            tem = self._folder("tem") if stage in ("pgm", "pem") else None
            folder = self._folder(stage, before=tem)
            training.wait_for_all(f"the state of {stage}")
            if self._train:
                folder.begin()
            training.wait_for_all(f"the folder of {stage}")
            results = getattr(self, stage)(folder)
        if results is None:
            log.info("proposals are scored by the last stage, %s, which was not run", self._run.chain[-1])
            return {}
        return report(results, self._data, self._run.detect, self._workdir, name=self._name, started=started)

    def _folder(self, stage: str, **options) -> StageFolder:
        return self._run.folder(stage, self._workdir, mend=self._train, splits=self._splits, **options)

    def tem(self, folder: StageFolder) -> None:
        """Trains TEM, then writes the curves of every video."""
        stage, data = self._run.networks["tem"], self._data
        if stage.results:
            return log.info("tem: reading curves from %s", stage.results)
        model = stage.network.model
        features = Rescaled(data, model.input_shape)
        items = TemItems(features, model.temporal_scale, **stage.labels)
        written = folder.path / "tem_results"
        if folder.check("infer"):
            log.info("tem: training is complete")
            return log.info("tem: the curves are complete")
        self._trained("tem", folder, Split(data.train, items, kept=True), Split(data.val, items, kept=True))
        written.mkdir(exist_ok=True)
        variables = self._run.restored("tem", self._workdir)
        folder.made_with(digest_of_arrays(training.local(variables)), written)
        todo = [r for r in (*data.train, *data.val) if not found_file(written, r.video, ".csv").exists()]
        training.wait_for_all("the list of missing curves")
        self._inference.write_curves(variables, Split(todo, FeatureItems(features)), written)
        folder.mark("infer", written)

    def pgm(self, folder: StageFolder) -> None:
        """Writes proposals and their features, from the curves of every video."""
        pgm = self._run.pgm
        if pgm.proposals:
            return log.info("pgm: skipped, using the proposals in %s", pgm.proposals)
        wanted = {"train": pgm.top_k_train, "val": pgm.top_k}
        for split, top_k in sorted(wanted.items(), key=lambda item: -item[1]):  # a video in both needs the larger
            if folder.check(split):
                log.info("pgm: the proposals of split %s are complete", split)
                continue
            proposals, features = (folder.path / name for name in ("pgm_proposals", "pgm_features"))
            records = getattr(self._data, split)
            options = dict(top_k=top_k, what=f"pgm {split}")
            self._inference.write_proposals(records, self._curves(), pgm, proposals, features, **options)
            training.wait_for_all(f"pgm {split}")
            folder.mark(split, proposals, features)

    def _curves(self) -> pathlib.Path:
        """The folder of TEM's curves."""
        return to_path(self._run.networks["tem"].results or self._workdir / "tem" / "tem_results")

    def pem(self, folder: StageFolder) -> list[dict]:
        """Trains PEM, then scores the proposals of the validation videos -> results."""
        pgm, made = self._run.pgm, self._workdir / "pgm"
        proposals = pgm.proposals or str(made / "pgm_proposals")
        features = pgm.features or str(made / "pgm_features")
        log.info("pem: reading proposals from %s", proposals)
        feat_dim = self._run.networks["pem"].network.model.feat_dim
        train = Split(self._data.train, PemItems(proposals, features, pgm.top_k_train, feat_dim), kept=True)
        val = Split(self._data.val, PemItems(proposals, features, pgm.top_k, feat_dim), kept=True)
        return self._scored("pem", folder, train, val)

    def bmn(self, folder: StageFolder) -> list[dict]:
        """Trains BMN, then predicts proposals for the validation videos -> results."""
        model = self._run.networks["bmn"].network.model
        features = Rescaled(self._data, model.input_shape)
        train = Split(self._data.train, BmnItems(features, model.temporal_scale))
        return self._scored("bmn", folder, train, Split(self._data.val, FeatureItems(features)))

    def _scored(self, stage: str, folder: StageFolder, train: Split, val: Split) -> list[dict]:
        """Trains the last network and predicts on the validation videos, unless done already -> results."""
        path = self._workdir / f"{self._name}_proposals.json"
        if self._train and folder.check("infer") and (known := _known_proposals(path, val.records)):
            log.info("%s: training is complete", stage)
            log.info("%s: the proposals are complete", stage)
            return known
        self._trained(stage, folder, train, val)
        variables = self._run.restored(stage, self._workdir, self._checkpoint)
        folder.network = digest_of_arrays(training.local(variables))
        results = self._inference.proposals(stage, variables, val)
        if jax.process_index() == 0:
            dump_results(results, path, "json")
        if self._train:
            folder.mark("infer", path)
        return results

    def _trained(self, stage: str, folder: StageFolder, train: Split, val: Split) -> None:
        """Trains the network of a stage, unless it is trained already or this pass only evaluates.

        Raises:
          ValueError: this pass evaluates, and the network of an earlier stage is not trained to its end.
        """
        if not self._train:
            if "train" not in folder.done and stage != self._run.chain[-1]:
                raise ValueError(f"stage {stage} in {folder.path} is not trained to its end; first resume the training")
            return
        network, nms = self._run.networks[stage].network, self._run.networks[stage].nms
        if nms:
            score = functools.partial(recalls, records=val.records, top_k=nms.top_k)
            network = network._replace(task=network.task._replace(score=score))
        log.info("%s: parameter groups\n%s", stage, network.groups)
        data = ItemData(train, val, network.settings, self._quarantine)
        standing, complete = network.standing(folder.path, data)
        imported = standing.step == 0
        if "train" in folder.done and (complete or imported):
            return log.info("%s: training is complete", stage)
        if imported or ("train" in folder.done and standing.step is None):
            what = "is half imported" if imported else "is trained, but its checkpoints are gone"
            raise ValueError(f"{folder.path} {what}; delete this folder, then train or import the network again")
        network.train(data, folder.path, initial=network.initial(folder.path), standing=standing)
        folder.mark("train")


def _known_proposals(path: pathlib.Path, records: Sequence) -> list[dict] | None:
    """The results that a file of proposals holds of the videos; None if it does not, or is damaged."""
    try:
        known = json.loads(path.read_text())["results"]
        return [{"video_name": r.video, "proposal_list": known[video_id(r.video)]} for r in records]
    except (OSError, ValueError, KeyError, TypeError):
        return None
