"""The stages of BSN and BMN, each resumable, each skipped when its outputs are complete and of the same config."""

import functools
import itertools
import json
import logging
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from actjax import training
from actjax.data.datasets.untrimmed import Rescaled, Untrimmed
from actjax.data.loading.feature_batches import eval_items, train_items
from actjax.data.loading.quarantine import Quarantine
from actjax.localization import bsp_feature, candidate_proposals, proposal_list
from actjax.localization.proposals import matched
from actjax.metrics import dump_results, evaluate_activitynet
from actjax.metrics.results import video_id
from actjax.paths import replace, to_path
from actjax.tables import read_table, write_table
from actjax.tasks.bsn.config import Network, Proposer
from actjax.tasks.bsn.items import bmn_item, feature_item, pem_item, tem_item
from actjax.tasks.bsn.report import report
from actjax.tasks.building import initial_variables
from actjax.tasks.loading import this_shard
from actjax.tasks.stage_folder import StageFolder, stage_folder
from actjax.video.errors import VideoError
from actjax.workdir import progress

log = logging.getLogger("actjax")

TEM_HEADER = "action,start,end,tmin,tmax"
PGM_HEADER = "tmin,tmax,tmin_score,tmax_score,score,match_iou,match_ioa"


class Run(NamedTuple):
    """What all stages share.

    train: whether networks are trained; otherwise they are only used.
    checkpoint: of the last network, in place of its config's; None: that.
    """

    proposer: Proposer
    dataset: Untrimmed
    workdir: pathlib.Path
    quarantine: Quarantine
    train: bool
    checkpoint: str | None

    @property
    def name(self) -> str:
        """Of the files of results."""
        return "results" if self.train else "results_eval"


def run(proposer: Proposer, dataset: Untrimmed, workdir: pathlib.Path, *, train: bool = True, checkpoint=None) -> dict:
    """Goes through the stages that the config names -> the metrics of the proposals; {} if the last stage is not asked.

    Args:
      train: False: networks are used as they are, and the last one always anew.
      checkpoint: "best", "latest" or a step of the last network; None: what its config says.

    Raises:
      ValueError: see `check_stages`.
    """
    check_stages(proposer, workdir)
    started = time.perf_counter()
    count = len(dataset.train) + len(dataset.val)
    options = dict(num_records=count, max_share=proposer.loading.max_broken, skip=proposer.loading.skip)
    workdir.mkdir(parents=True, exist_ok=True)
    shared = Run(proposer, dataset, workdir, Quarantine(workdir / "quarantine.jsonl", **options), train, checkpoint)
    results = None
    for stage in proposer.stages:
        folder = _folder(shared, stage)
        folder.save()
        training.wait_for_all(f"the folder of {stage}")
        results = STAGES[stage](shared, folder)
    if results is None:
        log.info("no proposals are scored without the last stage, %s", proposer.chain[-1])
        return {}
    return report(results, dataset, proposer, workdir, name=shared.name, started=started)


def _folder(run: Run, stage: str) -> StageFolder:
    return stage_folder(run.proposer, stage, run.workdir, mend=run.train and stage in run.proposer.stages)


def check_stages(proposer: Proposer, workdir: pathlib.Path) -> None:
    """ValueError unless what the stages of this run need from earlier ones is there, and of this config."""
    if proposer.pgm is None:
        return
    wanted = [
        ("tem", ["infer"], "pgm", proposer.networks["tem"].results),
        ("pgm", ["train", "val"], "pem", proposer.pgm.proposals),
    ]
    for stage, steps, user, elsewhere in wanted:
        if user not in proposer.stages or stage in proposer.stages or elsewhere:
            continue
        folder = stage_folder(proposer, stage, workdir, mend=False)
        if missing := [step for step in steps if step not in folder.done]:
            raise ValueError(
                f"stage {user} needs what stage {stage} makes, and {folder.path} lacks {missing}; add {stage} to "
                "--config.stages"
            )


def _tem(run: Run, folder: StageFolder) -> None:
    """Trains TEM, then writes the curves of all videos."""
    network, data = run.proposer.networks["tem"], run.dataset
    if network.results:
        log.info("tem: curves are read from %s", network.results)
        return
    features = Rescaled(data, network.model.input_shape)
    options = dict(temporal_scale=network.model.temporal_scale, **network.labels)
    items = {split: tem_item(getattr(data, split), features, **options) for split in ("train", "val")}
    variables = _trained(run, "tem", folder, items)
    if "infer" in folder.done:
        return log.info("tem: the curves are complete")
    records = [*data.train, *data.val]
    written = folder.path / "tem_results"
    written.mkdir(exist_ok=True)
    todo = [record for record in records if not (written / f"{record.video}.csv").exists()]
    training.wait_for_all("the list of missing curves")
    times = np.arange(network.model.temporal_scale + 1) / network.model.temporal_scale
    for rows, where in _inferred(run, network, variables(), feature_item(todo, features), len(todo), "tem"):
        for curves, k in zip(rows["curves"], where["record"], strict=True):
            if jax.process_index() == 0:
                table = np.column_stack([curves.T, times[:-1], times[1:]])
                write_table(written / f"{todo[k].video}.csv", TEM_HEADER, table)
    folder.mark("infer")


def _pgm(run: Run, folder: StageFolder) -> None:
    """Writes proposals and their features, from the curves of all videos."""
    pgm, tem = run.proposer.pgm, run.proposer.networks["tem"]
    if pgm.proposals:
        return log.info("pgm: proposals are made elsewhere, in %s", pgm.proposals)
    curves = to_path(tem.results or run.workdir / "tem" / "tem_results")
    wanted = {"train": pgm.top_k_train, "val": pgm.top_k}
    for split, top_k in sorted(wanted.items(), key=lambda item: -item[1]):  # a video of both splits needs the larger
        if split in folder.done:
            log.info("pgm: the proposals of split %s are complete", split)
            continue
        proposals, features = (folder.path / name for name in ("pgm_proposals", "pgm_features"))
        for path in (proposals, features):
            path.mkdir(parents=True, exist_ok=True)
        records = getattr(run.dataset, split)[jax.process_index() :: jax.process_count()]
        todo = [record for record in records if not (proposals / f"{record.video}.csv").exists()]
        for record in progress(todo, len(todo), f"pgm {split}"):
            try:
                rows, points = generate(record, curves / f"{record.video}.csv", pgm, top_k)
            except (OSError, ValueError) as error:
                run.quarantine.add(VideoError(record.path, str(error)))
                continue
            replace(features / f"{record.video}.npy", lambda file, rows=points: np.save(file, rows.astype(np.float32)))
            write_table(proposals / f"{record.video}.csv", PGM_HEADER, rows)
        training.wait_for_all(f"pgm {split}")
        folder.mark(split)


def generate(record, curves, pgm, top_k: int) -> tuple[np.ndarray, np.ndarray]:
    """The best proposals of a video, float64 [p, 7] with `PGM_HEADER`, and their features [p, 32].

    Args:
      curves: the file with its curves. pgm: options, `tasks.bsn.config.Pgm`.
    """
    table = read_table(curves, columns=5)
    rows = candidate_proposals(table[:, 1], table[:, 2], peak_threshold=pgm.peak_threshold)[:top_k]
    step, end = table[0, 4] - table[0, 3], table[-1, 4]
    # In float32, as these stand in the file that the reference reads them from.
    points = bsp_feature(table[:, 0], rows[:, :2].astype(np.float32), step=step, end=end, **pgm.sampling)
    return matched(rows, record._asdict()), points


def _pem(run: Run, folder: StageFolder) -> list[dict]:
    """Trains PEM, then scores the proposals of the validation videos -> results."""
    network, pgm, data = run.proposer.networks["pem"], run.proposer.pgm, run.dataset
    made = run.workdir / "pgm"
    folders = dict(
        proposals=pgm.proposals or str(made / "pgm_proposals"), features=pgm.features or str(made / "pgm_features")
    )
    log.info("pem: proposals are read from %s", folders["proposals"])
    item = functools.partial(pem_item, **folders, feat_dim=network.model.feat_dim)
    items = {"train": item(data.train, top_k=pgm.top_k_train), "val": item(data.val, top_k=pgm.top_k)}
    return _scored(run, "pem", folder, items)


def _bmn(run: Run, folder: StageFolder) -> list[dict]:
    """Trains BMN, then finds the proposals of the validation videos -> results."""
    network, data = run.proposer.networks["bmn"], run.dataset
    features = Rescaled(data, network.model.input_shape)
    items = {
        "train": bmn_item(data.train, features, temporal_scale=network.model.temporal_scale),
        "val": feature_item(data.val, features),
    }
    return _scored(run, "bmn", folder, items)


STAGES: dict[str, Callable] = {"tem": _tem, "pgm": _pgm, "pem": _pem, "bmn": _bmn}


def _scored(run: Run, stage: str, folder: StageFolder, items: dict[str, Callable]) -> list[dict]:
    """Trains the last network of a chain, and lets it score the validation videos, unless that is done -> results."""
    network, records = run.proposer.networks[stage], run.dataset.val
    variables = _trained(run, stage, folder, items)
    path = run.workdir / f"{run.name}_proposals.json"
    if run.train and "infer" in folder.done and path.exists():
        log.info("%s: the proposals are complete", stage)
        known = json.loads(path.read_text())["results"]
        return [{"video_name": r.video, "proposal_list": known[video_id(r.video)]} for r in records]
    rows, where = zip(*_inferred(run, network, variables(), items["val"], len(records), stage), strict=True)
    joined = [np.concatenate([part[name] for part in parts]) for parts, name in
              ((rows, "proposals"), (rows, "found"), (where, "record"))]  # fmt: skip
    results = results_of(records, network.nms.top_k, *joined)
    if jax.process_index() == 0:
        dump_results(results, path, "json")
    if run.train:
        folder.mark("infer")
    return results


def results_of(records: Sequence, top_k: int, proposals, found, which) -> list[dict]:
    """Proposals [n, r, 3] in fractions -> results as of the reference, in seconds, one for each of `records`.

    Args:
      found: bool [n, r], False for padding. which: int [n], the records that the rows belong to; others get none.
    """
    lists = {int(k): rows[real] for rows, real, k in zip(proposals, found, which, strict=True)}
    empty = np.zeros((0, 3))
    return [
        {
            "video_name": record.video,
            "proposal_list": proposal_list(lists.get(k, empty), record._asdict(), top_k=top_k),
        }
        for k, record in enumerate(records)
    ]


def _trained(run: Run, stage: str, folder: StageFolder, items: dict[str, Callable]) -> Callable[[], dict]:
    """Trains the network of a stage, unless that is done -> () -> its variables."""
    network, data = run.proposer.networks[stage], run.dataset
    truth = {record.video: {"annotations": record.annotations} for record in data.val}

    def judge(proposals, found, which) -> dict:
        return evaluate_activitynet(results_of(data.val, network.nms.top_k, proposals, found, which), truth)

    task = network.task(judge)
    if run.train and "train" not in folder.done:
        log.info("%s: parameter groups\n%s", stage, network.groups)
        loop_data = _loop_data(run, network, items)
        initial = initial_variables(network.load_from, folder.path)
        training.train(task, loop_data, network.optimizer, network.settings, folder.path, initial=initial)
        folder.mark("train")
    elif run.train:
        log.info("%s: training is complete", stage)
    last = stage == run.proposer.chain[-1]
    which = run.checkpoint if last and run.checkpoint else network.checkpoint
    restore = functools.partial(training.restore_variables, task, network.optimizer, network.settings, folder.path)
    return lambda: restore(which)[0]


def _loop_data(run: Run, network: Network, items: dict[str, Callable]) -> training.Data:
    settings, data = network.settings, run.dataset
    common = dict(quarantine=run.quarantine, shard=this_shard())

    def train_steps(first_step: int, num_steps: int) -> Iterator:
        span = dict(first_step=first_step, num_steps=num_steps, seed=settings.seed, batch_size=settings.batch_size)
        return train_items(items["train"], len(data.train), **span, **common)

    size = settings.eval_batch_size or settings.batch_size
    passes = lambda: (eval_items(items["val"], len(data.val), batch_size=size, **common) for _ in itertools.count())
    return training.Data(len(data.train), train_steps, passes)


def _inferred(run: Run, network: Network, variables: dict, item: Callable, count: int, what: str) -> Iterator:
    """What a network says of `count` videos, batch by batch: (outputs, targets)."""
    size = network.settings.eval_batch_size or network.settings.batch_size
    batches = eval_items(item, count, batch_size=size, quarantine=run.quarantine, shard=this_shard())
    predict = jax.jit(network.task(None).predict)
    shown = progress(batches, -(-count // size), f"{what} inference")
    return training.stream(predict, variables, shown)
